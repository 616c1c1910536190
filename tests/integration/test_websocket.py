"""WebSockets over TCP, with a client that is not ours."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from typing import Any
from unittest import SkipTest

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from ..unit.websockets import why_no_autobahn, why_no_twisted
from . import proc
from .harness import Server, served
from .waiting import until

HANDSHAKE = (
    "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: a close is a reset."""

AUTOBAHN = """\
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.web.resource import Resource

from twisted_graceful import draining


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        if payload == b"take your leave":
            draining(self.transport).addCallback(self.goodbye)
        self.sendMessage(payload, isBinary)

    def goodbye(self, _):
        self.sendMessage(b"goodbye")
        self.sendClose(1000)


factory = WebSocketServerFactory()
factory.protocol = Echo
resource = Resource()
resource.putChild(b"socket", WebSocketResource(factory))
"""


class LibraryMixin:
    """What clients see of WebSockets, under each library."""

    def serve(self, *options: str, certificate: str = "") -> Server:
        """A server of WebSockets."""
        raise NotImplementedError

    def connect(self: Any, server: Server) -> ClientConnection:
        """A client, connected."""
        options: dict[str, Any] = {"max_size": None}
        if server.tls is not None:
            options |= {"ssl": server.tls, "server_hostname": "localhost"}
        scheme = "wss" if server.tls else "ws"
        manager = connect(f"{scheme}://127.0.0.1:{server.ports[0]}/socket", **options)
        self.addCleanup(manager.__exit__, None, None, None)
        return manager.__enter__()

    def closed(self: Any, client: ClientConnection) -> tuple[int, int]:
        """Wait for the end; the codes of the Close frames of the server and of the client."""
        reason = self.assertRaises(ConnectionClosed, client.recv, timeout=15)
        return tuple(each.code if each else 1006 for each in (reason.rcvd, reason.sent))

    def test_messages(self: Any) -> None:
        """Messages go to and fro: text, binary, large, in fragments, and all behind one another."""
        with self.serve() as server:
            client = self.connect(server)
            messages: list[Any] = ["text", b"", b"x" * (1 << 20), "y" * 100_000]
            for each in messages:
                client.send(each)
            self.assertEqual([client.recv(timeout=15) for _ in messages], messages)
            client.send(["frag", "", "ment"])
            self.assertEqual(client.recv(timeout=15), "fragment")
            pong = client.ping()
            self.assertTrue(pong.wait(15))

    def test_too_big(self: Any) -> None:
        """A message over the limit is answered with 1009, which reaches the client."""
        with self.serve("--max-message-size", "64KiB") as server:
            client = self.connect(server)
            client.send(b"x" * (1 << 16))
            self.assertEqual(len(client.recv(timeout=15)), 1 << 16)
            with contextlib.suppress(ConnectionClosed):
                client.send(b"x" * (20 << 20))  # it is sending still when the answer comes
            self.assertEqual(self.closed(client)[0], 1009)
            self.connect(server).close()

    def test_drain(self: Any) -> None:
        """In the second half of a drain clients are closed with 1001, and the status is 0."""
        with self.serve("--drain-timeout", "4") as server:
            clients = [self.connect(server) for _ in range(3)]
            server.kill(signal.SIGTERM)
            server.said("Stopping")
            for each in clients:
                with self.subTest(each=each):
                    each.send("still here")
                    self.assertEqual(each.recv(timeout=15), "still here")
            for each in clients:
                with self.subTest(each=each):
                    self.assertEqual(self.closed(each), (1001, 1001))
            self.assertEqual(server.exit_status(), 0)
            self.assertIn("3 WebSockets sent away, 0 cut", server.log)

    def test_tls(self: Any) -> None:
        """All that is so over TLS too."""
        with self.serve("--drain-timeout", "4", certificate=ONE + ONE_KEY) as server:
            client = self.connect(server)
            messages = ["text", b"x" * (1 << 20)]
            for each in messages:
                client.send(each)
            self.assertEqual([client.recv(timeout=15) for _ in messages], messages)
            server.kill(signal.SIGTERM)
            self.assertEqual(self.closed(client), (1001, 1001))
            self.assertEqual(server.exit_status(), 0)
            self.assertIn("1 WebSockets sent away, 0 cut", server.log)

    def test_takes_its_leave(self: Any) -> None:
        """An application that closes by itself ends the drain at once."""
        with self.serve("--drain-timeout", "3600") as server:
            client = self.connect(server)
            client.send("take your leave")
            client.recv(timeout=15)
            server.kill(signal.SIGTERM)
            self.assertEqual(client.recv(timeout=15), "goodbye")
            self.assertEqual(self.closed(client), (1000, 1000))
            self.assertEqual(server.exit_status(), 0)

    def test_client_is_killed(self: Any) -> None:
        """A client that vanishes leaves no descriptor open, and holds no drain."""
        with self.serve("--drain-timeout", "3600") as server:
            before = server.idle_descriptors()
            for _ in range(3):
                client = server.connect()
                client.send(HANDSHAKE)
                self.assertIn(b"101", client.socket.recv(4096))
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
            until(lambda: proc.descriptors(server.pid) == before, "nothing is left open")
            self.assertEqual(server.stop(), 0)

    def test_client_is_frozen(self: Any) -> None:
        """A client that does not even answer pings is told, and closed."""
        ping = ("--websocket-ping-interval", "0.3", "--websocket-ping-timeout", "0.3")
        with self.serve(*ping) as server:
            before = server.idle_descriptors()
            client = server.connect()
            client.send(HANDSHAKE)
            until(lambda: proc.descriptors(server.pid) == before, "nothing is left open")
            received = b"".join(iter(lambda: client.socket.recv(4096), b""))
            self.assertIn(b"\x89\x0cstill there?\x88", received)
            self.assertTrue(received.endswith(b"\x03\xf3no answer to a ping"), received)

    def test_client_that_answers(self: Any) -> None:
        """A silent client that answers pings stays."""
        ping = ("--websocket-ping-interval", "0.1", "--websocket-ping-timeout", "1")
        with self.serve(*ping) as server:
            client = self.connect(server)
            self.assertRaises(TimeoutError, client.recv, timeout=3)
            client.send("hello")
            self.assertEqual(client.recv(timeout=15), "hello")

    def test_upgrade(self: Any) -> None:
        """In an upgrade the old code keeps its WebSockets for a time, the new one gets new ones."""
        with self.serve("--drain-timeout", "4") as server:
            old, client = server.pid, self.connect(server)
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            other = self.connect(server)
            client.send("a")
            other.send("b")
            self.assertEqual((client.recv(timeout=15), other.recv(timeout=15)), ("a", "b"))
            self.assertEqual(self.closed(client), (1001, 1001))
            self.assertEqual(server.ended(old), 0)
            other.send("b")
            self.assertEqual(other.recv(timeout=15), "b")


class TwistedTests(LibraryMixin, SynchronousTestCase):
    """Twisted's own WebSocket."""

    def setUp(self) -> None:
        """Skip where it cannot be tested."""
        if reason := why_no_twisted():
            raise SkipTest(reason)

    def serve(self, *options: str, certificate: str = "") -> Server:
        """A server of WebSockets."""
        return served(*options, certificate=certificate)


class AutobahnTests(LibraryMixin, SynchronousTestCase):
    """autobahn, which takes the transport away."""

    def setUp(self) -> None:
        """Skip where it is not installed."""
        if reason := why_no_autobahn():
            raise SkipTest(reason)

    def serve(self, *options: str, certificate: str = "") -> Server:
        """A server of WebSockets."""
        server = Server("--app", "sockets.resource", *options, certificate=certificate)
        server.write("sockets.py", AUTOBAHN)
        return server
