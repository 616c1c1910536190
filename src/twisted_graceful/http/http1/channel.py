"""One HTTP/1.1 connection and its requests, to the last response, which announces the close."""

from __future__ import annotations

import re
from collections.abc import Iterable

from twisted.internet.error import ConnectionAborted
from twisted.internet.error import TimeoutError as HandlerTimeout
from twisted.internet.interfaces import IProducer, IProtocol
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from ... import twisted_internals
from .. import error_response
from .. import head as heads
from ..base_connection import NEVER, in_kernel
from ..data_rate import RateWatch
from ..head import Head, RequestRejected
from ..interfaces import ChannelRequest
from ..log.access_log import Loggable, PartialRequest, RequestLog
from ..log.drain_report import CutRequest, Outcome
from ..movable_connection import MovableConnection
from ..phases import WAITING, ConnectionPhase
from ..producer import RegisteredProducer, check_unregistered
from ..request import Request
from ..websocket.connection import WebSocket
from ..websocket.upgraded_transport import NullTransport
from .body import Body, ChunkedBody, SizedBody

_PIPELINE_LIMIT = 16384
"""Bytes of later requests that are read while one is answered; the rest waits in the kernel."""

# To look a member up in an Enum takes as long as a call, before Python 3.12.
_RESPONDING, _CLOSING, _IDLE = (
    ConnectionPhase.RESPONDING,
    ConnectionPhase.CLOSING,
    ConnectionPhase.IDLE,
)

_NOT_READING = (_RESPONDING, _CLOSING, ConnectionPhase.HANDING_OVER)

