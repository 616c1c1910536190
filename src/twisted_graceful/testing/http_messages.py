"""HTTP/1.1 messages as a client sees them, read by the standard library and not by Twisted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse, IncompleteRead
from io import BytesIO
from typing import Any, cast

_CONTINUE = b"HTTP/1.1 100 "
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        status: the status code.
        headers: the header fields; ``headers["Connection"]`` is None if there is none,
            names in any case, and ``headers.get_all("Set-Cookie")`` finds all of a name.
        body: the content, out of its chunks.
    """

    status: int
    headers: HTTPMessage
    body: bytes


def format_request(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """A request as bytes, with ``Host``, and ``Content-Length`` where there is a body."""
    fields = {"Host": "localhost"}
    if body:
        fields["Content-Length"] = str(len(body))
    fields.update(headers or {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + _END_OF_HEAD + body


def take_response(received: bytearray, method: str, *, ended: bool) -> Response | None:
    """Take the first answer out of what a connection has received.

    Args:
        received: the bytes; those of the answer are removed from it.
        method: of the request that it answers; an answer to ``HEAD`` has no body.
        ended: whether the server has closed its side, which may be the end of the body.

    Returns:
        The answer; None if it is not complete. A ``100 Continue`` is skipped.

    Raises:
        http.client.HTTPException: this is not HTTP.
    """
    while received.startswith(_CONTINUE) and _END_OF_HEAD in received:
        del received[: received.index(_END_OF_HEAD) + len(_END_OF_HEAD)]
    if _END_OF_HEAD not in received:
        return None
    stream = _Stream(received)
    parsed = HTTPResponse(cast(Any, stream), method=method)
    parsed.begin()
    until_close = parsed.length is None and not parsed.chunked
    try:
        body = parsed.read()
    except IncompleteRead:
        return None
    taken = bytes(received[: stream.position])
    # The parser takes the end of the bytes for the end of the trailer.
    if (until_close and not ended) or (parsed.chunked and not taken.endswith(_END_OF_HEAD)):
        return None
    del received[: len(taken)]
    return Response(parsed.status, parsed.headers, body)


class _Stream(BytesIO):
    """Bytes that can be read as a socket, and that tell how far they have been read."""

    position = 0

    def makefile(self, mode: str) -> BytesIO:
        return self

    def close(self) -> None:
        self.position = self.tell()
