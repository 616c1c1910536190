"""The connection of a WebSocket: follows its frames, limits them, pings, closes in a drain."""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProducer, IProtocol
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from ..base_connection import Connection
from ..data_rate import RateWatch
from ..interfaces import UpgradableChannel
from ..log.drain_report import CutRequest, Outcome
from ..phases import ConnectionPhase
from ..producer import RegisteredProducer, check_unregistered
from ..request import Request
from .frames import PING, CloseCode, FrameTracker, close_frame, control_frame
from .upgraded_transport import WebSocketTransport

_ANSWER = re.compile(rb"HTTP/1\.1 ([0-9]{3}) .*?\r\n\r\n", re.DOTALL)

_PING = b"still there?"
"""What our pings carry. The pongs to them are not passed on: the application sent no ping."""


_FRAMES_AT_ONCE = 256
"""Frames that are passed on before other connections get their turn.

A library takes some 10 us for each, however small: 64 KiB of empty pings are 10,000.
"""

_UNSENT_LIMIT = 1 << 20
"""Bytes that may wait for a client that does not read, before we hear nothing more of it.

Far more than what a producer keeps waiting, which stops at 64 KiB: while one is busy the client
must be heard.
"""


class WebSocket(Connection):
    """The connection of a WebSocket.

    It is made with the opening handshake, and waits beside the channel, which has the connection.
    When the application responds with 101, it takes the channel's place.

    Args:
        channel: what the opening handshake came on.
        request: the opening handshake.

    Attributes:
        app_transport: the transport of the library that speaks on the WebSocket.
        protocol: that library's protocol; None until it has taken the connection over.
    """

    phase = ConnectionPhase.RESPONDING
    protocol: IProtocol | None = None

    _producer: RegisteredProducer | None = None
    _answer = _waiting = b""
    _paused = False
    _blocked = False
    _flooded = False
    _heard = True
    _silent_since = 0.0
    _pong: RateWatch | None = None
    _pinged = 0
    _said = 0
    outcome = Outcome.ANSWERED

    def __init__(self, channel: UpgradableChannel, request: Request) -> None:
        self.factory = channel.site
        self.client = request.client  # as a proxy may have told
        self.host = channel.host
        self.transport = self.wire = channel.wire
        self.request = request
        self.app_transport = WebSocketTransport(self)
        self.channel = channel
        self._incoming = FrameTracker(
            self._settings.max_message_size, swallowed=_PING, at_once=_FRAMES_AT_ONCE
        )
        self._outgoing = FrameTracker()
        self.begun = channel.begun
        channel.transport = request.transport = self.app_transport
        request.notifyFinish().addBoth(self._request_over)

    # The opening handshake

    def set_protocol(self, protocol: IProtocol) -> None:
        """Let a protocol speak, from the head of its response on."""
        self.protocol = protocol
        self.channel.transport = self.app_transport  # which it may have taken away

    def _shake_hands(self, data: bytes) -> None:
        """Send a part of the response; with ``101`` the WebSocket begins."""
        if self.protocol is None:
            self.wire.write(data)
        elif self.channel.phase is ConnectionPhase.RESPONDING:
            self._answer += data
            head = _ANSWER.match(self._answer)
            if head is not None and head[1] == b"101":
                rest = self._answer[head.end() :]
                self.wire.write(data[: len(data) - len(rest)])
                self._begin()
                self.send(rest)
                return
            self.wire.write(data)
            if head is not None:  # for the access log
                self.request.code = int(head[1])
                self.request.startedWriting = 1
                self.channel.outcome = Outcome.ANSWERED

    def _begin(self) -> None:
        channel, wire = self.channel, self.wire
        self._connections.add(self)
        arrived = channel.release_transport()
        wire.protocol = self
        wire.unregisterProducer()
        wire.registerProducer(self, True)
        self._enter(ConnectionPhase.WEBSOCKET)
        # The application hears nothing before it has come back from answering.
        self._pause_reading()
        self._connections.clock.callLater(0, self._start_reading, arrived)

    def _start_reading(self, arrived: bytes) -> None:
        if arrived:
            self.dataReceived(arrived)
        self._read_on()

    def _request_over(self, result: Failure | None) -> None:
        """The request that was the opening handshake has ended, in one way or the other."""
        if self.phase is not ConnectionPhase.RESPONDING:
            self._fail(
                CloseCode.INTERNAL_ERROR
            )  # somebody has answered it once more, as an error is
            return
        if self.channel.transport is self.app_transport:
            self.channel.transport = self.wire
        self.phase = ConnectionPhase.CLOSING
        self._notify_lost(result or Failure(ConnectionDone()))

    # The transport tells us

    def dataReceived(self, data: bytes) -> None:
        """Bytes arrived."""
        self._heard = True
        if self.phase is ConnectionPhase.CLOSING:
            return
        self._waiting += data
        if not self._connections.scheduler.run(self._read_frames):
            self._read_on()

    @property
    def _has_more(self) -> bool:
        """Whether something has arrived that was not passed on yet, to share the time."""
        return bool(self._waiting) or self._incoming.has_more

    def _read_frames(self) -> None:
        """Pass on what has arrived, within this connection's share of a reactor turn."""
        if self.phase is ConnectionPhase.CLOSING:
            return
        incoming = self._incoming
        waiting, self._waiting = self._waiting, b""
        data = incoming.follow(waiting)
        if (
            data
            and self.protocol is not None
            and not self._notify(self.protocol.dataReceived, data)
        ):
            self._fail(CloseCode.INTERNAL_ERROR)
        if self._blocked and self._unsent > _UNSENT_LIMIT:
            self._flooded = True
            self._read_on()
        if incoming.rejection is not None:
            self.outcome = Outcome.REFUSED
            self._fail(*incoming.rejection)
        elif incoming.closed:
            self._begin_close()
        elif incoming.has_more or not self._reading:
            self._read_on()

    def _read_remaining_frames(self) -> None:
        """Pass on all that has arrived, since nothing more will."""
        while self._has_more and self.phase is not ConnectionPhase.CLOSING:
            self._read_frames()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        self.phase = ConnectionPhase.CLOSING
        self._notify_lost(reason)
        if self.site.access_log is not None:
            self.site.access_log.write(
                self.request, self.begun, self.outcome, status=101, sent=self._said
            )
        self.request.connectionLost(reason)
        self._connections.remove(self)

    def _notify_lost(self, reason: Failure) -> None:
        producer, self._producer = self._producer, None
        protocol, self.protocol = self.protocol, None
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            self._notify(protocol.connectionLost, reason)

    def _notify(self, tell: Callable[..., object], *args: object) -> bool:
        """Tell the application something; whether it has borne it."""
        try:
            tell(*args)
        except Exception:
            self._log.failure("An application has failed: its WebSocket is closed")
            return False
        return True

    # What the protocol asks of its transport

    def send(self, data: bytes) -> None:
        """Send what the protocol says."""
        if self.phase is ConnectionPhase.RESPONDING:
            self._shake_hands(data)
        elif self.phase is not ConnectionPhase.CLOSING:
            data = self._outgoing.follow(data)
            self._said += len(data)
            self.wire.write(data)
            if self._outgoing.closed:
                self._begin_close()

    def pause(self, paused: bool) -> None:
        """Do not read, or do again."""
        self._paused = paused
        self._read_on()

    def _read_on(self) -> None:
        """Read if the application can take it, and the client takes what it gets for it."""
        if self.phase is ConnectionPhase.CLOSING:
            return  # what arrives is discarded
        if self._paused or self._flooded:
            self._pause_reading()
            self._connections.scheduler.forget(self._read_frames)
        elif self._has_more:
            self._pause_reading()
            self._connections.scheduler.queue(self._read_frames)
        elif not self._reading:
            self._resume_reading()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a producer speak as fast as the client reads.

        Raises:
            RuntimeError: there is one already.
        """
        check_unregistered(self._producer, producer)
        self._producer = RegisteredProducer(
            producer, streaming, self.app_transport, self._producer_failed
        )
        self._producer.start()
        if self._blocked:
            self._producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """The producer has said all."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.unregister()

    def _producer_failed(self, failure: Failure) -> None:
        """The producer has raised an exception, so its output will not be complete."""
        self.unregisterProducer()
        self._log.failure("A producer failed: its WebSocket is closed", failure)
        self._fail(CloseCode.INTERNAL_ERROR)

    # The transport's buffer is full, and has room again

    def pauseProducing(self) -> None:
        """The client does not read as fast as the protocol speaks."""
        self._blocked = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read all that was said."""
        self._blocked = self._flooded = False
        if self._producer is not None:
            self._producer.resumeProducing()
        self._read_on()

    def stopProducing(self) -> None:
        """The connection is gone: `connectionLost` follows."""

    # Deadlines

    def check(self, now: float) -> None:
        """Do what the time has come for; called for every connection, every now and then."""
        super().check(now)
        if self.phase is ConnectionPhase.WEBSOCKET:
            self._check_alive(now)

    def _check_alive(self, now: float) -> None:
        """A client that says nothing is asked whether it is still there (section 5.5.2)."""
        interval = self._settings.websocket_ping_interval
        timeout = self._settings.websocket_ping_timeout
        if self._heard:
            self._heard = False
            self._silent_since = now
            self._pong = None
        elif self._pong is not None:
            # The time begins when the ping has come through what was sent before it.
            if self._pong.is_slow(now, min(self._delivered, self._pinged), timeout, 0):
                self._connections.client_log.write(
                    self.client, "The client {peer} answers no ping", level=LogLevel.debug
                )
                self._connections.count_limit("websocket_ping_timeout")
                self.outcome = Outcome.TIMED_OUT
                self._close(CloseCode.INTERNAL_ERROR, "no answer to a ping")
                self.end()
        elif 0 < interval <= now - self._silent_since and self._outgoing.is_between_frames:
            self.wire.write(control_frame(PING, _PING))
            self._silent_since = now
            if timeout:
                self._pinged = self._delivered + self.wire.undelivered
                self._pong = RateWatch(now, self._delivered)

    def _timed_out(self) -> None:
        """The client has not answered our Close frame, or the protocol the client's."""
        self._connections.count_limit("linger_timeout")
        self.loseConnection()

    # Closing

    def go_away(self) -> bool:
        """Tell the client to go elsewhere (section 7.4.1); it has a short time to answer."""
        if self.phase is not ConnectionPhase.WEBSOCKET or not self._close(CloseCode.GOING_AWAY):
            return False
        self._begin_close()
        return True

    def _close(self, code: CloseCode, reason: str = "") -> bool:
        """Send a Close frame; whether that was possible now.

        No frame of the library follows it. What the client sends before its own Close frame is
        still delivered, so to the library it is the client that has closed.
        """
        if not self._outgoing.is_between_frames:
            return False
        self.wire.write(self._outgoing.follow(close_frame(code, reason)))
        return True

    def _begin_close(self) -> None:
        """One side has sent its Close frame: the other one has a short time for its own."""
        if self.phase is ConnectionPhase.WEBSOCKET:
            self._enter(ConnectionPhase.WEBSOCKET_CLOSING, self._settings.linger_timeout)

    def _fail(self, code: CloseCode, reason: str = "") -> None:
        """Close, and hear nothing more of the client (section 7.1.7)."""
        if code is CloseCode.MESSAGE_TOO_BIG:
            self._connections.count_limit("max_message_size")
        if self.phase is not ConnectionPhase.CLOSING:
            self._close(code, reason)
            self.loseConnection()

    def readConnectionLost(self) -> None:
        """The client sends nothing more: it is gone, for it has not even closed (section 7.1.5)."""
        if self.phase is ConnectionPhase.CLOSING:
            super().readConnectionLost()
        else:
            self._client_finished = True
            self._read_remaining_frames()
            self.loseConnection()

    def loseConnection(self) -> None:
        """Close in stages."""
        if self.phase is ConnectionPhase.RESPONDING:
            self.channel.loseConnection()
        else:
            super().loseConnection()

    def abort(self) -> None:
        """Reset the connection, as the protocol asks."""
        if self.phase is not ConnectionPhase.RESPONDING:
            self.phase = ConnectionPhase.CLOSING
        self.wire.abortConnection()

    def end(self, outcome: Outcome = Outcome.CUT) -> tuple[CutRequest, ...]:
        """End the connection at once; what is only gathered yet is sent before."""
        self.wire.flush()
        return super().end(outcome)

    def _unfinished(self) -> bool:
        return False

    def requests_in_flight(self) -> tuple[CutRequest, ...]:
        """A WebSocket that was told is not cut, unless what it was told is lost."""
        if not self._unsent:
            return ()
        age = self._seconds() - self.begun
        request = self.request
        return (CutRequest.of(request.method, request.uri, age=age, doing=self.phase.value),)
