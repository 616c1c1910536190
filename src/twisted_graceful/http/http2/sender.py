"""Sends the responses of a connection, one frame of each stream in turn."""

from __future__ import annotations

from ..data_rate import RateWatch
from ..time_sharing import SLICE
from .frames import TokenBucket
from .h2_machine import H2Machine
from .interfaces import FrameConnection
from .stream import Stream

_BYTES_PER_TURN = 1 << 18
"""What one connection may send before the others have their turn."""

_WRITE_SIZE = 16384
"""Bytes of frames that go to the transport together: a record of TLS (RFC 8446 section 5.1)."""

_OVERHEAD = 64
"""About what it costs to send a frame, in bytes."""

_CHATTER_PER_FRAME = 4
"""Frames that a client may send for one of ours: it acknowledges each on two windows."""

_SMALL_FRAME = 1024
"""Bytes below which a frame that is short for want of a window earns a client nothing."""


class FrameSender:
    """Sends a frame of each stream in turn.

    The priorities that a client assigns are ignored (RFC 9113 section 5.3.2).

    Args:
        connection: whose streams these are.
        machine: makes the frames, and knows the windows.
        chatter: what a client earns with what it takes.
    """

    def __init__(
        self, connection: FrameConnection, machine: H2Machine, chatter: TokenBucket
    ) -> None:
        self._connection = connection
        self._machine = machine
        self._chatter = chatter
        # Those with something to send, and those of them that the connection's window keeps
        # from it; the first one is next.
        self._ready: dict[Stream, None] = {}
        self._starved: dict[Stream, None] = {}
        # What all streams together were sent, how that grows since one of them had to wait, and
        # how much had been written when the connection's window was closed last.
        self._sent = 0
        self._shared: RateWatch | None = None
        self._mark = 0

    def add(self, stream: Stream) -> None:
        """A stream has something to send."""
        self._ready[stream] = None

    def forget(self, stream: Stream) -> None:
        """A stream has nothing to send."""
        self._ready.pop(stream, None)
        self._starved.pop(stream, None)

    @property
    def may_send(self) -> bool:
        """Whether there is something to send that the windows may allow."""
        return bool(self._ready or (self._starved and self._window_is_open))

    @property
    def _window_is_open(self) -> bool:
        return self._machine.outbound_flow_control_window > 0

    def send(self) -> None:
        """Send as much as the client takes, and as one turn allows."""
        room, unflushed = _BYTES_PER_TURN, 0
        until = self._connection.now() + SLICE
        while room > 0 and self.may_send and not self._connection.blocked:
            if self._connection.now() >= until:
                break
            size = self._send_of(self._next())
            room -= size
            unflushed += size
            if unflushed >= _WRITE_SIZE:
                self._connection.flush()
                unflushed = 0

    def _next(self) -> Stream:
        waiting = self._starved if self._starved and self._window_is_open else self._ready
        stream = next(iter(waiting))
        self.forget(stream)
        return stream

    def _send_of(self, stream: Stream) -> int:
        """Send the head of a stream, a frame of its body, or its end.

        Returns:
            About how many bytes that was.
        """
        number = stream.number
        if stream.response_head is None and not stream.body and not stream.finished:
            self._connection.attempt(stream, stream.produce)
            if stream.over:
                return _OVERHEAD
        if stream.response_head is not None:
            head, stream.response_head = stream.response_head, None
            self._machine.send_headers(number, head, end_stream=stream.is_whole)
            if stream.is_whole:
                self._connection.stream_sent(stream)
                return _OVERHEAD
        if stream.body:
            return _OVERHEAD + self._send_body(stream)
        if stream.is_whole:
            self._machine.end_stream(number)
            self._connection.stream_sent(stream)
        elif stream.error is not None and not stream.over:
            self._connection.reset(stream, stream.error, "the application has not finished it")
        return _OVERHEAD

    def _send_body(self, stream: Stream) -> int:
        room = self._machine.frame_size(stream.number)
        if room <= 0:
            self._wait(stream)
            return 0
        data = stream.take_body(room)
        self._sent += len(data)
        self._machine.send_data(stream.number, data, end_stream=stream.is_whole)
        if not stream.body or len(data) >= _SMALL_FRAME:
            self._chatter.earn(_CHATTER_PER_FRAME)
        if not stream.body:
            stream.starving = None
        if stream.is_whole:
            self._connection.stream_sent(stream)
        elif stream.wants_a_turn:
            self.add(stream)
        return len(data)

    def _wait(self, stream: Stream) -> None:
        """The client lets us not send. It has to: but not before it has what was sent already."""
        connection = self._connection
        connection.flush()
        stream.mark = connection.written
        if not self._window_is_open:
            self._starved[stream] = None
            self._mark = stream.mark
        if stream.starving is None:
            now = connection.now()
            if not any(each.starving for each in connection.streams.values()):
                self._shared = RateWatch(now, self._sent)
            stream.starving = RateWatch(now, stream.sent)

    def is_slow(self, stream: Stream, now: float, timeout: float, rate: float) -> bool:
        """Whether the client opens the windows of a stream too slowly.

        Only the time counts in which nothing else was in the way: the stream could send nothing,
        and the client had received all that was sent before. Streams that wait for the window of
        the connection take turns, so with many of them each may have to wait for long: they are
        slow only if all of them together are.

        Args:
            stream: which.
            now: seconds.
            timeout: seconds; 0 means never.
            rate: bytes per second.
        """
        if stream.starving is None:
            return False
        if stream in self._ready or self._connection.delivered < stream.mark:
            stream.starving.excuse(now)
            return False
        slow = stream.starving.is_slow(now, stream.sent, timeout, rate)
        return slow and (stream not in self._starved or self._are_slow(now, timeout, rate))

    def _are_slow(self, now: float, timeout: float, rate: float) -> bool:
        """Whether the client opens the window of the connection too slowly."""
        assert self._shared is not None
        if self._connection.delivered < self._mark:
            self._shared.excuse(now)
            return False
        return self._shared.is_slow(now, self._sent, timeout, rate * len(self._starved))
