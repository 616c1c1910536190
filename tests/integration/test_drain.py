"""A drain: what was begun is answered, and the last answer of a connection says so."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import socket

from ..case import SynchronousTestCase
from . import proc
from .client import request
from .harness import served
from .waiting import until


class DrainTests(SynchronousTestCase):
    """What a drain still answers."""

    def test_slow_answer(self) -> None:
        """A slow answer is finished and announces the close; the status is 0."""
        with served() as server:
            client = server.begin_drain()
            server.open("held")
            answer = client.answer()
            self.assertEqual((answer.status, answer.body), (200, "1"))
            self.assertTrue(answer.last)
            self.assertTrue(client.closed())
            self.assertEqual(server.exit_status(), 0)
            self.assertIn("Drained: 1 answered, 1 told to close, 0 cut", server.log)

    def test_new_connections_are_refused(self) -> None:
        """A draining server does not let new clients wait for an answer that never comes."""
        with served() as server:
            holder = server.begin_drain()
            until(server.refuses, "connections are refused", seconds=5)
            self.assertEqual(server.finish_drain(holder), 0)

    def finishes(self, begin: str, end: str, body: str) -> None:
        """A request that is cut in two by the begin of a drain is answered."""
        with served() as server:
            client, silent = server.connect(), server.connect()
            client.send(begin)
            holder = server.begin_drain()
            self.assertTrue(silent.closed())  # so the grace of what is silent is over
            client.send(end)
            answer = client.answer()
            self.assertEqual(answer.body, body)
            self.assertTrue(answer.last)
            self.assertTrue(client.closed())
            self.assertEqual(server.finish_drain(holder), 0)

    def test_half_a_head(self) -> None:
        """A head of which one half has been received is waited for, and answered."""
        text = request("/")
        self.finishes(text[:20], text[20:], "1")

    def test_half_an_upload(self) -> None:
        """An upload of which one half has been received is waited for, and answered."""
        body = "x" * 100_000
        head = request("/upload", "POST", f"Content-Length: {len(body)}\r\n")
        digest = hashlib.sha256(body.encode()).hexdigest()
        self.finishes(head + body[:50_000], body[50_000:], digest)

    def test_half_a_chunked_upload(self) -> None:
        """A chunked upload of which one half has been received is waited for, and answered."""
        head = request("/upload", "POST", "Transfer-Encoding: chunked\r\n")
        digest = hashlib.sha256(b"hello").hexdigest()
        self.finishes(head + "3\r\nhe", "l\r\n2\r\nlo\r\n0\r\n\r\n", digest)

    def test_pipelined(self) -> None:
        """Requests that were received behind one another are all answered, in their order."""
        with served() as server:
            client = server.connect()
            client.send(request("/gate/first") + request("/gate/second") + request("/upload"))
            server.wait_for("first.begun")
            holder = server.begin_drain()
            server.open("first", "second")
            answers = [client.answer() for _ in range(3)]
            self.assertEqual([each.last for each in answers], [False, False, True])
            self.assertEqual([each.body for each in answers[:2]], ["1", "1"])
            self.assertTrue(client.closed())
            self.assertEqual(server.finish_drain(holder), 0)

    def test_nothing_after_an_announced_close(self) -> None:
        """A request that comes after the answer that announced the close is not processed."""
        with served() as server:
            client = server.begin_drain()
            server.open("held")
            self.assertTrue(client.answer().last)
            with contextlib.suppress(ConnectionError):
                client.get("/gate/late")
            self.assertTrue(client.closed())
            self.assertEqual(server.exit_status(), 0)
            self.assertFalse((server.directory / "late.begun").exists())

    def test_streamed_answer(self) -> None:
        """A chunked answer that has begun is finished, with its last chunk, and then closed."""
        with served() as server:
            client = server.hold("streamed", path="/stream")
            holder = server.begin_drain()
            server.open("streamed")
            self.assertEqual(client.answer().body, "begin end")
            self.assertTrue(client.closed())
            self.assertEqual(server.finish_drain(holder), 0)

    def test_streamed_answer_that_begins_in_the_drain(self) -> None:
        """A chunked answer that begins in the drain announces the close, and is whole."""
        with served() as server:
            client = server.connect()
            client.ask("/")
            holder = server.begin_drain()
            client.get("/stream/streamed")
            server.open("streamed")
            answer = client.answer()
            self.assertEqual(answer.body, "begin end")
            self.assertTrue(answer.last)
            self.assertTrue(client.closed())
            self.assertEqual(server.finish_drain(holder), 0)

    def test_large_answer_to_a_slow_reader(self) -> None:
        """An answer that fills every buffer is delivered to its last byte."""
        size = 30_000_000
        with served() as server:
            client = server.connect()
            client.get(f"/large/{size}")
            holder = server.begin_drain()
            self.assertEqual(len(client.answer().body), size)
            self.assertEqual(server.finish_drain(holder), 0)

    def test_idle_connection_gets_one_more_request(self) -> None:
        """A keep-alive connection on which a request comes within the grace is answered."""
        with served("--idle-grace", "10") as server:
            client = server.connect()
            self.assertFalse(client.ask("/").last)
            holder = server.begin_drain()
            answer = client.ask("/")
            self.assertEqual(answer.body, "1")
            self.assertTrue(answer.last)
            self.assertTrue(client.closed())
            self.assertEqual(server.finish_drain(holder), 0)

    def test_silent_connection_gets_its_chance(self) -> None:
        """A connection that was accepted and has not sent a byte yet is answered."""
        with served("--idle-grace", "10") as server:
            before = proc.descriptors(server.pid)["socket"]
            client = server.connect()
            until(
                lambda: proc.descriptors(server.pid)["socket"] > before,
                "the connection is accepted",
            )
            holder = server.begin_drain()
            answer = client.ask("/")
            self.assertEqual(answer.body, "1")
            self.assertTrue(answer.last)
            self.assertEqual(server.finish_drain(holder), 0)

    def test_connections_in_the_queue_of_the_kernel(self) -> None:
        """Connections that nobody has accepted when the stop comes are answered."""
        with served("--idle-grace", "10") as server:
            server.get()
            server.kill(signal.SIGSTOP)
            clients = [server.connect() for _ in range(20)]
            for client in clients[:10]:
                client.get("/")
            server.kill(signal.SIGTERM)
            server.kill(signal.SIGCONT)
            self.assertEqual([client.answer().body for client in clients[:10]], ["1"] * 10)
            self.assertEqual([client.ask("/").body for client in clients[10:]], ["1"] * 10)
            for client in clients:
                client.close()
            self.assertEqual(server.exit_status(), 0)

    def test_event_stream_ends_well(self) -> None:
        """An application that asks `draining` ends its event stream in its own words."""
        with served() as server:
            client = server.connect()
            client.get("/events")
            client.socket.settimeout(10)
            until(lambda: b"hello" in client.socket.recv(1000, socket.MSG_PEEK), "the stream runs")
            server.kill(signal.SIGTERM)
            self.assertEqual(client.answer().body, "data: hello\n\ndata: bye\n\n")
            self.assertTrue(client.closed())
            self.assertEqual(server.exit_status(), 0)
