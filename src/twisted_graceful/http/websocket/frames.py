"""Follows the frames of a WebSocket: where each ends, its opcode, and the size of messages.

That is enough to know whether a side has sent its Close frame, and where a frame of ours may be put
between those of the library, whatever library it is. Nothing in here does I/O. Payloads are neither
copied nor unmasked. The sections are those of RFC 6455.
"""

from __future__ import annotations

import sys
from enum import IntEnum

CLOSE, PING, PONG = 0x8, 0x9, 0xA
"""The opcodes of the control frames (section 5.2)."""

_CONTROL = 0x08
_OPCODE = 0x0F
_FINAL = 0x80
_MASKED = 0x80
_LENGTH = 0x7F

LONGEST_CONTROL = 125
"""Bytes that a control frame may carry (section 5.5)."""

FRAGMENTS_PER_MESSAGE = 1024
"""How many fragments a message may always have; a large one may have one for each KiB of the limit.

Twisted joins a message by copying what it has of it for each fragment: a message of 1 MiB in
fragments of a byte took it a minute. Go's WebSocket clients send fragments of 4 KiB.
"""


class CloseCode(IntEnum):
    """Why a WebSocket is closed (section 7.4.1)."""

    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A control frame as a server sends it, unmasked.

    Args:
        opcode: `CLOSE`, `PING` or `PONG`.
        payload: 125 bytes at most.
    """
    return bytes((_FINAL | opcode, len(payload))) + payload


def close_frame(code: CloseCode, reason: str = "") -> bytes:
    """A Close frame (section 5.5.1).

    Args:
        code: why.
        reason: the same in words; 123 bytes at most.
    """
    return control_frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


class FrameTracker:
    """One direction of a WebSocket, followed from frame to frame.

    Whatever the bytes are split into, the same of them is passed on. A begun header or control
    frame waits for its rest, so what has been passed on never ends within one.

    Args:
        limit: the largest message in bytes, over all its fragments; 0 for any.
        swallowed: the payload of the pongs that are not passed on.
        at_once: how many frames are passed on at once; 0 for any number.

    Attributes:
        has_more: whether frames are held back because of ``at_once``. Follow nothing (``b""``) for
            the next of them.
        closed: whether a Close frame was passed on. Nothing follows it.
        rejection: why the rest is not passed on: a code, and its reason. None as long as every
            header announces a message or control frame within the limits.
    """

    closed = has_more = False
    rejection: tuple[CloseCode, str] | None = None

    _rest = 0
    _held = b""
    _message = 0
    _fragments = 0

    def __init__(self, limit: int = 0, swallowed: bytes | None = None, at_once: int = 0) -> None:
        self._at_once = at_once or sys.maxsize
        self._limit = limit
        self._most_fragments = max(FRAGMENTS_PER_MESSAGE, limit >> 10)
        self._swallowed = swallowed

    @property
    def is_between_frames(self) -> bool:
        """Whether what was passed on ends with a frame, so that another may follow."""
        return not self._rest

    def follow(self, data: bytes) -> bytes:
        """Follow what comes next.

        Returns:
            What is to be passed on now.
        """
        if self.closed or self.rejection is not None:
            return b""
        if self._held:
            data, self._held = self._held + data, b""
        size = stop = len(data)
        begin, at = 0, self._rest
        pieces = []
        left = self._at_once
        self.has_more = False
        while at < size:
            if not left:
                self._held, stop, self.has_more = data[at:], at, True
                break
            left -= 1
            header = _header(data, at)
            if header is None:
                self._held, stop = data[at:], at
                break
            payload, end = header
            opcode = data[at] & _OPCODE
            self._check(data[at], end - payload)
            if self.rejection is not None:
                stop = at
                break
            if opcode & _CONTROL:
                if end > size:
                    self._held, stop = data[at:], at
                    break
                if opcode == CLOSE:
                    self.closed = True
                    at = stop = end
                    break
                if opcode == PONG and _unmasked(data, at, payload, end) == self._swallowed:
                    pieces.append(data[begin:at])
                    begin = end
            at = end
        self._rest = max(0, at - size)
        if not begin and stop == len(data):
            return data
        pieces.append(data[begin:stop])
        return b"".join(pieces)

    def _check(self, first: int, length: int) -> None:
        """Count a frame, and refuse it if that is too much."""
        if first & _CONTROL:
            if length > LONGEST_CONTROL:
                reason = f"a control frame over {LONGEST_CONTROL} bytes"
                self.rejection = CloseCode.PROTOCOL_ERROR, reason
            return
        self._message += length
        self._fragments += 1
        if 0 < self._limit < self._message:
            self.rejection = CloseCode.MESSAGE_TOO_BIG, f"a message over {self._limit} bytes"
        elif self._limit > 0 and self._fragments > self._most_fragments:
            reason = f"a message in over {self._most_fragments} fragments"
            self.rejection = CloseCode.MESSAGE_TOO_BIG, reason
        elif first & _FINAL:
            self._message = self._fragments = 0


def _header(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame that begins here begins, and where it ends.

    Returns:
        None if its header has not come in whole.
    """
    if len(data) < at + 2:
        return None
    second = data[at + 1]
    length = second & _LENGTH
    payload = at + 2
    if length > 125:
        payload += 2 if length == 126 else 8
        length = int.from_bytes(data[at + 2 : payload], "big")
    if second & _MASKED:
        payload += 4
    return (payload, payload + length) if payload <= len(data) else None


def _unmasked(data: bytes, at: int, payload: int, end: int) -> bytes:
    """The payload of a control frame (section 5.3)."""
    if not data[at + 1] & _MASKED:
        return data[payload:end]
    key = data[payload - 4 : payload]
    return bytes(byte ^ key[i & 3] for i, byte in enumerate(data[payload:end]))
