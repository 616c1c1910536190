"""One request on an HTTP/2 connection, and its response until it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from h2.errors import ErrorCodes
from twisted.internet.interfaces import IAddress, IConsumer, IProducer, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from ...config.server_settings import ServerSettings
from .. import error_response
from ..base_connection import NEVER
from ..data_rate import RateWatch
from ..head import Head, RequestRejected
from ..interfaces import ChannelRequest, ConnectionSite
from ..log.access_log import Loggable, RequestLog
from ..log.drain_report import CutRequest, Outcome
from ..phases import ConnectionPhase
from ..producer import Producer, check_unregistered
from ..request import Request
from . import fields
from .field_decoder import Fields
from .fields import MalformedRequest

HIGH_WATER = 65536
"""Bytes that wait to be sent before a producer is paused, as in Twisted's transports."""


class StreamConnection(Protocol):
    """What a stream asks of its connection."""

    site: ConnectionSite
    client: IAddress
    host: IAddress
    request_class: type[Request]

    def isSecure(self) -> bool:
        """Whether the client's connection is encrypted."""

    def count_limit(self, limit: str) -> None:
        """Count that a limit was reached."""

    def start(self, stream: Stream) -> None:
        """A request is complete: pass it to the application when there is room."""

    def ready(self, stream: Stream) -> None:
        """A stream has something to send."""

    def response_made(self, stream: Stream) -> None:
        """The application has made all of a response."""

    def reset(self, stream: Stream, code: ErrorCodes, why: str) -> None:
        """End a stream at once."""