_CR = 0x0D
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Channel(MovableConnection):
    """An HTTP/1.1 connection, and its requests one after the other.

    For `twisted.web.http.Request` it is what Twisted's own ``HTTPChannel`` is.

    A drain never closes a connection during a request. The last response says ``Connection: close``
    (RFC 9112 section 9.6), and the connection is closed after it, or when no request has begun.
    """

    _request: Request | None = None
    _sending_request: ChannelRequest | None = None
    """A request whose response is complete but not sent yet; it is logged then."""
    _body: Body | None = None
    _producer: RegisteredProducer | None = None
    _progress: RateWatch | None = None
    _head: Head | None = None
    _received = 0
    _is_last_response = False
    _parsing = False
    _blocked = False

    # Twisted's transport tells us

    def connectionMade(self) -> None:
        """A client connected."""
        super().connectionMade()
        self._head_parser = heads.HeadParser(self._settings)

    def dataReceived(self, data: bytes) -> None:
        """Bytes arrived."""
        phase = self.phase
        if phase is _CLOSING:  # nothing is processed any more (RFC 9112 section 9.6)
            self._linger()
            return
        self._buffer = self._buffer + data if self._buffer else data
        if phase is not _RESPONDING and not self._blocked:
            self._read_requests()
        elif len(self._buffer) > _PIPELINE_LIMIT:
            self._pause_reading()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        if self.site.access_log is not None:  # before a drain ends by this, and the log with it
            self._log_lost(self.site.access_log, reason)
        self._connections.remove(self)
        if self._producer is not None:
            self.unregisterProducer()
        if self._request is not None:
            self._request.connectionLost(reason)

    # Reading requests

    def _read_requests(self) -> None:
        self._parsing = True
        try:
            while self._buffer and self.phase not in _NOT_READING and not self._blocked:
                if self._body is not None:
                    self._read_body(self._body)
                elif not self._read_head():
                    break
        except RequestRejected as refused:
            self._reject(refused)
        finally:
            self._parsing = False
        if self._client_finished and self.phase not in _NOT_READING and not self._blocked:
            self._log_half_a_head()
            self.loseConnection()  # all that has come in whole is answered; no more will come

    def _read_head(self) -> bool:
        """Read a head; whether there was one in whole."""
        settings = self._settings
        buffer = self._buffer
        now = self._seconds()
        begins = self.phase in WAITING
        if begins:
            if buffer[0] == _CR:
                # Empty lines before a request are ignored (RFC 9112 section 2.2).
                empty = _EMPTY_LINES.match(buffer)
                self._buffer = buffer = buffer[empty.end() :] if empty else buffer
                if buffer in (b"", b"\r"):
                    return False
            self.begun = now
            self._head = None
        head = self._head_parser.parse(buffer)
        if head is None:
            if begins:
                self._enter(ConnectionPhase.READING, settings.read_header_timeout)
            return False
        self._head = head
        self._buffer = self._head_parser.rest
        self._served += 1
        length = head.length
        if length is not None and length > settings.max_body_size > 0:
            raise self._too_large()
        self._request = request = self.request_class(self, head)
        if head.websocket:
            WebSocket(self, request)  # which it becomes if it is answered with 101
        if length == 0:
            self.phase = _RESPONDING
            self.since = now
            timeout = settings.handler_timeout
            self.deadline = now + timeout if timeout else NEVER
            request.dispatch()
        else:
            request.gotLength(length)
            self._body = ChunkedBody() if length is None else SizedBody(length)
            self._received = 0
            self._progress = RateWatch(now, self._arrived())
            self._enter(ConnectionPhase.READING)
            if head.expects_continue and not self._buffer:
                self.transport.write(_CONTINUE)
        return True

    def _read_body(self, body: Body) -> None:
        data, self._buffer = self._buffer, b""
        data = body.receive(data)
        self._received += len(data)
        self._connections.received += len(data)
        if self._received > self._settings.max_body_size > 0:
            raise self._too_large()
        request = self._request
        assert request is not None
        if data:
            request.handleContentChunk(data)
        if body.finished:
            self._buffer, self._body = body.rest, None
            self._dispatch(request, self._seconds())

    def _dispatch(self, request: Request, now: float) -> None:
        self.phase = _RESPONDING
        self.since = now
        timeout = self._settings.handler_timeout
        self.deadline = now + timeout if timeout else NEVER
        request.dispatch()

    def _too_large(self) -> RequestRejected:
        return RequestRejected(
            413, f"The body is over {self._settings.max_body_size} bytes.", "max_body_size"
        )

    def _reject(
        self,
        refused: RequestRejected,
        outcome: Outcome = Outcome.REFUSED,
        shown: Exception | None = None,
    ) -> None:
        """Send an error response instead of the application's, and close.

        Args:
            refused: what the response says.
            outcome: for the access log.
            shown: the error that the application gets, if it has seen the request.
        """
        if refused.limit:
            self._connections.count_limit(refused.limit)
        body = error_response.text(refused)
        self._is_last_response = True
        length = len(body)
        if self._head is not None and self._head.method == b"HEAD":
            body = b""
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nDate: %b\r\nServer: %b\r\nConnection: close\r\n"
            b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (
                refused.status,
                error_response.reason(refused.status),
                self.site.date(),
                self.site.server_name,
                error_response.CONTENT_TYPE,
                length,
                body,
            )
        )
        if self.site.access_log is not None:
            self.site.access_log.write(
                self._loggable(), self.begun, outcome, status=refused.status, sent=len(body)
            )
        request, self._request = self._request, None
        if request is not None:
            request.connectionLost(Failure(shown or refused))
        self.loseConnection()

    # Writing responses: what `Request` asks of its channel

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers, data: bytes = b""
    ) -> None:
        """Begin a response, with the first bytes of its body; the last one announces the close."""
        self.deadline = NEVER
        raw = twisted_internals.raw_headers(headers)
        if code != b"101":  # after 101 the connection lives on in another protocol
            self._is_last_response = self._ends_connection(raw)
            if self._is_last_response:
                raw[b"Connection"] = [b"close"]
        known = heads.SENDABLE
        if reason not in known:
            heads.check_sendable(b"reason phrase", reason)
        parts = [version, b" ", code, b" ", reason]
        for name, values in raw.items():
            for value in values:
                if value not in known:
                    heads.check_sendable(name, value)
                parts += b"\r\n", name, b": ", value
        parts += b"\r\n\r\n", data
        self.transport.write(b"".join(parts))

    def _ends_connection(self, headers: dict[bytes, list[bytes]]) -> bool:
        head = self._head
        limit = self._settings.max_requests_per_connection
        if head is None:
            return True
        if 0 < limit <= self._served:
            self._connections.count_limit("max_requests_per_connection")
            return True
        if not head.persistent:
            # To HTTP/1.0 the close is the end of a response without a length.
            has_length = b"Content-Length" in headers or head.method == b"HEAD"
            if not (head.keep_alive and has_length):
                return True
        if b"Connection" in headers and heads.has_option(headers[b"Connection"], b"close"):
            return True
        # Requests that have begun to arrive get responses: so does a batch of pipelined requests.
        if (
            self._client_finished
            or (self._connections.draining and not self._connections.will_hand_over(self))
        ) and not self.has_unread():
            self._connections.told_to_close += self._connections.draining
            return True
        if head.keep_alive:
            headers[b"Connection"] = [b"keep-alive"]
        return False

    def _is_between_requests(self) -> bool:
        """Whether another process could go on with the connection."""
        return not (
            self._request
            or self._sending_request
            or self._body
            or self._producer
            or self._blocked
            or self._aborted
        )

    def has_unread(self) -> bool:
        """Whether a further request has been begun: here, or in the kernel's queue."""
        # Empty lines, and half of one, begin nothing (RFC 9112 section 2.2).
        return bool(self._buffer.strip(b"\r\n")) or super().has_unread()

    def write(self, data: bytes) -> None:
        """Send a part of a response."""
        self.transport.write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send parts of a response."""
        self.transport.writeSequence(iovec)

    def requestDone(self, request: ChannelRequest) -> None:
        """A response is complete, and handed to the transport."""
        self._connections.answered += 1
        self._request = None
        if self.phase is not _RESPONDING:
            return  # the connection closes already
        if self._is_last_response:
            self.loseConnection()
            return
        self.phase = _IDLE
        self.since = now = self._seconds()
        timeout = self._settings.idle_timeout
        self.deadline = now + timeout if timeout else NEVER
        self.needs_check = True
        handover = self._connections.handover
        if handover is not None and handover.add(self):
            return  # another process reads what follows
        if self._blocked:
            self._pause_reading()
        elif not self._reading:
            self._resume_reading()
        if not self._parsing:
            self._read_requests()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a producer write the response, as fast as the client reads.

        Raises:
            RuntimeError: there is one already.
        """
        check_unregistered(self._producer, producer)
        self._producer = RegisteredProducer(producer, streaming, self, self._producer_failed)
        self._producer.start()

    def unregisterProducer(self) -> None:
        """The producer has made all."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.unregister()

    def _producer_failed(self, failure: Failure) -> None:
        """The producer has raised an exception, so its response will not be complete."""
        self.unregisterProducer()
        request = self._request
        if request is None:
            self._log.failure("A producer failed after its response was complete", failure)
        elif request.producer_failed(failure):
            self.end()

    # The transport's buffer is full, and has room again

    def pauseProducing(self) -> None:
        """The client does not read as fast as we write."""
        self._blocked = True
        if self._producer is not None:
            self._producer.pauseProducing()
        if self.phase is not ConnectionPhase.RESPONDING:
            self._pause_reading()

    def resumeProducing(self) -> None:
        """The client has read all that was written."""
        self._blocked = False
        self._log_sent()
        if self._producer is not None:
            self._producer.resumeProducing()
        if self.phase is not ConnectionPhase.RESPONDING:
            if not self._reading:
                self._resume_reading()
            if not self._parsing:
                self._read_requests()

    def stopProducing(self) -> None:
        """The connection is gone."""
        if self._producer is not None:
            self._producer.stopProducing()

    def writeConnectionLost(self) -> None:
        """All that was written is sent."""
        self._log_sent()
        super().writeConnectionLost()

    # Deadlines

    def check(self, now: float) -> None:
        """Do what the time has come for; called for every connection, every now and then."""
        if self._body is not None and now < self.deadline:
            self._check_body(now)
        super().check(now)

    def _release_buffers(self) -> None:
        self._head = None
        self._head_parser.forget()

    def _timed_out(self) -> None:
        if self.phase is ConnectionPhase.READING:
            self._reject(
                RequestRejected(408, "The request did not arrive in time.", "read_header_timeout"),
                Outcome.TIMED_OUT,
            )
        elif self.phase is ConnectionPhase.RESPONDING:
            producer, self._producer = self._producer, None
            if producer is not None:
                producer.stopProducing()
            self._reject(
                RequestRejected(503, "The application did not answer in time.", "handler_timeout"),
                Outcome.TIMED_OUT,
                HandlerTimeout("no answer in time"),
            )
        elif not in_kernel(self.transport):
            silent = self.phase is ConnectionPhase.SILENT
            self._connections.count_limit("read_header_timeout" if silent else "idle_timeout")
            self.loseConnection()

    def _check_body(self, now: float) -> None:
        settings = self._settings
        progress = self._progress
        if progress is not None and progress.is_slow(
            now, self._arrived(), settings.read_timeout, settings.min_rate
        ):
            self._reject(
                RequestRejected(408, "The body did not arrive in time.", "read_timeout"),
                Outcome.TIMED_OUT,
            )

    def _arrived(self) -> int:
        """How much has come, of a body that may be encrypted.

        On a slow line a record of TLS takes its time, and cannot be decrypted before it is whole.
        """
        received = self.wire.received
        return self._received if received is None else received

    # Closing

    def loseConnection(self) -> None:
        """Close in stages; what has not been answered is not read any more."""
        if self.phase is not ConnectionPhase.CLOSING:
            self._buffer = b""
            self._body = None
            super().loseConnection()

    def _unfinished(self) -> bool:
        return self.phase is ConnectionPhase.RESPONDING

    def requests_in_flight(self) -> tuple[CutRequest, ...]:
        """The request that an end of the connection now would cut."""
        if self.phase is ConnectionPhase.CLOSING:
            done = self._flushed
        else:
            done = self.phase in WAITING and not self._unsent and not self._stalled
        if done:
            return ()
        age = self._seconds() - self.begun
        doing = "reading its answer" if self.phase in WAITING else self.phase.value
        return (CutRequest.of(*self._method_and_target(), age=age, doing=doing),)

    def _method_and_target(self) -> tuple[bytes, bytes]:
        """Method and target of the present request, as far as they are known."""
        if self._head is not None:
            return self._head.method, self._head.target
        limit = self._settings.max_request_line
        line, end, _ = self._buffer[: limit + 1].partition(b"\r\n")
        words = line.split(b" ")
        known = len(words) > 1 and (end or len(line) > limit)
        return (words[0], words[1]) if known else (b"", b"")

    # The access log: each request is told of once, when it is over

    def log(self, access_log: RequestLog, request: ChannelRequest) -> None:
        """Log a complete response, once the client has read it if it is slow."""
        if self._blocked or self._aborted:
            self._sending_request = request
        else:
            access_log.write(request, self.begun)

    def _log_sent(self) -> None:
        request, self._sending_request = self._sending_request, None
        if request is not None and self.site.access_log is not None:
            self.site.access_log.write(request, self.begun)

    def _log_half_a_head(self) -> None:
        access_log = self.site.access_log
        if (
            access_log is not None
            and self.phase is ConnectionPhase.READING
            and self._request is None
        ):
            access_log.write(self._loggable(), self.begun, self.outcome, status=0)

    def _log_lost(self, access_log: RequestLog, reason: Failure) -> None:
        """Whatever has not been logged ends with the connection."""
        if reason.check(ConnectionAborted) and not self._aborted:
            self.outcome = Outcome.CUT  # by the application, without asking us
        request = self._sending_request or self._request
        if request is None:
            self._log_half_a_head()
        elif self._sending_request is not None and not self._aborted and not self._unsent:
            self._log_sent()
        else:
            access_log.write(
                request,
                self.begun,
                self.outcome,
                status=request.code if request.startedWriting else 0,
                sent=max(0, request.sentLength - self._unsent),
            )

    def _loggable(self) -> Loggable:
        """The request that is under way, as far as it is known."""
        if self._request is not None:
            return self._request
        if self._head is not None:  # refused before there was a request
            return self.request_class(self, self._head)
        return PartialRequest(self.client, *self._method_and_target())

    def setTimeout(self, seconds: float | None) -> None:
        """Nothing: applications turn Twisted's timer off with this, and we have none."""

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        """Hand the connection to another protocol, says `twisted.web.websocket`."""
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def release_transport(self) -> bytes:
        """Let another protocol have the connection.

        Returns:
            What has arrived of it.
        """
        self._connections.remove(self)
        self.phase = ConnectionPhase.CLOSING
        self.transport = NullTransport()
        self._request = None
        self._aborted = True  # it ends and logs nothing any more
        rest, self._buffer = self._buffer, b""
        return rest
