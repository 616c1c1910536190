"""What the benchmark serves: fast, slow, large and streamed answers, and a check of uploads.

Every answer but the stream has a Content-Length; each names the process that gave it in ``X-Pid``.
"""

from __future__ import annotations

import hashlib
import io
import os
from itertools import count

from exchanges import DOWNLOAD, EVENT, LAST_EVENT
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import NoRangeStaticProducer

from twisted_graceful import draining

EVENT_INTERVAL = 0.2
"""Seconds between two events."""


class Fast(Resource):
    """``/fast/NAME``: the name, at once."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """The name."""
        return request.postpath[-1]


class Slow(Resource):
    """``/slow/SECONDS/NAME``: the name, after a time."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """The name, later."""
        seconds, name = request.postpath

        def answer() -> None:
            request.setHeader(b"Content-Length", str(len(name)).encode())
            request.write(name)
            request.finish()

        due = reactor.callLater(float(seconds), answer)
        request.notifyFinish().addErrback(lambda _: due.cancel())
        return NOT_DONE_YET


class Upload(Resource):
    """``/upload``: the SHA-256 digest of what was uploaded."""

    isLeaf = True

    def render_POST(self, request: Request) -> bytes:
        """The digest."""
        return hashlib.sha256(request.content.read()).hexdigest().encode()


class Download(Resource):
    """``/download``: several megabytes, as fast as the client takes them."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """The large answer."""
        request.setHeader(b"Content-Length", str(len(DOWNLOAD)).encode())
        NoRangeStaticProducer(request, io.BytesIO(DOWNLOAD)).start()
        return NOT_DONE_YET


class Events(Resource):
    """``/events/SECONDS/NAME``: an event stream, which ends well when the server drains."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """Numbered events, and one with the name at the end."""
        seconds, name = request.postpath
        numbers = count()

        def end(result: object) -> None:
            if ticking.running:
                ticking.stop()
                request.write(LAST_EVENT % name)
                request.finish()

        ticking = LoopingCall(lambda: request.write(EVENT % next(numbers)))
        due = reactor.callLater(float(seconds), end, None)

        def ended(result: object) -> None:
            if ticking.running:
                ticking.stop()
            if due.active():
                due.cancel()

        request.notifyFinish().addBoth(ended)
        draining(request).addCallback(end)
        ticking.start(EVENT_INTERVAL)
        return NOT_DONE_YET


class Root(Resource):
    """All of it."""

    def __init__(self) -> None:
        super().__init__()
        self.putChild(b"fast", Fast())
        self.putChild(b"slow", Slow())
        self.putChild(b"upload", Upload())
        self.putChild(b"download", Download())
        self.putChild(b"events", Events())

    def getChildWithDefault(self, path: bytes, request: IRequest) -> IResource:
        """The child; every answer tells which process gave it."""
        request.setHeader(b"X-Pid", str(os.getpid()).encode())
        return super().getChildWithDefault(path, request)


resource = Root
