"""The clients of other people's programs see what a server loses."""

from __future__ import annotations

import socket
import threading

from ..case import SynchronousTestCase
from .visitor import ServerStopped, Tally, VisitFailed, Visitor

KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
CLOSING = KEPT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
CUT = KEPT.replace(b": 2", b": 9")
FAILED = KEPT.replace(b"200", b"500")


class VisitorTests(SynchronousTestCase):
    """A server that answers one request on each connection, then closes it."""

    def setUp(self) -> None:
        """Listen."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.stopped = threading.Event()
        self.tally = Tally()
        self.visitor = Visitor(self.listener.getsockname()[1], self.tally, self.stopped)
        self.addCleanup(self.visitor.close)

    def ask(self, response: bytes) -> None:
        """Ask once, and return when the server has closed."""

        def serve() -> None:
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(response)

        server = threading.Thread(target=serve)
        server.start()
        try:
            self.visitor.ask("/", text="OK")
        finally:
            server.join()

    def test_closed_without_an_announcement(self) -> None:
        """A connection that was to be kept, and is closed, is counted with the next request."""
        self.ask(KEPT)
        self.ask(KEPT)
        self.assertEqual((self.tally.requests, self.tally.closed, self.tally.announced), (2, 1, 0))

    def test_closed_with_an_announcement(self) -> None:
        """A connection whose last response says that it is closed is counted as such."""
        self.ask(CLOSING)
        self.ask(CLOSING)
        self.assertEqual((self.tally.requests, self.tally.closed, self.tally.announced), (2, 0, 2))

    def test_failed(self) -> None:
        """A response that is cut, or not the expected one, fails the visit."""
        for response in (CUT, FAILED, b""):
            with self.subTest(response):
                self.assertRaises(VisitFailed, self.ask, response)

    def test_refused(self) -> None:
        """That a connection is refused is a failure, unless the test stops the server."""
        self.listener.close()
        self.assertRaises(VisitFailed, self.visitor.ask, "/")
        self.stopped.set()
        self.assertRaises(ServerStopped, self.visitor.ask, "/")
