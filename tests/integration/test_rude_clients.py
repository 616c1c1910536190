"""Clients that send all at once, close one side, or are gone in the middle."""

from __future__ import annotations

import hashlib
import socket
import struct

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from . import proc
from .client import Client, request
from .harness import Server, served
from .waiting import until

RUDE = 200
BODY = "x" * 100_000
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of socket(7), for no time: a close throws away what is queued, and says so."""


def reset(client: Client) -> None:
    """Be gone, without a word of farewell."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.close()


class RudeClientTests(SynchronousTestCase):
    """What is lawful is answered; what is not harms nobody else."""

    def test_pipelining(self) -> None:
        """Requests that are sent at once are answered in order, large, slow and bad ones too."""
        upload = request("/upload", "PUT", f"Content-Length: {len(BODY)}\r\n") + BODY
        with served() as server:
            client = server.connect()
            paths = ["/", "/large/300000", "/gate/slow", "/stream/open"]
            server.open("open")
            client.send("".join(map(request, paths)) + upload + request("/") + "nonsense\r\n\r\n")
            server.wait_for("slow.begun")
            server.open("slow")
            bodies = [client.answer().body for _ in range(6)]
            digest = hashlib.sha256(BODY.encode()).hexdigest()
            self.assertEqual(bodies, ["1", "x" * 300_000, "1", "begin end", digest, "1"])
            self.assertEqual(client.answer().status, 400)
            self.assertTrue(client.closed())

    def test_half_closing(self) -> None:
        """A client that closes its side after its requests, as ``nc -N`` does, is answered."""
        with served() as server:
            client = server.connect()
            client.send(request("/gate/slow") + request("/large/300000"))
            client.socket.shutdown(socket.SHUT_WR)
            server.wait_for("slow.begun")
            server.open("slow")
            self.assertEqual(client.answer().body, "1")
            last = client.answer()
            self.assertEqual((len(last.body), last.last), (300_000, True))
            self.assertTrue(client.closed())

    def resets(self, server: Server) -> None:
        """Clients are gone in a head, an upload or an answer, and leave nothing behind."""
        put = request("/upload", "PUT", f"Content-Length: {len(BODY)}\r\n")
        chunked = request("/upload", "PUT", "Transfer-Encoding: chunked\r\n")
        before = server.idle_descriptors()
        for text in (
            "",
            "GET / HT",
            put + BODY[:50_000],
            chunked + "ff\r\n" + "x" * 200,
            request("/large/3000000"),
            request("/gate/never"),
            request("/stream/never"),
            request("/large/3000000") * 20,
        ):
            for number in range(RUDE // 8):
                client = server.connect()
                client.send(text)
                if number % 2:
                    self.assertEqual(server.get().body, "1")  # so ours has been read
                reset(client)
        until(lambda: proc.descriptors(server.pid) == before, "all of theirs is closed")
        self.assertEqual(server.get().body, "1")
        self.assertEqual(server.stop(), 0)
        self.assertRegex(server.log, "Drained: 0 answered, (. idle closed, )?0 cut")
        self.assertNotIn("Traceback", server.log)
        self.assertNotIn("Unhandled", server.log)

    def test_resets(self) -> None:
        """Two hundred clients that are gone in the middle leave nothing open, and no traceback."""
        with served() as server:
            self.resets(server)

    def test_resets_over_tls(self) -> None:
        """Nor do they over TLS."""
        with served(certificate=ONE + ONE_KEY) as server:
            self.resets(server)
