"""An HTTP/2 connection: its streams, its share of reactor time, and its GOAWAYs.

The connection ends in two steps (RFC 9113 section 6.8), in drains, idle timeouts and at the limit
of requests. A GOAWAY that names the last of all streams announces the end, together with a PING.
Until the PING is answered, requests may cross that GOAWAY, and they are served. Streams that the
client opens later, or without a reply to the PING after ``idle_grace``, are refused
(REFUSED_STREAM, so the client knows that they were not processed): no client can hold up a drain.
When no stream is left, a second GOAWAY names the last one that was processed, with the close.

The h2 library, and so httpx, treats any GOAWAY as the end: it accepts no further frame, not even of
a response that it was promised. Such a client gets only the second GOAWAY, as soon as it has no
request open; it repeats a request that crosses it on a new connection. A client that always has a
request open gets the first one when half of ``drain_timeout`` has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from h2.errors import ErrorCodes
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import TimeoutError as HandlerTimeout
from twisted.python.failure import Failure

from ...config.server_settings import ServerSettings
from ..base_connection import NEVER, Connection, in_kernel
from ..head import RequestRejected
from ..log.drain_report import CutRequest, Outcome
from ..phases import ConnectionPhase
from .fields import MalformedRequest
from .frames import Http2ConnectionError
from .h2_machine import ALL_STREAMS, H2Machine, goaway
from .receiver import FrameReceiver
from .sender import FrameSender
from .stream import Stream

_REPLIES_LIMIT = 16384
"""Bytes that a client may have us reply, to PING and the like, while it does not read."""

_MAX_UNSENT = 16 << 20
"""Bytes of responses that may wait on a connection before a further request is started.

The largest one does not count: a large, slow download must not hold a browser's other requests,
which come on the same connection.

