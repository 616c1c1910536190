"""An HTTP answer, read from a stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from exchanges import PIECE
from tally import Failed


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, complete.

    Attributes:
        status: of its status line.
        fields: its header fields, names in lower case.
        body: its content.
    """

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def last(self) -> bool:
        """Whether the server announces that it closes the connection after this answer."""
        return "close" in self.fields.get("connection", "").lower().split(", ")


async def read_answer(reader: asyncio.StreamReader, pause: float) -> Answer:
    """Read one answer, whose end must be given by Content-Length or by chunks.

    Args:
        reader: where it comes from.
        pause: seconds to rest after every `PIECE` of a body with a Content-Length.

    Raises:
        EOFError, OSError: the connection ended before the first byte.
        Failed: the answer is incomplete, or is none.
    """
    first = await reader.read(1)
    if not first:
        raise EOFError
    try:
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        fields = dict(map(_field, lines))
        version, status = status_line.split(" ")[:2]
        if version != "HTTP/1.1":
            raise ValueError(status_line)
        if fields.get("transfer-encoding") == "chunked":
            body = await _read_chunks(reader)
        else:
            body = await _read_body(reader, int(fields["content-length"]), pause)
        return Answer(int(status), fields, body)
    except asyncio.IncompleteReadError as error:
        raise Failed("truncated", f"EOF after {len(error.partial)} bytes of a part") from error
    except OSError as error:
        raise Failed("reset", f"in the middle of an answer: {error}") from error
    except (ValueError, KeyError, asyncio.LimitOverrunError) as error:
        raise Failed("wrong", f"no HTTP answer: {error!r}") from error


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


async def _read_body(reader: asyncio.StreamReader, length: int, pause: float) -> bytes:
    if not pause:
        return await reader.readexactly(length)
    body = bytearray()
    while len(body) < length:
        body += await reader.readexactly(min(PIECE, length - len(body)))
        await asyncio.sleep(pause)
    return bytes(body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    if await reader.readexactly(2) != b"\r\n":
        raise ValueError("trailer fields, which nobody asked for")
    return body
