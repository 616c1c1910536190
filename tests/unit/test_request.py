"""What a request says of itself in the log, and what becomes of a body that cannot be kept."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.messages import format_request

from .support import temporary_directory
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
            request = format_request(method, "/a{b}%20?key=secret")
            self.assertEqual(self.logged(Failing(), request), [f"{method} /a{{b}}%20 failed"])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_head(self) -> None:
        """HEAD is nothing to tell of, whether the application knows it or not."""
        request = format_request("HEAD", "/")
        self.assertEqual(self.logged(Echo(), request, request), [])
        self.assertEqual(self.logged(OnlyGet(), request, request), [])


class BodyTests(SynchronousTestCase):
    """A body for which the directory of temporary files has no room, here because it is gone."""

    def test_no_room(self) -> None:
        """It is answered by 500, and told in the log without a traceback; others are served."""
        gone = os.path.join(temporary_directory(self), "gone")
        self.patch(tempfile, "tempdir", gone)
        app = Echo()
        client = MemoryServer(app, spool_size=10).connect()
        client.send(format_request("POST", "/", body=b"small"))
        with capturedLogs() as events:
            client.send(format_request("POST", "/", body=b"too large to keep"))
        self.assertEqual([each.status for each in client.responses()], [200, 500])
        self.assertTrue(client.ended)
        self.assertEqual(app.seen, [b"POST / small"])
        (event,) = events
        self.assertIn(f"A body cannot be kept in {gone}: ", formatEvent(event))
        self.assertNotIn("log_failure", event)
