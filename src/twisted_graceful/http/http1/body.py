"""Decodes the body of a request from the bytes of its connection.

Nothing in here does I/O. The sections are those of RFC 9112.
"""

from __future__ import annotations

import re
from typing import Protocol

from ..head import RequestRejected

_CHUNK_LINE_LIMIT = 256
"""Bytes of a chunk's size and extensions; the latter mean nothing to us (section 7.1.1)."""

_OVERHEAD_LIMIT = 16384
"""Bytes that the lines of chunks may be longer than their data, all in all; Go's limit."""

_TRAILER_LIMIT = 4096
"""Bytes of all trailer fields, which are checked and dropped (section 7.1.2)."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT = rb"[\t -~\x80-\xff]*"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:%b)*" % _EXTENSION)
_TRAILER_LINE = re.compile(rb"%s:%s" % (_TOKEN, _TEXT))


class Body(Protocol):
    """The body of a request, as it arrives."""

    finished: bool
    rest: bytes
    """What came after its end."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the connection.

        Returns:
            The bytes of the body that are among them.

        Raises:
            RequestRejected: they are malformed.
        """


class SizedBody:
    """A body whose length was announced (section 6.2).

    Args:
        length: in bytes, 1 or more.
    """

    def __init__(self, length: int) -> None:
        self._missing = length
        self.finished = False
        self.rest = b""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the connection; those of the body are returned."""
        missing = self._missing
        if len(data) < missing:
            self._missing = missing - len(data)
            return data
        self.finished = True
        self.rest = data[missing:]
        return data[:missing]


class ChunkedBody:
    """A body in chunks (section 7.1)."""

    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        self._buffer = b""
        self._missing = 0  # of the chunk that arrives, with the CR LF after it
        self._overhead = 0
        self._trailer_room = -1  # of trailer fields that may still come; -1 before the last chunk

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the connection; those of the body are returned."""
        buffer, at = self._buffer + data, 0
        body: list[bytes] = []
        while not self.finished:
            if self._missing:
                taken = self._take_data(buffer, at, body)
            elif self._trailer_room >= 0:
                taken = self._take_trailer(buffer, at)
            else:
                taken = self._take_size(buffer, at)
            if not taken:
                break
            at += taken
        if self.finished:
            self.rest = buffer[at:]
        else:
            self._buffer = buffer[at:]
        return b"".join(body)

    def _take_data(self, buffer: bytes, at: int, body: list[bytes]) -> int:
        data_missing = self._missing - 2
        if data_missing > 0:
            data = buffer[at : at + data_missing]
            body.append(data)
            self._missing -= len(data)
            return len(data)
        end = buffer[at : at + 2]
        if not b"\r\n".startswith(end):
            raise RequestRejected(400, "A chunk is longer than its size.")
        if len(end) < 2:
            return 0
        self._missing = 0
        return 2

    def _take_size(self, buffer: bytes, at: int) -> int:
        line = _line(buffer, at, _CHUNK_LINE_LIMIT, "The size of a chunk")
        if line is None:
            return 0
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise RequestRejected(400, "The size of a chunk is malformed.")
        size = int(match[1], 16)
        # Chunks of one byte are clumsy, and fit in; those with long extensions are an attack.
        self._overhead = max(0, self._overhead + len(line) - 16 - 2 * size)
        if self._overhead > _OVERHEAD_LIMIT:
            raise RequestRejected(400, "The extensions of the chunks are too long.")
        if size:
            self._missing = size + 2
        else:
            self._trailer_room = _TRAILER_LIMIT
        return len(line) + 2

    def _take_trailer(self, buffer: bytes, at: int) -> int:
        line = _line(buffer, at, self._trailer_room, "The trailer")
        if line is None:
            return 0
        if not line:
            self.finished = True
        elif _TRAILER_LINE.fullmatch(line) is None:
            raise RequestRejected(400, "A trailer field is malformed.")
        self._trailer_room -= len(line)
        return len(line) + 2


def _line(buffer: bytes, at: int, limit: int, what: str) -> bytes | None:
    """The line that begins here, without its end; None if it has not arrived."""
    end = buffer.find(b"\n", at, at + limit + 2)
    if end < 0:
        if len(buffer) - at >= limit + 2:
            raise RequestRejected(400, f"{what} is too long.")
        return None
    if buffer[end - 1 : end] != b"\r" or end == at:
        raise RequestRejected(400, "A line does not end with CR LF.")
    return buffer[at : end - 1]
