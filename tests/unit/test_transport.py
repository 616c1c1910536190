"""The end of a reactor turn, when what was gathered is sent."""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_graceful.http.io.transport import Flusher
from twisted_graceful.http.log.drain_report import CutRequest
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .web import Echo


class FakeTransport:
    """Notes that it was flushed, or fails to be."""

    flushed = aborted = False

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def flush(self) -> None:
        """Send, or fail."""
        if self._error is not None:
            raise self._error
        self.flushed = True

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True


class FlusherTests(SynchronousTestCase):
    """All connections of a turn."""

    def test_one_that_fails(self) -> None:
        """A connection that cannot be flushed is aborted, and the others are flushed."""
        clock = Clock()
        flusher = Flusher(clock)
        failing, other = FakeTransport(ValueError("broken")), FakeTransport()
        for each in (failing, other):
            flusher.add(each)  # type: ignore[arg-type]
        clock.advance(0)
        self.assertEqual((failing.aborted, other.flushed, other.aborted), (True, True, False))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_what_is_no_bytes(self) -> None:
        """Text is refused where it is written, and reaches no other connection."""
        server = MemoryServer(Echo(hold=True))
        server.connect().request("GET", "/")
        (connection,) = server.connections
        self.assertRaises(TypeError, connection.transport.write, "text")


class BrokenConnectionTests(SynchronousTestCase):
    """A connection that an application has broken."""

    def test_it_holds_no_drain(self) -> None:
        """One that cannot be ended is forgotten at the deadline, and the next one is cut."""
        app = Echo(hold=True)
        server = MemoryServer(app, drain_timeout=1)
        for path in ("/broken", "/other"):
            server.connect().request("GET", path)

        def broken() -> CutRequest | None:
            raise ValueError("broken")

        for connection in server.connections:
            if b"broken" in connection._method_and_target()[1]:  # type: ignore[attr-defined]
                connection.end = broken  # type: ignore[method-assign]
        report = server.stop()
        self.assertEqual([cut.path for cut in report.cut], ["/other"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
