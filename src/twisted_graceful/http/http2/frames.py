"""Splits the bytes of a connection into frames, and limits how many a client may send.

Nothing in here does I/O. The sections are those of RFC 9113.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from h2.errors import ErrorCodes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (section 3.4)."""

MAX_FRAME_SIZE = 16384
"""Bytes of a frame's payload: what RFC 9113 begins with, and every client knows."""

_HEADER_LENGTH = 9
_ACK = END_STREAM = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8

_MAX_SETTINGS = 32
"""Entries of one SETTINGS frame: nghttp2's limit."""


_DATA_OR_LAST_DATA = (b"\0\0", bytes([0, END_STREAM]))
"""The type and the flags of a DATA frame without padding."""


class FrameType(IntEnum):
    """The types of frames (section 6); others are ignored (section 5.5)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Http2ConnectionError(Exception):
    """An error of the connection (section 5.4.1).

    Args:
        code: for the GOAWAY.
        detail: what was wrong.
        limit: the name of what was exceeded, as that of a setting; empty if it was something else.
    """

    def __init__(self, code: ErrorCodes, detail: str, limit: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.limit = limit


class Frame(NamedTuple):
    """A frame, as bytes.

    Attributes:
        kind: its type, a `FrameType` or any other number.
        flags: what they mean depends on the type.
        stream: which stream it belongs to; 0 for the connection.
        data: the whole frame.
    """

    kind: int
    flags: int
    stream: int
    data: bytes

    @property
    def ends_stream(self) -> bool:
        """Whether it is the last of its stream."""
        return self.kind in (FrameType.DATA, FrameType.HEADERS) and bool(self.flags & END_STREAM)

    @property
    def is_ack(self) -> bool:
        """Whether it acknowledges one of our frames."""
        return self.kind in (FrameType.SETTINGS, FrameType.PING) and bool(self.flags & _ACK)

    @property
    def body_length(self) -> int:
        """Bytes of the body in a DATA frame: its payload without the padding."""
        length = len(self.data) - _HEADER_LENGTH
        if self.flags & _PADDED and length:
            length -= 1 + self.data[_HEADER_LENGTH]
        return length

    def check_settings(self) -> None:
        """Check the number of entries in a SETTINGS frame, of six bytes each (section 6.5).

        Raises:
            Http2ConnectionError: there are too many.
        """
        if len(self.data) > _HEADER_LENGTH + 6 * _MAX_SETTINGS:
            raise Http2ConnectionError(
                ErrorCodes.ENHANCE_YOUR_CALM,
                f"a SETTINGS frame has over {_MAX_SETTINGS} entries",
                "http2_frames",
            )

    def check_goaway(self) -> None:
        """Section 6.8.

        Raises:
            Http2ConnectionError: it is not a GOAWAY frame.
        """
        if self.stream:
            raise Http2ConnectionError(ErrorCodes.PROTOCOL_ERROR, "a GOAWAY frame is of a stream")
        if len(self.data) < _HEADER_LENGTH + 8:
            raise Http2ConnectionError(ErrorCodes.FRAME_SIZE_ERROR, "a GOAWAY frame is too short")


class FrameReader(Iterator[Frame]):
    """Splits the bytes of a client into frames.

    Args:
        max_block_size: bytes that the header of one request may have, still compressed.
    """

    def __init__(self, max_block_size: int) -> None:
        self._max_block_size = max_block_size
        self._buffer = b""
        self._at = 0
        self._taken = 0
        self._preface = PREFACE
        self._begun = False
        self._block_stream = 0  # of a header whose end has not come
        self._block_size = 0
        self._block_at = 0

    def feed(self, data: bytes) -> None:
        """Bytes arrived."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    @property
    def arriving(self) -> int:
        """Bytes of a frame that has not arrived in whole."""
        return len(self._buffer) - self._at

    @property
    def awaited(self) -> int | None:
        """Where a frame or a header began, in the stream of bytes, that has not arrived in whole.

        None if there is none, and for DATA, which may take its time.
        """
        if self._block_stream:
            return self._block_at
        if not self.arriving or self.arrives_data:
            return None
        return self._taken

    @property
    def arrives_data(self) -> bool:
        """Whether the frame that arrives is DATA."""
        kind = self._buffer[self._at + 3 : self._at + 4]
        return kind == bytes([FrameType.DATA]) and not self._preface

    def __next__(self) -> Frame:
        """The next frame.

        Raises:
            StopIteration: it has not arrived in whole.
            Http2ConnectionError: what has arrived is none, or is over a limit.
        """
        if self._preface:
            self._read_preface()
        buffer, at = self._buffer, self._at
        if len(buffer) - at < _HEADER_LENGTH:
            raise StopIteration
        length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
        if length > MAX_FRAME_SIZE:
            raise Http2ConnectionError(
                ErrorCodes.FRAME_SIZE_ERROR, f"a frame is over {MAX_FRAME_SIZE} bytes"
            )
        end = at + _HEADER_LENGTH + length
        kind, flags = buffer[at + 3], buffer[at + 4]
        stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & 0x7FFFFFFF
        self._check_order(kind, flags, stream)
        if kind in (FrameType.HEADERS, FrameType.CONTINUATION):
            self._check_block(length)
        if len(buffer) < end:
            raise StopIteration
        if kind in (FrameType.HEADERS, FrameType.CONTINUATION):
            self._count_block(flags, stream, length)
        self._begun = True
        self._at = end
        self._taken += end - at
        return Frame(kind, flags, stream, buffer[at:end])

    def joined(self, frame: Frame) -> Frame:
        """A frame, together with those behind it that continue the same body.

        Some clients write a frame for each line of a body. Joined, they cost about what one does.

        Args:
            frame: the one that was read last.

        Returns:
            One frame of at most the largest size, with the same data.
        """
        if frame.kind != FrameType.DATA or frame.flags:
            return frame
        buffer, at, flags = self._buffer, self._at, 0
        parts, size, stream = [frame.data[_HEADER_LENGTH:]], frame.body_length, frame.data[5:9]
        while not flags:
            start = at + _HEADER_LENGTH
            kind_and_flags = buffer[at + 3 : at + 5]
            if kind_and_flags not in _DATA_OR_LAST_DATA or buffer[at + 5 : start] != stream:
                break
            length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            if not length or start + length > len(buffer) or size + length > MAX_FRAME_SIZE:
                break
            flags = kind_and_flags[1]
            parts.append(buffer[start : start + length])
            size += length
            at = start + length
        if len(parts) == 1:
            return frame
        self._taken += at - self._at
        self._at = at
        header = size.to_bytes(3, "big") + bytes([FrameType.DATA, flags]) + stream
        return Frame(FrameType.DATA, flags, frame.stream, header + b"".join(parts))

    def _read_preface(self) -> None:
        arrived = self._buffer[: len(self._preface)]
        if not self._preface.startswith(arrived):
            raise Http2ConnectionError(ErrorCodes.PROTOCOL_ERROR, "this is not HTTP/2")
        if arrived != self._preface:
            raise StopIteration
        self._preface = b""
        self._at = self._taken = len(arrived)

    def _check_order(self, kind: int, flags: int, stream: int) -> None:
        """Sections 3.4 and 6.10."""
        if not self._begun and (kind != FrameType.SETTINGS or flags & _ACK):
            raise Http2ConnectionError(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block_stream and (kind != FrameType.CONTINUATION or stream != self._block_stream):
            raise Http2ConnectionError(
                ErrorCodes.PROTOCOL_ERROR, "a frame comes in the middle of a header"
            )

    def _check_block(self, length: int) -> None:
        """A header without end is bounded as any (CVE-2024-27316)."""
        if self._block_size + length > self._max_block_size:
            raise Http2ConnectionError(
                ErrorCodes.ENHANCE_YOUR_CALM,
                f"a header is over {self._max_block_size} bytes",
                "max_header_size",
            )

    def _count_block(self, flags: int, stream: int, length: int) -> None:
        if flags & _END_HEADERS:
            self._block_stream = self._block_size = 0
            return
        if not self._block_stream:
            self._block_stream, self._block_at = stream, self._taken
        self._block_size += length


class TokenBucket:
    """Limits how often a client does what is harmless once, and an attack when it never ends.

    The allowance for a burst grows again with time, and by what a client earns.

    Args:
        now: seconds.
        burst: the most that can be spent at once.
        rate: how much comes back per second.
    """

    def __init__(self, now: float, burst: float, rate: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._counted = now

    def spend(self, now: float, amount: float = 1) -> bool:
        """Spend some.

        Returns:
            Whether it was there.
        """
        self.earn((now - self._counted) * self._rate)
        self._counted = now
        self._left -= amount
        return self._left >= 0

    def earn(self, amount: float) -> None:
        """Let the client have that much more, up to a burst."""
        self._left = min(self._burst, self._left + amount)
