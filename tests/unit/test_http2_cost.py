"""Whatever a client sends over HTTP/2 costs processor time in proportion to its bytes, and little.

Requests that are answered are left out: what they cost is what the server is for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from twisted_graceful.http.http2.frames import MAX_FRAME_SIZE, PREFACE, FrameType

from .cost import SIZE, CostTestCase, Feed, Row
from .http2_client import http2_server

END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8
GET = b"\x82\x87\x84\x01\x01a"
POST = b"\x83\x87\x84\x01\x01a"
ADDED = b"\x40\x01x\x00"
"""A field without a value, which goes into the table: `LATEST` refers to it then."""
LATEST = b"\xbe"


class Held(Resource):
    """Does not answer."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """Wait."""
        return NOT_DONE_YET


class Large(Resource):
    """Answers with more than a client takes."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer."""
        return bytes(1 << 18)


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """A frame."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def asked(block: bytes, stream: int, *, end: bool = True) -> bytes:
    """The header of a request, in as many frames as it takes."""
    size = MAX_FRAME_SIZE
    blocks = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
    kinds = [FrameType.HEADERS, *[FrameType.CONTINUATION] * (len(blocks) - 1)]
    flags = [END_STREAM if end else 0, *[0] * (len(blocks) - 1)]
    flags[-1] |= END_HEADERS
    return b"".join(
        frame(kind, each, flag, stream)
        for kind, each, flag in zip(kinds, blocks, flags, strict=True)
    )


def repeated(*frames: bytes) -> Callable[[int], bytes]:
    """The same frames again and again."""
    unit = b"".join(frames)
    return lambda size: unit * (size // len(unit))


def on_new_streams(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Frames of one stream after the other."""
    return lambda size: b"".join(make(11 + 2 * n) for n in range(size // len(make(11))))


def blocks(block: bytes, length: int = MAX_FRAME_SIZE - 64) -> Callable[[int], bytes]:
    """Requests whose headers are these bytes, repeated up to a length."""
    return on_new_streams(lambda stream: asked(GET + block * (length // len(block)), stream))


def sends(
    data: Callable[[int], bytes],
    *,
    before: bytes = b"",
    app: type[Resource] = Held,
    **settings: int,
) -> Row:
    """A row of frames that a client sends, after some others that are not measured."""

    def row(size: int) -> Feed:
        wire = http2_server(app(), **settings).connect()
        wire.send(PREFACE + frame(FrameType.SETTINGS) + before)
        assert not wire.ended
        sent = data(size)

        def feed() -> bytes:
            for at in range(0, len(sent), SIZE):
                wire.send(sent[at : at + SIZE])
            return wire.take()

        return feed

    return row


UPLOAD = asked(POST, 1, end=False)
UPLOADS = UPLOAD + asked(POST, 3, end=False)
WINDOWS = struct.pack("!HI", 4, 0)

FRAMES: dict[str, Row] = {
    "pings": sends(repeated(frame(FrameType.PING, bytes(8)))),
    "confirmed pings": sends(repeated(frame(FrameType.PING, bytes(8), 1))),
    "empty settings": sends(repeated(frame(FrameType.SETTINGS))),
    "confirmed settings": sends(repeated(frame(FrameType.SETTINGS, b"", 1))),
    "many settings": sends(
        repeated(
            frame(FrameType.SETTINGS, b"".join(struct.pack("!HI", 256 + n, n) for n in range(2700)))
        )
    ),
    "some settings": sends(
        repeated(
            frame(FrameType.SETTINGS, b"".join(struct.pack("!HI", 256 + n, n) for n in range(32)))
        )
    ),
    "windows of all streams": sends(
        repeated(
            frame(FrameType.SETTINGS, struct.pack("!HI", 4, 1)),
            frame(FrameType.SETTINGS, struct.pack("!HI", 4, 0)),
        ),
        app=Large,
        before=frame(FrameType.SETTINGS, WINDOWS)
        + b"".join(asked(GET, 1 + 2 * each) for each in range(50)),
    ),
    "priorities": sends(repeated(frame(FrameType.PRIORITY, bytes(5), 0, 1))),
    "windows of the connection": sends(repeated(frame(FrameType.WINDOW_UPDATE, b"\0\0\0\1"))),
    "windows of an upload": sends(
        repeated(frame(FrameType.WINDOW_UPDATE, b"\0\0\0\1", 0, 1)), before=UPLOAD
    ),
    "windows of a response": sends(
        repeated(frame(FrameType.WINDOW_UPDATE, b"\0\0\0\1", 0, 1)),
        app=Large,
        before=frame(FrameType.SETTINGS, WINDOWS) + asked(GET, 1),
    ),
    "unknown frames": sends(repeated(frame(0xFA))),
    "large unknown frames": sends(repeated(frame(0xFA, bytes(MAX_FRAME_SIZE)))),
    "goaways": sends(repeated(frame(FrameType.GOAWAY, bytes(8))), before=UPLOAD),
    "resets of streams that are over": sends(
        repeated(frame(FrameType.RST_STREAM, b"\0\0\0\x08", 0, 1)), before=UPLOAD
    ),
}
"""Frames that are no part of a request."""

BODIES: dict[str, Row] = {
    "a body": sends(repeated(frame(FrameType.DATA, bytes(MAX_FRAME_SIZE), 0, 1)), before=UPLOAD),
    "a byte at a time": sends(repeated(frame(FrameType.DATA, b"x", 0, 1)), before=UPLOAD),
    "a byte of two bodies": sends(
        repeated(frame(FrameType.DATA, b"x", 0, 1), frame(FrameType.DATA, b"x", 0, 3)),
        before=UPLOADS,
    ),
    "nothing": sends(repeated(frame(FrameType.DATA, b"", 0, 1)), before=UPLOAD),
    "padding": sends(
        repeated(frame(FrameType.DATA, b"\xff" + bytes(255), PADDED, 1)), before=UPLOAD
    ),
    "no padding": sends(repeated(frame(FrameType.DATA, b"\0x", PADDED, 1)), before=UPLOAD),
    "a body of a stream that is over": sends(
        repeated(frame(FrameType.DATA, b"x", 0, 1)),
        before=UPLOAD + frame(FrameType.RST_STREAM, b"\0\0\0\x08", 0, 1),
    ),
    "a body that is too large": sends(
        repeated(frame(FrameType.DATA, b"x", 0, 1)), before=UPLOAD, max_body_size=1000
    ),
    "small bodies that are too large": sends(
        on_new_streams(
            lambda stream: (
                asked(POST, stream, end=False) + frame(FrameType.DATA, b"xx", END_STREAM, stream)
            )
        ),
        max_body_size=1,
    ),
}
"""Bodies."""

STREAMS: dict[str, Row] = {
    "opened and reset": sends(
        on_new_streams(
            lambda stream: (
                asked(GET, stream) + frame(FrameType.RST_STREAM, b"\0\0\0\x08", 0, stream)
            )
        )
    ),
    "too many": sends(on_new_streams(lambda stream: asked(GET, stream)), max_concurrent_streams=1),
    "malformed": sends(on_new_streams(lambda stream: asked(b"\x82", stream))),
    "rejected": sends(
        on_new_streams(lambda stream: asked(b"\x02\x07CONNECT\x41\x01a", stream)),
    ),
    "windows too large": sends(
        on_new_streams(
            lambda stream: (
                asked(POST, stream, end=False)
                + frame(FrameType.WINDOW_UPDATE, b"\x7f\xff\xff\xff", 0, stream)
            )
        )
    ),
    "trailers": sends(
        on_new_streams(
            lambda stream: asked(POST, stream, end=False) + asked(LATEST * 4000, stream)
        ),
        before=asked(GET + ADDED, 1),
    ),
    "heads of a stream that is over": sends(
        repeated(asked(GET, 1)), before=UPLOAD + frame(FrameType.RST_STREAM, b"\0\0\0\x08", 0, 1)
    ),
}
"""Streams that come to nothing."""

HEADERS: dict[str, Row] = {
    "references": sends(blocks(LATEST), before=asked(GET + ADDED, 1)),
    "references to a static field": sends(blocks(b"\x90")),
    "short lists of references": sends(blocks(LATEST, 110), before=asked(GET + ADDED, 1)),
    "long lists of references": sends(blocks(LATEST, 900), before=asked(GET + ADDED, 1)),
    "cookies": sends(blocks(b"\x0f\x11\x00", 2400)),
    "referenced cookies": sends(blocks(LATEST, 800), before=asked(GET + b"\x60\x00", 1)),
    "literals": sends(blocks(b"\x00\x01x\x01a")),
    "empty literals": sends(blocks(b"\x00\x01x\x00")),
    "never indexed": sends(blocks(b"\x10\x01x\x01a")),
    "indexed": sends(blocks(b"\x40\x01x\x01a")),
    "indexed and referred to": sends(blocks(b"\x40\x01x\x01a\xbe\xbe\xbe")),
    "compressed": sends(blocks(b"\x00\x82\x1c\x64\xfe" + b"\x1c" * 126)),
    "one compressed": sends(blocks(b"\x40\x01x\xff\x81\x7b" + b"\x18" * 15999 + b"\x1f")),
    "one literal": sends(blocks(b"\x40\x01x\x7f\x81\x7c" + b"a" * 16000)),
    "changes of the table": sends(on_new_streams(lambda n: asked(b"\x20" * 16000 + GET, n))),
    "the table emptied": sends(
        on_new_streams(lambda n: asked(b"\x20\x3f\xe1\x1f" + GET + b"\x40\x01x\x01a" * 90, n)),
        max_concurrent_streams=1,
    ),
    "long integers": sends(blocks(b"\xff\x80\x80\x80\x80\x00")),
    "one large block": sends(
        lambda size: asked(GET + LATEST * (size - 64), 11), before=asked(GET + ADDED, 1)
    ),
    "continuations of a byte": sends(
        lambda size: (
            frame(FrameType.HEADERS, GET, END_STREAM, 11)
            + frame(FrameType.CONTINUATION, LATEST, 0, 11) * (size // 10)
        ),
        before=asked(GET + ADDED, 1),
    ),
    "empty continuations": sends(
        lambda size: (
            frame(FrameType.HEADERS, GET, END_STREAM, 11)
            + frame(FrameType.CONTINUATION, b"", 0, 11) * (size // 9)
        )
    ),
}
"""Headers, by the fields in them; nearly all are over a limit."""


class CostTests(CostTestCase):
    """What each kind of bytes costs."""

    def test_frames(self) -> None:
        """Frames that are no part of a request."""
        self.assert_cheap(FRAMES)

    def test_bodies(self) -> None:
        """Bodies, in all kinds of frames."""
        self.assert_cheap(BODIES)

    def test_streams(self) -> None:
        """Requests that come to nothing."""
        self.assert_cheap(STREAMS)

    def test_headers(self) -> None:
        """Header blocks (HPACK)."""
        self.assert_cheap(HEADERS)
