"""What clients ask for, and what must come back: the kinds of clients."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

PIECE = 64 * 1024
"""Bytes that a slow reader takes at a time; also the most that it has the kernel buffer."""

DOWNLOAD = b"".join(b"%01023d\n" % line for line in range(16 * 1024))
"""The large answer, 16 MiB of numbered lines, so that a missing or repeated part is seen.

Several times what the kernel buffers for a sender (4 MiB, tcp_wmem in tcp(7)): most of the
time the server itself must be there.
"""

EVENT = b"data: %d\n\n"
LAST_EVENT = b"event: end\ndata: %s\n\n"
"""What an event stream consists of: numbered events, and one with the name at its end."""


@dataclass(frozen=True)
class Exchange:
    """One request, or a pipelined batch of them.

    Attributes:
        pieces: the bytes to send; there is a pause after each but the last.
        expected: the content of each answer, in order.
        send_pause: seconds between pieces.
        read_pause: seconds that the client rests after every `PIECE` of an answer.
        is_right: whether a content, its first argument, is the expected one.
    """

    pieces: Sequence[bytes]
    expected: Sequence[bytes]
    send_pause: float = 0.0
    read_pause: float = 0.0
    is_right: Callable[[bytes, bytes], bool] = operator.eq


Make = Callable[[Random, str], Exchange]
"""Makes an exchange from a source of chance and a name that no other exchange has."""


@dataclass(frozen=True)
class Kind:
    """A kind of client.

    Attributes:
        name: as the report has it.
        clients: how many there are by default.
        make: makes its exchanges.
        think: seconds between two exchanges, at least and at most.
        one_request: whether each request gets a connection of its own.
    """

    name: str
    clients: int
    make: Make
    think: tuple[float, float]
    one_request: bool = False


def _get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: benchmark", *fields, "", ""]).encode()


def fast(random: Random, name: str) -> Exchange:
    """The smallest request; the answer is its name."""
    return Exchange([_get(f"/fast/{name}")], [name.encode()])


def _one_request(random: Random, name: str) -> Exchange:
    return Exchange([_get(f"/fast/{name}", "Connection: close")], [name.encode()])


def _slow(random: Random, name: str) -> Exchange:
    return Exchange([_get(f"/slow/{random.uniform(0.3, 1.0):.3f}/{name}")], [name.encode()])


def _upload(random: Random, name: str) -> Exchange:
    """About one second of upload, in ten pieces."""
    parts = [random.randbytes(6000) for _ in range(10)]
    body = b"".join(parts)
    head = f"POST /upload HTTP/1.1\r\nHost: benchmark\r\nContent-Length: {len(body)}\r\n\r\n"
    return Exchange(
        [head.encode(), *parts],
        [hashlib.sha256(body).hexdigest().encode()],
        send_pause=0.1,
    )


def _download(random: Random, name: str) -> Exchange:
    """About two seconds of download."""
    return Exchange([_get("/download")], [DOWNLOAD], read_pause=2.0 * PIECE / len(DOWNLOAD))


def _pipelined(random: Random, name: str) -> Exchange:
    """Five requests in one send; two answers take a moment, so that a drain begins amid them."""
    names = [f"{name}.{number}" for number in range(5)]
    paths = [
        f"/slow/0.030/{each}" if number % 2 else f"/fast/{each}"
        for number, each in enumerate(names)
    ]
    return Exchange([b"".join(map(_get, paths))], [each.encode() for each in names])


def _events(random: Random, name: str) -> Exchange:
    """An event stream of some seconds, or less if the server says goodbye before."""
    path = f"/events/{random.uniform(1.0, 4.0):.3f}/{name}"
    return Exchange([_get(path)], [name.encode()], is_right=_is_whole_stream)


def _is_whole_stream(content: bytes, name: bytes) -> bool:
    """Whether every event is there once, in order, and the last one."""
    count = content.count(b"\n\n") - 1
    return content == b"".join(EVENT % each for each in range(count)) + LAST_EVENT % name


KINDS = (
    Kind("keep-alive", 16, fast, think=(0.005, 0.055)),
    Kind("one-request", 8, _one_request, think=(0.005, 0.095), one_request=True),
    Kind("slow-answer", 4, _slow, think=(0.0, 0.1)),
    Kind("upload", 4, _upload, think=(0.0, 0.1)),
    Kind("download", 2, _download, think=(0.0, 0.1)),
    Kind("pipelined", 4, _pipelined, think=(0.0, 0.05)),
    # Idle for longer than a drain keeps an idle connection: a server that does not hand it
    # over closes it without an announcement, and that can race the next request.
    Kind("resting", 500, fast, think=(1.0, 6.0)),
    # None by default, since few other servers have an application for it.
    Kind("event-stream", 0, _events, think=(0.0, 0.1)),
)
