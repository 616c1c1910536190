"""One request to a WSGI application, between its thread and the reactor.

The thread queues what the application gives, and the reactor takes all that is queued at once: a
response that is made faster than the reactor comes to it crosses over in one piece, however many
pieces the application made. The thread waits while the client is slow, so what it holds is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES
from twisted.web.server import Request
from zope.interface import implementer

from ... import twisted_internals
from .response_head import ResponseHead, response_head

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LIMIT = 1 << 20
"""Unsent bytes for a slow client beyond which the thread waits.

So a client that reads a response of usual size slowly does not hold a thread.
"""


class _ClientDisconnected(BrokenPipeError):
    """The client has left; `write` raises this in the application."""


@implementer(IPushProducer)
class Call:
    """One call of an application.

    Args:
        application: as in PEP 3333.
        request: a `twisted.web.server.Request`; only the reactor touches it.
        environ: for the application.
        from_thread: calls a function in the reactor, soon; can be called from any thread.
    """

    _log = Logger()

    def __init__(
        self,
        application: WSGIApplication,
        request: Request,
        environ: WSGIEnvironment,
        from_thread: Callable[[Callable[[], None]], object],
    ) -> None:
        self._application = application
        self._request = request
        self._environ = environ
        self._from_thread = from_thread
        # The application may change its environ.
        self._input, self._errors = environ["wsgi.input"], environ["wsgi.errors"]
        self._method = environ["REQUEST_METHOD"]
        self._path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        self._over: Callable[[Call], None] = lambda call: None
        # Of the thread, and of the reactor when the thread has ended
        self._head: ResponseHead | None = None
        self._begun = False
        self._left: int | None = None
        """How many bytes of the body are still to come; None if that is unknown."""
        # Of both, under the lock
        self._changed = threading.Condition()
        self._queue: list[bytes] = []
        self._queued = 0
        self._scheduled = False
        self._gone = False
        self._ended = False
        self._failure: Failure | None = None
        # Of the reactor
        self._sends = False
        self._produces = False
        self._paused = False
        request.notifyFinish().addErrback(self._lost)

    def when_over(self, over: Callable[[Call], None]) -> None:
        """Have a function called, in the reactor, when the application is done with the request."""
        self._over = over

    # In the thread

    def run(self) -> None:
        """Call the application, and queue what it gives."""
        try:
            if not self._gone:  # else the client left while this waited for a thread
                self._run()
        except _ClientDisconnected:
            pass
        except BaseException:
            self._failure = Failure()
        finally:
            with suppress(Exception):  # of what the application has done to them
                self._errors.flush()
                self._input.close()
            self._ended = True
            self._schedule()

    def _run(self) -> None:
        body = self._application(self._environ, self._start_response)
        try:
            self._send_all(body)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                self._close(close)

    def _send_all(self, body: Iterable[bytes]) -> None:
        if type(body) in (list, tuple):
            # All is here already: it goes in one piece, with its length.
            for each in body:
                _check(each)
            data = b"".join(body)
            if not self._begun and (data or self._method != "HEAD"):
                self._set_length(len(data))
            self._send(data, is_last=True)
            return
        for each in body:
            _check(each)
            if each and not self._send(each):
                break
        if not self._begun:
            if self._method != "HEAD":
                self._set_length(0)
            self._send(b"")

    def _set_length(self, length: int) -> None:
        head = self._head
        if head is not None and head.length is None:
            field = (b"Content-Length", b"%d" % length)
            self._head = head._replace(fields=[*head.fields, field], length=length)

    def _close(self, close: Callable[[], None]) -> None:
        try:
            close()
        except BaseException:
            self._log_failure("close() of the response to {method} {path} failed", Failure())

    def _start_response(
        self, status: object, headers: object, exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self._begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it refers to this frame
        elif self._head is not None:
            raise AssertionError("start_response() was called twice, without exc_info")
        self._head = None
        self._head = response_head(status, headers)
        return self._write

    def _write(self, data: bytes) -> None:
        _check(data)
        if data:
            self._send(data)

    def _send(self, data: bytes, *, is_last: bool = False) -> bool:
        """Queue a part of the body; returns whether more of it is wanted."""
        if not self._begun:
            head = self._head
            if head is None:
                raise AssertionError("start_response() was not called before the body")
            self._begun = True
            self._left = 0 if self._has_no_body(head) else head.length
        left = self._left
        if left is None:
            self._put(data, is_last)
            return True
        if self._has_no_body(self._head):
            self._put(b"", is_last)
            return False
        self._left = max(0, left - len(data))
        self._put(data[:left], is_last)
        if len(data) > left:
            assert self._head is not None
            raise ValueError(
                f"the body is longer than its Content-Length, {self._head.length}: the rest of it "
                "is not sent"
            )
        return True

    def _has_no_body(self, head: ResponseHead | None) -> bool:
        return self._method == "HEAD" or (head is not None and head.status in NO_BODY_CODES)

    def _put(self, data: bytes, is_last: bool) -> None:
        with self._changed:
            while not self._gone and self._queued >= LIMIT:
                self._changed.wait()
            if self._gone:
                raise _ClientDisconnected("the client has gone")
            self._queue.append(data)
            self._queued += len(data)
        if not is_last:  # what ends at once crosses over with its end
            self._schedule()

    def _schedule(self) -> None:
        with self._changed:
            scheduled, self._scheduled = self._scheduled, True
        if not scheduled:
            self._from_thread(self._take)

    # In the reactor

    def _take(self) -> None:
        """Send what is queued, unless the client has to read first."""
        with self._changed:
            if self._paused and not self._gone:
                return  # and nobody has to schedule this: `resumeProducing` comes
            self._scheduled = False
            queue, self._queue = self._queue, []
            self._queued = 0
            ended, self._ended = self._ended, False
            self._changed.notify_all()
        try:
            if queue and not self._gone:
                self._write_out(queue, ended)
            if ended:
                self._end()
        finally:
            if ended:
                self._over(self)

    def _write_out(self, queue: list[bytes], ended: bool) -> None:
        request = self._request
        if not self._sends:
            self._sends = True
            self._set_head(request)
        request.write(queue[0] if len(queue) == 1 else b"".join(queue))
        if not (ended or self._gone or self._produces):
            self._produces = True
            request.registerProducer(self, True)

    def _set_head(self, request: Request) -> None:
        head = self._head
        assert head is not None
        request.defaultContentType = None  # the application sets all fields
        request.setResponseCode(head.status, head.reason)
        raw = twisted_internals.raw_headers(request.responseHeaders)
        for name in (b"Server", b"Date"):  # the application's go before ours
            if any(each == name for each, _ in head.fields):
                raw.pop(name, None)
        for name, value in head.fields:
            raw.setdefault(name, []).append(value)

    def _end(self) -> None:
        request, failure = self._request, self._failure
        if self._gone:
            if failure is not None:
                self._log_failure("{method} {path} failed after its client had gone", failure)
            return
        if self._produces:
            request.unregisterProducer()
        if failure is None:
            request.finish()
        elif not self._begun:
            request.processingFailed(failure)
        elif self._left == 0:
            self._log_failure("{method} {path} failed after its response was complete", failure)
            request.finish()
        else:
            self._log_failure(
                "{method} {path} failed after its response had begun; the response is cut off",
                failure,
            )
            self._cut_off(request)

    def _cut_off(self, request: Any) -> None:
        """End the connection, or the stream, so that the client can tell."""
        if request.clientproto == b"HTTP/1.0" and self._left is None:
            request.transport.abortConnection()  # only a reset is not the end of the body
        else:
            request.loseConnection()

    def _log_failure(self, text: str, failure: Failure) -> None:
        self._log.failure(text, failure, method=self._method, path=self._path)

    def _lost(self, reason: Failure) -> None:
        """The client has gone, or the server has responded in the application's place."""
        with self._changed:
            self._gone = True
        self._take()

    def pauseProducing(self) -> None:
        """The client does not read as fast as the application writes."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has read all."""
        self._paused = False
        self._take()

    def stopProducing(self) -> None:
        """Nothing: `_lost` is called too."""


def _check(data: object) -> None:
    if not isinstance(data, bytes):
        raise TypeError(f"a body must be of bytes, not {type(data).__name__}: {data!r:.60}")
