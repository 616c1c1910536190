"""What a server makes of the bytes of a connection: the requests it sees, and its verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request

from twisted_graceful.testing import MemoryServer

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_REFUSED = re.compile(rb"\r\n\r\n[45][0-9]{2} [^\n]*\n([^\n]*)\n\Z")


@dataclass(frozen=True)
class Asked:
    """A request as an application sees it.

    Attributes:
        headers: names in lower case, sorted by name; the values of a name in their order.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def of(
        cls,
        method: bytes,
        target: bytes,
        version: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
    ) -> Asked:
        """A request whose header fields are in any order and spelling."""
        fields = sorted(
            ((name.lower(), value) for name, value in headers), key=lambda each: each[0]
        )
        return cls(method, target, version, tuple(fields), body)


@dataclass(frozen=True)
class Outcome:
    """What came of a connection's bytes.

    Attributes:
        asked: the requests that the application saw, in order.
        statuses: of all answers, interim ones too, in order.
        ended: whether the server has ended the connection.
        refusal: why the server has refused the last request; empty if it has not.
    """

    asked: tuple[Asked, ...]
    statuses: tuple[int, ...]
    ended: bool
    refusal: str

    @property
    def verdict(self) -> int:
        """The status of the last answer; 0 if there is none."""
        return self.statuses[-1] if self.statuses else 0


class Recorder(Resource):
    """Remembers every request, and answers each with nothing."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def render(self, request: Request) -> bytes:
        """Remember the request."""
        headers = request.requestHeaders.getAllRawHeaders()
        self.asked.append(
            Asked.of(
                request.method,
                request.uri,
                request.clientproto,
                [(name, value) for name, values in headers for value in values],
                request.content.read(),
            )
        )
        return b""


def serve(*chunks: bytes, **settings: Any) -> Outcome:
    """Send bytes to a server, in these pieces, and see what comes of it."""
    recorder = Recorder()
    client = MemoryServer(recorder, **settings).connect()
    for chunk in chunks:
        client.send(chunk)
    received = client.received
    statuses = tuple(map(int, _STATUS_LINE.findall(received)))
    refused = _REFUSED.search(received)
    refusal = ""
    if refused is not None:
        refusal = refused[1].decode()
    elif statuses and statuses[-1] >= 400:
        refusal = str(statuses[-1])  # to HEAD, whose answers have no body
    return Outcome(tuple(recorder.asked), statuses, client.ended, refusal)


def split(stream: bytes, at: Iterable[int]) -> Iterator[bytes]:
    """The pieces of a stream that is cut at these places, taken modulo its length."""
    edges = [0, *sorted(each % (len(stream) + 1) for each in at), len(stream)]
    return (stream[begin:end] for begin, end in pairwise(edges))
