"""Handles the frames of a client, and limits what they may cost.

The cost of a frame is not its size: one of nine bytes costs as much as one of 16 KiB. So two token
buckets limit what does not advance a request. One counts frames other than requests and bodies, and
DATA frames of a few bytes. The other counts requests that come to nothing, since they were reset,
malformed or rejected, by the size of their headers; each response that the client takes earns one
back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from twisted.internet.error import ConnectionLost

from ..head import RequestRejected
from ..log.access_log import PartialRequest
from ..log.drain_report import Outcome
from ..phases import ConnectionPhase
from ..time_sharing import SLICE
from . import fields
from .field_decoder import Fields
from .fields import MalformedRequest
from .frames import Frame, FrameReader, FrameType, Http2ConnectionError, TokenBucket
from .h2_machine import H2Machine, comes_from_h2
from .interfaces import FrameConnection
from .stream import Stream
from .uploads import Uploads

_FRAMES_PER_TURN = 100
"""Frames of one connection that are read, at most, before the others have their turn."""

_BLOCK_SIZE = 4
"""A compressed header of up to this many times ``max_header_size`` gets a 431."""

# The rates are nghttp2's, for streams that are reset (CVE-2023-44487) and for "glitches". Its
# bursts are 1000 and 10000, which here would take a quarter of a second.
_RESETS, _RESETS_PER_SECOND = 225, 33
_CHATTER, _CHATTER_PER_SECOND = 1000, 330

_REJECTION_COST = 2
"""How many streams a rejected request counts as, since it gets a response; also one that the client
breaks the protocol with, so that it is reset."""

_SETTINGS_COST = 15
"""How many frames a SETTINGS frame counts as: it may change the windows of all streams."""

_LATE_HEADERS_COST = 2
"""How many frames a header for a closed stream counts as: it is decoded all the same."""

_SMALL_DATA = 64
"""Bytes of a body below which a frame counts, unless it is the last: their overhead is a third."""

_BLOCK_UNIT = 512
"""Bytes of a compressed header that cost about as much as a stream that is reset."""


class FrameReceiver:
    """Reads frames, and passes them to their streams, or to new ones.

    Args:
        connection: whose streams these are.
        machine: knows what state they are in.

    Attributes:
        has_backlog: whether there are frames that have not been read.
        stops_at_goaway: whether the client accepts no frame after a GOAWAY, not even of a response
            that it was promised, as the h2 library, and so httpx.
        chatter: how many frames the client may send that do not advance a request.
        resets: how many requests of the client may come to nothing.
    """

    def __init__(self, connection: FrameConnection, machine: H2Machine) -> None:
        now = connection.now()
        self._connection = connection
        self._machine = machine
        self._settings = connection.settings
        self._frames = FrameReader(_BLOCK_SIZE * self._settings.max_header_size)
        self._uploads = Uploads(self._settings)
        self._received = 0  # bytes of bodies
        self._raw_read = 0  # bytes that came up to the last that could be read, encrypted
        self.resets = TokenBucket(now, _RESETS, _RESETS_PER_SECOND)
        self.chatter = TokenBucket(now, _CHATTER, _CHATTER_PER_SECOND)
        self.has_backlog = False
        self.stops_at_goaway = False
        self._settled = False
        self._awaited: int | None = None
        self._awaited_since = now

    def feed(self, data: bytes) -> None:
        """Bytes arrived, which `receive` will read."""
        self._frames.feed(data)
        self._raw_read = self._raw_received()
        self.has_backlog = True

    @property
    def has_unread(self) -> bool:
        """Whether something has come that was not read yet, or not in whole."""
        return self.has_backlog or bool(self._frames.arriving)

    def receive(self) -> None:
        """Read what has come, as much as one turn allows.

        Raises:
            Http2ConnectionError: the client has broken the protocol.
        """
        until = self._connection.now() + SLICE
        for _ in range(_FRAMES_PER_TURN):
            if self._connection.phase is ConnectionPhase.CLOSING:
                return
            if self._connection.overwhelmed or self._connection.now() >= until:
                break
            frame = next(self._frames, None)
            if frame is None:
                self.has_backlog = False
                self._note_awaited()
                return
            self._receive(self._frames.joined(frame))
            if self._connection.blocked:
                self._connection.flush()
        self.has_backlog = True

    def _arriving(self) -> int:
        """Bytes of an incomplete frame or TLS record, which may belong to a body."""
        partial = self._frames.arriving if self._frames.arrives_data else 0
        return partial + self._raw_received() - self._raw_read

    def _raw_received(self) -> int:
        return self._connection.wire.received or 0

    @property
    def awaits(self) -> bool:
        """Whether something has come that must be completed in time."""
        return self._awaited is not None

    def _note_awaited(self) -> None:
        awaited = self._frames.awaited
        if awaited != self._awaited:
            self._awaited, self._awaited_since = awaited, self._connection.now()
            self._connection.needs_check = True

    def check(self, now: float) -> None:
        """Refuse what does not come in time.

        Raises:
            Http2ConnectionError: it is a header, or another frame, which hinders all streams.
        """
        timeout = self._settings.read_header_timeout
        if self.awaits and 0 < timeout <= now - self._awaited_since:
            raise Http2ConnectionError(
                ErrorCodes.ENHANCE_YOUR_CALM,
                "a header did not arrive in time",
                "read_header_timeout",
            )
        arriving = self._arriving()
        streams = self._connection.streams.values()
        for stream in self._uploads.slow(streams, self._received, arriving, now):
            stream.reject(
                RequestRejected(408, "The body did not arrive in time.", "read_timeout"),
                Outcome.TIMED_OUT,
            )

    def _take_step(
        self, stream: Stream, step: Callable[..., None], *arguments: object, cost: float = 1
    ) -> None:
        """Take a step of a request; what is wrong with it ends its stream alone."""
        try:
            self._connection.attempt(stream, step, *arguments)
        except RequestRejected as refused:
            stream.reject(refused)
            if refused.status != 507:  # our disk is full
                self.count_reset(_REJECTION_COST * cost)
        except MalformedRequest as malformed:
            code = ErrorCodes.PROTOCOL_ERROR
            self._connection.reset(stream, code, str(malformed), Outcome.REFUSED)
            self.count_reset(cost)

    def count_reset(self, cost: float = 1) -> None:
        """Bound the streams that come to nothing by the client's doing (CVE-2023-44487).

        Args:
            cost: what has been done for this one, in streams that were reset.

        Raises:
            Http2ConnectionError: there are too many.
        """
        if not self.resets.spend(self._connection.now(), cost):
            raise Http2ConnectionError(
                ErrorCodes.ENHANCE_YOUR_CALM, "too many streams come to nothing", "http2_resets"
            )

    def _receive(self, frame: Frame) -> None:
        connection, machine = self._connection, self._machine
        cost = self._cost(frame)
        if cost and not self.chatter.spend(connection.now(), cost):
            raise Http2ConnectionError(
                ErrorCodes.ENHANCE_YOUR_CALM, "too many frames that say nothing", "http2_frames"
            )
        if frame.kind == FrameType.SETTINGS:
            frame.check_settings()
        if frame.kind == FrameType.GOAWAY:
            frame.check_goaway()
            connection.client_goes_away()  # h2 would take it for the end of all streams
            return
        if frame.kind == FrameType.RST_STREAM and frame.stream > machine.highest_inbound_stream_id:
            raise Http2ConnectionError(
                ErrorCodes.PROTOCOL_ERROR, "a stream is reset that never was"
            )
        try:
            events = machine.receive_data(frame.data)
        except ProtocolError as error:
            raise Http2ConnectionError(error.error_code, str(error)) from None
        connection.first_frame_received()
        for event in events:
            meant = _EVENTS.get(type(event))
            if meant is not None:
                meant(self, event)

    def _cost(self, frame: Frame) -> int:
        """How many frames of chatter a frame counts as; 0 if it advances a request."""
        streams = self._connection.streams
        if frame.kind == FrameType.RST_STREAM and frame.stream in streams:
            return 0  # it counts as a reset
        if frame.kind in (FrameType.DATA, FrameType.HEADERS):
            if frame.ends_stream and frame.stream in streams:
                return 0
            if frame.kind == FrameType.DATA:
                return int(frame.body_length < _SMALL_DATA)
            is_late = frame.stream <= self._machine.highest_inbound_stream_id
            return _LATE_HEADERS_COST if is_late else 0
        return _SETTINGS_COST if frame.kind == FrameType.SETTINGS and not frame.is_ack else 1

    def _requested(self, event: RequestReceived) -> None:
        connection, number = self._connection, event.stream_id
        decoder = self._machine.decoder
        cost = 1 + decoder.length / _BLOCK_UNIT
        if not connection.accepts_requests or connection.is_full:
            if connection.accepts_requests:
                connection.count_limit("max_concurrent_streams")
            self._machine.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            self.count_reset(cost)
            return
        found = decoder.fields
        try:
            head = fields.read(found)
        except MalformedRequest:
            self._machine.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
            self._log_malformed(found)
            self.count_reset(cost)
            return
        receiving = event.stream_ended is None
        stream = Stream(connection, number, head, connection.now(), receiving=receiving)
        connection.add_stream(stream)
        self._take_step(stream, self._admit, stream, decoder.exceeded, cost=cost)

    def _admit(self, stream: Stream, exceeded: str) -> None:
        settings, head = self._settings, stream.request_head
        fields.check(head, exceeded, settings, ended=not stream.receiving)
        if head.length is not None and head.length > settings.max_body_size > 0:
            raise RequestRejected(
                413, f"The body is over {settings.max_body_size} bytes.", "max_body_size"
            )
        stream.begin()
        if head.expects_continue and stream.receiving:
            self._machine.send_headers(stream.number, [(b":status", b"100")])

    def _log_malformed(self, found: Fields) -> None:
        access_log = self._connection.site.access_log
        if access_log is not None:
            said = dict(found)
            method, target = said.get(b":method", b""), said.get(b":path", b"")
            request = PartialRequest(self._connection.client, method, target, b"HTTP/2")
            access_log.write(request, self._connection.now(), Outcome.REFUSED, status=0)

    def _body_came(self, event: DataReceived) -> None:
        size = event.flow_controlled_length
        stream = self._connection.streams.get(event.stream_id)
        if stream is not None:
            self._received += len(event.data)
            self._take_step(stream, stream.receive, event.data)
            self._machine.acknowledge_received_data(size, event.stream_id)
        elif size:
            # Of a request that was refused no more is wanted than is on its way.
            self._machine.increment_flow_control_window(size)

    def _trailer_came(self, event: TrailersReceived) -> None:
        stream = self._connection.streams.get(event.stream_id)
        if stream is not None:
            self._take_step(stream, fields.check_trailer, self._machine.decoder)

    def _request_ended(self, event: StreamEnded) -> None:
        stream = self._connection.streams.get(event.stream_id)
        if stream is not None:
            self._take_step(stream, stream.received_all)
        else:
            self._connection.stop_lingering(event.stream_id)

    def _was_reset(self, event: StreamReset) -> None:
        stream = self._connection.streams.get(event.stream_id)
        if stream is not None:
            reason = ConnectionLost("the client has reset the stream")
            self._connection.drop(stream, reason, Outcome.CLIENT_GONE)
            self.count_reset(1 if event.remote_reset else _REJECTION_COST)
        else:
            self._connection.stop_lingering(event.stream_id)

    def _window_opened(self, event: WindowUpdated) -> None:
        stream = self._connection.streams.get(event.stream_id)
        if stream is not None and stream.starving is not None:
            self._connection.ready(stream)

    def _settings_came(self, event: RemoteSettingsChanged) -> None:
        if not self._settled:
            self._settled = True
            self.stops_at_goaway = comes_from_h2(event)
        self._machine.limit_memory(event)
        for stream in self._connection.streams.values():
            if stream.starving is not None:
                self._connection.ready(stream)

    def _pong(self, event: PingAckReceived) -> None:
        self._connection.pong_received(event.ping_data)


_EVENTS: dict[type, Callable[[FrameReceiver, Any], None]] = {
    RequestReceived: FrameReceiver._requested,
    DataReceived: FrameReceiver._body_came,
    TrailersReceived: FrameReceiver._trailer_came,
    StreamEnded: FrameReceiver._request_ended,
    StreamReset: FrameReceiver._was_reset,
    WindowUpdated: FrameReceiver._window_opened,
    RemoteSettingsChanged: FrameReceiver._settings_came,
    PingAckReceived: FrameReceiver._pong,
}