A client can ask for a hundred responses and take none of them; without this limit, an application
that writes each at once, and not with a producer, would have them all in memory.
"""

_FAREWELL = b"farewell"
"""What a client confirms an announcement with: the data of a PING."""


class _GoawayState(Enum):
    """How far the end of the connection has been announced."""

    OPEN = "requests are welcome"
    POSTPONED = "the client gets a GOAWAY as soon as it has no request open"
    ANNOUNCED = "the client is told to send no more, and has not confirmed it"
    CONFIRMED = "later requests are refused"


_GOAWAY_PENDING = (_GoawayState.POSTPONED, _GoawayState.ANNOUNCED)
"""The states in which the connection waits for something before it ends."""


class Http2Connection(Connection):
    """An HTTP/2 connection.

    Attributes:
        streams: the requests that are not finished, by the numbers of their streams.
        lingering: streams whose response was sent before the request was complete, and until when
            the client may go on sending. A client that gets a reset together with the response may
            lose the response.
        blocked: whether the buffer of the transport is full.
    """

    streams: dict[int, Stream]
    lingering: dict[int, float]
    blocked = False

    _machine: H2Machine
    _receiver: FrameReceiver
    _sender: FrameSender
    _sending: list[Stream]
    """Streams of which the transport has all, and not the kernel; and the last one in any case."""

    _waiting: dict[Stream, None]
    """Complete requests that wait for room before the application gets them; in order."""

    _goaway = _GoawayState.OPEN
    _goaway_due = NEVER
    """When the end continues without what it waits for."""
    _client_goes_away = False
    _failed = False
    _served = 0
    _replies = 0
    _in_turn = False

    @property
    def settings(self) -> ServerSettings:
        """Those of the site."""
        return self._settings

    def now(self) -> float:
        """The time, in seconds."""
        return self._connections.clock.seconds()

    # Twisted's transport tells us

    def connectionMade(self) -> None:
        """A client connected."""
        super().connectionMade()
        self.streams = {}
        self.lingering = {}
        self._sending = []
        self._waiting = {}
        self._machine = H2Machine(self._settings)
        self._receiver = FrameReceiver(self, self._machine)
        self._sender = FrameSender(self, self._machine, self._receiver.chatter)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        """Bytes arrived."""
        if self.phase is ConnectionPhase.CLOSING:
            self._linger()
            return
        self._receiver.feed(data)
        if not self._connections.scheduler.run(self._turn):
            self._pause_reading()  # it has to wait for its turn

    def readConnectionLost(self) -> None:
        """The client closed its sending side; what has come in whole is answered."""
        for stream in tuple(self.streams.values()):
            if stream.receiving and not stream.over:
                self.drop(stream, ConnectionDone(), Outcome.CLIENT_GONE)
        self.lingering.clear()
        super().readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        self.phase = ConnectionPhase.CLOSING
        self._connections.scheduler.forget(self._turn)
        try:
            self._drop_all(reason.value, self.outcome)
        finally:
            self._connections.remove(self)

    def pauseProducing(self) -> None:
        """The client does not read as fast as we write."""
        self.blocked = True

    def resumeProducing(self) -> None:
        """The client has read all that was written."""
        self.blocked = False
        self._replies = 0
        self._connections.scheduler.run(self._turn)

    def stopProducing(self) -> None:
        """The connection is gone, as `connectionLost` will tell."""

    # A turn

    def _turn(self) -> None:
        """Read and send as much as is ours in one turn of the reactor."""
        if self._in_turn or self.phase is ConnectionPhase.CLOSING:
            return
        self._in_turn = True
        if self._sending and not self._unsent:
            del self._sending[:-1]
        try:
            self._receiver.receive()
            self._sender.send()
            self._start_waiting()
            self.flush()
        except Http2ConnectionError as error:
            self._fail(error)
        except Exception:
            self._log.failure("A connection has failed, and is ended")
            self._fail(Http2ConnectionError(ErrorCodes.INTERNAL_ERROR, "it has failed"))
        finally:
            self._in_turn = False
        self._go_on()

    def _ask_for_turn(self) -> None:
        if not self._in_turn and self.phase is not ConnectionPhase.CLOSING:
            self._connections.scheduler.queue(self._turn)

    def _go_on(self) -> None:
        """Have another turn, or not; a client that does not read our replies is not read either."""
        if self._goaway is _GoawayState.POSTPONED:
            self._finish_or_idle()  # all that has arrived is read
        if self.phase is ConnectionPhase.CLOSING:
            return
        behind = self._receiver.has_backlog
        may_read = not behind and not self.overwhelmed
        if self._reading and not may_read:
            self._pause_reading()
        elif may_read and not self._reading:
            self._resume_reading()
        may_send = self._sender.may_send and not self.blocked
        if may_send or (behind and not self.overwhelmed):
            self._ask_for_turn()

    def flush(self) -> None:
        """Give the transport all frames that were made."""
        data = self._machine.data_to_send()
        if data:
            if self.blocked:
                self._replies += len(data)
            self.wire.write(data)

    @property
    def overwhelmed(self) -> bool:
        """Whether the client has us reply, and does not read."""
        return self._replies > _REPLIES_LIMIT

    @property
    def delivered(self) -> int:
        """Bytes that the client has acknowledged, as far as the transport can tell."""
        return self._delivered

    @property
    def written(self) -> int:
        """Bytes that the client will have acknowledged when it has all that was written."""
        return self._delivered + self.wire.undelivered

    # What the client tells

    def first_frame_received(self) -> None:
        """The client has begun to speak."""
        if self.phase is ConnectionPhase.SILENT:
            self._enter(ConnectionPhase.IDLE, self._settings.idle_timeout)

    def client_goes_away(self) -> None:
        """The client will send no more requests, and waits for its responses."""
        self._client_goes_away = True
        self._finish_or_idle()

    def pong_received(self, data: bytes) -> None:
        """The client has answered a PING."""
        if data == _FAREWELL and self._goaway is _GoawayState.ANNOUNCED:
            self._reject_further_requests()

    @property
    def accepts_requests(self) -> bool:
        """Whether a new request is answered; if not, the client knows."""
        return self._goaway is not _GoawayState.CONFIRMED

    @property
    def is_full(self) -> bool:
        """Whether the client has as many streams open as it may."""
        opened = len(self.streams) + len(self.lingering)
        return opened >= self._settings.max_concurrent_streams

    def add_stream(self, stream: Stream) -> None:
        """A request came."""
        self.streams[stream.number] = stream
        self._served += 1
        if self.phase is not ConnectionPhase.RESPONDING:
            self._enter(ConnectionPhase.RESPONDING)
        enough = 0 < self._settings.max_requests_per_connection <= self._served
        if (enough or self._connections.draining) and self._goaway is _GoawayState.OPEN:
            if enough:
                self.count_limit("max_requests_per_connection")
            self._begin_end()

    # What streams tell

    def start(self, stream: Stream) -> None:
        """A request is complete: pass it to the application when there is room for its response."""
        self._waiting[stream] = None
        if len(self._waiting) == 1:
            self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._unsent_bodies() < _MAX_UNSENT:
            stream = next(iter(self._waiting))
            del self._waiting[stream]
            self.attempt(stream, stream.start, self.now())

    def _unsent_bodies(self) -> int:
        """Bytes that wait for the client's windows, in all streams except the fullest."""
        sizes = [len(each.body) for each in self.streams.values()]
        return sum(sizes) - max(sizes, default=0)

    def count_limit(self, limit: str) -> None:
        """Count that a limit was hit."""
        self._connections.count_limit(limit)

    def attempt(self, stream: Stream, step: Callable[..., None], *arguments: object) -> None:
        """Take a step of a stream, whose failure is that of no other."""
        try:
            step(*arguments)
        except (RequestRejected, MalformedRequest):
            raise
        except Exception:
            self._log.failure("A request has failed: its stream is reset")
            self.reset(stream, ErrorCodes.INTERNAL_ERROR, "it has failed")

    def ready(self, stream: Stream) -> None:
        """A stream has something to send; if what made it has ended the stream, it is too late."""
        if not stream.over:
            self._sender.add(stream)
            self._ask_for_turn()

    def response_made(self, stream: Stream) -> None:
        """The application has finished a response."""
        self._connections.answered += 1
        self.ready(stream)

    def stream_sent(self, stream: Stream) -> None:
        """A response has been sent completely."""
        if stream.receiving:
            # Rejected; some clients drop the response if the reset comes with it.
            self.lingering[stream.number] = self.now() + self._settings.linger_timeout
        elif not stream.rejected:
            self._receiver.resets.earn(1)
        self._sending.append(stream)
        stream.complete()
        self._remove(stream)

    def reset(
        self, stream: Stream, code: ErrorCodes, why: str, outcome: Outcome = Outcome.CUT
    ) -> None:
        """End a stream at once.

        Args:
            stream: which.
            code: for the client.
            why: for the application.
            outcome: for the access log.
        """
        if not stream.over:
            self._machine.reset_stream(stream.number, code)
            self.drop(stream, ConnectionLost(why), outcome)
            self._ask_for_turn()

    def stop_lingering(self, number: int) -> None:
        """The client sends no more of a request that was refused."""
        if self.lingering.pop(number, None) is not None:
            self._finish_or_idle()

    def drop(self, stream: Stream, reason: BaseException | None, outcome: Outcome) -> None:
        """A stream is over, and its response was not sent completely."""
        stream.lost(Failure(reason), outcome)
        self._remove(stream)

    def _drop_all(self, reason: BaseException | None, outcome: Outcome) -> None:
        self.lingering.clear()
        while self.streams:
            self.drop(next(iter(self.streams.values())), reason, outcome)

    def _remove(self, stream: Stream) -> None:
        del self.streams[stream.number]
        self._waiting.pop(stream, None)
        self._sender.forget(stream)
        self._finish_or_idle()

    # Deadlines

    def check(self, now: float) -> None:
        """Do what the time has come for; called for every connection, every now and then."""
        super().check(now)
        if self.phase is ConnectionPhase.CLOSING or self._aborted:
            return
        if now >= self._goaway_due:
            if self._goaway is _GoawayState.POSTPONED:
                self._announce()
            else:
                self._reject_further_requests()
        elif self._goaway is _GoawayState.POSTPONED:
            self._finish_or_idle()
        elif self._connections.draining and self.streams and self._goaway is _GoawayState.OPEN:
            self._begin_end()
        try:
            self._receiver.check(now)
        except Http2ConnectionError as error:
            self._fail(error)
        for stream in tuple(self.streams.values()):
            if not stream.over:
                self._check_answer(stream, now)
        self._start_waiting()
        for number, deadline in tuple(self.lingering.items()):
            if now >= deadline:
                # The client may stop to send (RFC 9113 section 8.1).
                self.count_limit("linger_timeout")
                self._machine.reset_stream(number, ErrorCodes.NO_ERROR)
                self.stop_lingering(number)
                self._ask_for_turn()
        if self._goaway in _GOAWAY_PENDING or self._receiver.awaits:
            self.needs_check = True

    def _check_answer(self, stream: Stream, now: float) -> None:
        settings = self._settings
        if now >= stream.deadline:
            stream.reject(
                RequestRejected(503, "The application did not answer in time.", "handler_timeout"),
                Outcome.TIMED_OUT,
                HandlerTimeout("no answer in time"),
            )
        elif self._sender.is_slow(stream, now, settings.write_timeout, settings.min_rate):
            self.count_limit("write_timeout")
            cut, why = stream.cut(now), "the client does not take its answer"
            self._connections.client_log.write(
                self.client, "The client {peer} does not take {cut}", cut=cut
            )
            self.reset(stream, ErrorCodes.CANCEL, why, Outcome.TIMED_OUT)
            if not any(each.body for each in self.streams.values()):
                # It takes none of its responses, so it gets no more of them.
                for waiting in tuple(self._waiting):
                    self.reset(waiting, ErrorCodes.REFUSED_STREAM, why, Outcome.REFUSED)

    def _timed_out(self) -> None:
        if not in_kernel(self.wire):
            silent = self.phase is ConnectionPhase.SILENT
            self.count_limit("read_header_timeout" if silent else "idle_timeout")
            self.loseConnection()

    # The end

    def has_unread(self) -> bool:
        """Whether a further request may have been begun: here, or on its way."""
        return self._goaway in _GOAWAY_PENDING or self._has_arrived()

    def _has_arrived(self) -> bool:
        """Whether something has arrived that was not read yet, or not completely."""
        return self._receiver.has_unread or super().has_unread()

    @property
    def grace(self) -> float:
        """How long it is left alone in a drain: the announcement loses no request."""
        return 0 if self._served else super().grace

    def loseConnection(self) -> None:
        """Announce the end; close when the client has confirmed it and has its responses."""
        if self.phase is ConnectionPhase.SILENT:
            self._finish()  # it has not begun, and could not confirm
        elif self._goaway is _GoawayState.OPEN:
            self._begin_end()

    def _begin_end(self) -> None:
        if self._connections.draining and self.streams:  # else it is idle, and closed as such
            self._connections.told_to_close += 1
        self.needs_check = True
        if self._receiver.stops_at_goaway:
            self._goaway = _GoawayState.POSTPONED
            self._goaway_due = self.now() + self._settings.drain_timeout / 2
            self._finish_or_idle()
        else:
            self._announce()

    def _announce(self) -> None:
        """Tell the client to send no more requests; those that are on their way are answered."""
        self._goaway = _GoawayState.ANNOUNCED
        self._goaway_due = self.now() + self._settings.idle_grace
        self.flush()
        self.wire.write(goaway(ALL_STREAMS))
        self._machine.ping(_FAREWELL)
        self.flush()

    def _reject_further_requests(self) -> None:
        """Refuse requests from now on, but do not name the last one while others are open.

        h2 accepts no frame after that.
        """
        self._goaway = _GoawayState.CONFIRMED
        self._goaway_due = NEVER
        self._finish_or_idle()

    def _finish(self) -> None:
        """Name the last stream that was answered, and close."""
        self._goaway_due = NEVER
        self.flush()
        self.wire.write(goaway(self._machine.highest_inbound_stream_id))
        super().loseConnection()

    def _fail(self, error: Http2ConnectionError) -> None:
        """The connection cannot go on."""
        if error.limit:
            self.count_limit(error.limit)
        self._connections.client_log.write(
            self.client,
            "The connection of {peer} is ended: {why} ({code})",
            why=error.detail,
            code=error.code.name,
        )
        self._machine.clear_outbound_data_buffer()
        last = self._machine.highest_inbound_stream_id
        self.wire.write(goaway(last, error.code, error.detail))
        self._failed = True
        self._drop_all(ConnectionLost(error.detail), Outcome.CUT)
        super().loseConnection()

    def _finish_or_idle(self) -> None:
        """If no stream is left, wait for the next one, or close."""
        if self.streams or self.lingering or self.phase is ConnectionPhase.CLOSING:
            return
        if self._failed:
            return  # the client is told why
        client_knows = self._client_goes_away or self._client_finished
        postponed = self._goaway is _GoawayState.POSTPONED and not self._has_arrived()
        if client_knows or postponed or self._goaway is _GoawayState.CONFIRMED:
            self._finish()
        elif self.phase is ConnectionPhase.RESPONDING:
            self._enter(ConnectionPhase.IDLE, self._settings.idle_timeout)
            self.needs_check = True

    def _unfinished(self) -> bool:
        return bool(self.streams)

    def requests_in_flight(self) -> tuple[CutRequest, ...]:
        """The requests that an end of the connection now would cut."""
        cut = list(self.streams.values())
        if self._unsent:
            cut += self._sending
        elif self._stalled:
            cut += self._sending[-1:]
        return tuple(stream.cut(self.now()) for stream in cut)