@implementer(ITransport, IConsumer)
class Stream:
    """One request on an HTTP/2 connection: both its channel and its transport.

    What is written waits here until the connection sends it, as the client's windows, the transport
    and the other streams allow.

    Args:
        connection: what it is a stream of.
        number: its identifier.
        request_head: the head of the request.
        now: seconds.
        receiving: whether a body will come.

    Attributes:
        begun: when it began, in seconds.
        receiving: whether the body is not complete.
        received: bytes of the body.
        progress: of the body; None if none is awaited.
        deadline: when the response must have begun.
        response_head: the fields of the response, until they are sent.
        body: what waits to be sent.
        finished: whether nothing will be added to it.
        error: what the stream ends with if its response is incomplete.
        sent: bytes of the body that were sent.
        mark: how much had been written on the connection when this stream had to wait last.
        starving: how the client lets us send, while it lets us not; None while it does.
        rejected: whether the response is an error response of the server, not the application's.
        over: whether nobody cares any more.
    """

    _log = Logger()

    def __init__(
        self,
        connection: StreamConnection,
        number: int,
        request_head: Head,
        now: float,
        *,
        receiving: bool,
    ) -> None:
        self.connection = connection
        self.site = self.factory = connection.site
        self.client = connection.client
        self.host = connection.host
        self.transport = self
        self.number = number
        self.request_head = request_head
        self.begun = now
        self.receiving = receiving
        self.received = 0
        self.progress: RateWatch | None = None
        self.deadline = NEVER
        self.response_head: Fields | None = None
        self.body = bytearray()
        self.finished = False
        self.error: ErrorCodes | None = None
        self.sent = 0
        self.mark = 0
        self.starving: RateWatch | None = None
        self.rejected = False
        self.over = False
        self._request: Request | None = None
        self._answered: ChannelRequest | None = None
        self._logged = False
        self._producer: Producer | None = None
        self._pulls = False
        self._paused = False

    @property
    def _settings(self) -> ServerSettings:
        return self.site.connections.settings

    @property
    def phase(self) -> ConnectionPhase:
        """What it is doing, in the terms of connections."""
        if self.over:
            return ConnectionPhase.CLOSING
        return ConnectionPhase.READING if self.receiving else ConnectionPhase.RESPONDING

    def cut(self, now: float) -> CutRequest:
        """What an end of the connection now would cut."""
        head = self.request_head
        return CutRequest.of(head.method, head.target, age=now - self.begun, doing=self.phase.value)

    # The request comes

    def begin(self) -> None:
        """The head is complete, and checked."""
        self._request = self.connection.request_class(self, self.request_head)
        if self.receiving:
            self.progress = RateWatch(self.begun, 0)
            self._request.gotLength(self.request_head.length)

    def receive(self, data: bytes) -> None:
        """A part of the body came.

        Raises:
            RequestRejected: it is too large.
            MalformedRequest: it is longer than was announced.
        """
        if self._request is None:
            return  # it was refused, and the client has not heard of it
        self.received += len(data)
        self.site.connections.received += len(data)
        length, limit = self.request_head.length, self._settings.max_body_size
        if length is not None and self.received > length:
            raise MalformedRequest("the body is longer than its Content-Length")
        if self.received > limit > 0:
            raise RequestRejected(413, f"The body is over {limit} bytes.", "max_body_size")
        self._request.handleContentChunk(data)

    def received_all(self) -> None:
        """The request is complete.

        Raises:
            MalformedRequest: the body is shorter than was announced.
        """
        self.receiving = False
        self.progress = None
        if self._request is not None:
            if self.request_head.length not in (None, self.received):
                raise MalformedRequest("the body is shorter than its Content-Length")
            self.connection.start(self)

    def start(self, now: float) -> None:
        """Pass the request to the application."""
        if self._request is not None:
            timeout = self._settings.handler_timeout
            self.deadline = now + timeout if timeout else NEVER
            self._request.dispatch()

    def reject(
        self,
        refused: RequestRejected,
        outcome: Outcome = Outcome.REFUSED,
        shown: Exception | None = None,
    ) -> None:
        """Send an error response instead of the application's.

        Args:
            refused: what the response says.
            outcome: for the access log.
            shown: the error that the application gets, if it has seen the request.
        """
        self.rejected = True
        if refused.limit:
            self.connection.count_limit(refused.limit)
        text = error_response.text(refused)
        self._log_outcome(outcome, refused.status, len(text))
        self._detach_request(Failure(shown or refused))
        self.response_head = [
            (b":status", b"%d" % refused.status),
            (b"server", self.site.server_name),
            (b"date", self.site.date()),
            (b"content-type", error_response.CONTENT_TYPE),
            (b"content-length", b"%d" % len(text)),
        ]
        if self.request_head.method != b"HEAD":
            self.body += text
        self.progress = None
        self.deadline = NEVER
        self.finished = True
        self.connection.ready(self)

    def lost(self, reason: Failure, outcome: Outcome) -> None:
        """It ends before all was sent.

        Args:
            reason: for the application.
            outcome: for the access log.
        """
        self.over = True
        self.body.clear()
        self._log_outcome(outcome, self._status, self.sent)
        self._detach_request(reason)

    def complete(self) -> None:
        """All was sent."""
        self.over = True
        self._log_outcome(Outcome.ANSWERED)

    def _log_outcome(
        self, outcome: Outcome, status: int | None = None, sent: int | None = None
    ) -> None:
        """Have the access log told how it ended, once."""
        access_log = self.site.access_log
        if access_log is None or self._logged:
            return
        self._logged = True
        request: Loggable | None = self._answered or self._request
        if request is None:
            request = self.connection.request_class(self, self.request_head)
        access_log.write(request, self.begun, outcome, status=status, sent=sent)

    def _detach_request(self, reason: Failure) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        request, self._request = self._request, None
        if request is not None:
            request.connectionLost(reason)

    # Sending the response

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to be sent but its end."""
        return self.finished and not self.body and self.error is None and not self.over

    @property
    def wants_a_turn(self) -> bool:
        """Whether there is something to send, or to be made."""
        return bool(self.body) or self.finished or self._pulls or self._paused

    def take_body(self, size: int) -> bytes:
        """Take what is sent now, at most so many bytes."""
        data = bytes(self.body[:size])
        del self.body[:size]
        self.sent += len(data)
        return data

    def produce(self) -> None:
        """All is sent: let the producer make more."""
        if self._producer is None or not (self._pulls or self._paused):
            return
        self._paused = False
        self._producer.resumeProducing()

    # What `Request` asks of its channel, and applications of their transport

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers, data: bytes = b""
    ) -> None:
        """Begin the response, with the first bytes of its body."""
        self.deadline = NEVER
        self.response_head = fields.response_fields(code, headers)
        self.connection.ready(self)
        if data:
            self.write(data)

    def write(self, data: bytes) -> None:
        """Send a part of the response.

        Raises:
            TypeError: the data is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"only bytes can be sent, not {type(data).__name__}")
        if self.over or self.finished:
            return
        self.body += data
        if len(self.body) > HIGH_WATER:
            self._pause()
        self.connection.ready(self)

    def _pause(self) -> None:
        if self._producer is not None and not self._pulls and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send parts of the response."""
        self.write(b"".join(iovec))

    @property
    def _status(self) -> int:
        """The status of the response; 0 if none was begun."""
        request = self._answered or self._request
        return request.code if request is not None and request.startedWriting else 0

    def log(self, access_log: RequestLog, request: ChannelRequest) -> None:
        """Log a complete response when it has been sent, or is lost."""
        self._answered = request

    def requestDone(self, request: ChannelRequest) -> None:
        """The response is complete."""
        self._request = None
        self.finished = True
        self.connection.response_made(self)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a producer write the response, as fast as it can be sent.

        Raises:
            RuntimeError: there is one already.
        """
        check_unregistered(self._producer, producer)
        self._producer = producer = Producer(producer, self._producer_failed)
        self._pulls = not streaming
        self._paused = False
        if self.over:
            self._producer = None
            producer.stopProducing()
        elif not streaming:
            self.connection.ready(self)
        elif len(self.body) > HIGH_WATER:
            self._pause()

    def _producer_failed(self, failure: Failure) -> None:
        """The producer has raised an exception, so its response will not be complete."""
        self._producer = None
        request = self._request
        if request is None:
            self._log.failure("A producer failed after its response was complete", failure)
        elif request.producer_failed(failure):
            self.connection.reset(self, ErrorCodes.INTERNAL_ERROR, "the producer failed")

    def unregisterProducer(self) -> None:
        """The producer has made all."""
        self._producer = None

    def loseConnection(self) -> None:
        """Send what was written, then an error if the response is unfinished."""
        if not self.finished:
            self.finished = True
            self.error = ErrorCodes.INTERNAL_ERROR
            self.connection.ready(self)

    def abortConnection(self) -> None:
        """End the stream at once."""
        if not self.over:
            self.connection.reset(self, ErrorCodes.INTERNAL_ERROR, "the application has ended it")

    def isSecure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.connection.isSecure()

    def getPeer(self) -> IAddress:
        """The client's address."""
        return self.client

    def getHost(self) -> IAddress:
        """Our address."""
        return self.host

    def setTimeout(self, seconds: float | None) -> None:
        """Nothing: applications turn Twisted's timer off with this, and we have none."""
