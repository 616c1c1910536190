"""What a request says of itself in the log."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request

from ..case import SynchronousTestCase
from .web import Echo


class Failing(Resource):
    """An application with faults: it fails at once, or tells later that it has."""

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        """Fail."""
        raise ZeroDivisionError

    def render_POST(self, request: Any) -> int:
        """Tell of a failure, as Klein does."""
        request.processingFailed(Failure(ZeroDivisionError()))
        return NOT_DONE_YET


class OnlyGet(Resource):
    """An application that refuses HEAD."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Answer GET."""
        if request.method != b"GET":
            raise UnsupportedMethod([b"GET"])
        return b"body"


class LogTests(SynchronousTestCase):
    """What is logged of a request."""

    def logged(self, app: Resource, *requests: bytes) -> list[str]:
        """What requests leave in the log."""
        client = MemoryServer(app).connect()
        with capturedLogs() as events:
            for request in requests:
                client.send(request)
        return [formatEvent(event) for event in events]

    def test_failure(self) -> None:
        """A failure of the application names its request, without what may be secret in it."""
        for method in ("GET", "POST"):
            with self.subTest(method=method):
                request = format_request(method, "/a{b}%20?key=secret")
                self.assertEqual(self.logged(Failing(), request), [f"{method} /a{{b}}%20 failed"])
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_head(self) -> None:
        """HEAD is nothing to tell of, whether the application knows it or not."""
        request = format_request("HEAD", "/")
        self.assertEqual(self.logged(Echo(), request, request), [])
        self.assertEqual(self.logged(OnlyGet(), request, request), [])
