"""Frames from bytes, in whatever pieces they come; and whatever they are."""

from __future__ import annotations

from itertools import pairwise

from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.http2_client import Http2Client, fields, http2_server
from tests.unit.support import examples
from tests.unit.web import Echo, timers_left
from twisted_graceful.http.http2.frames import (
    PREFACE,
    FrameReader,
    FrameType,
    Http2ConnectionError,
    TokenBucket,
)
from twisted_graceful.http.http2.frames import Frame as RawFrame

from ..case import SynchronousTestCase

SETTINGS = SettingsFrame(0)
PING = PingFrame(0, opaque_data=b"whatever")
DATA = DataFrame(1, data=bytes(100))
HEAD = HeadersFrame(3, data=b"abc")
REST = ContinuationFrame(3, data=b"def", flags=["END_HEADERS"])

known_frames = st.lists(st.sampled_from([(PING,), (DATA,), (HEAD, REST), (SETTINGS,)]), max_size=5)


def begun(*frames: Frame) -> FrameReader:
    """A reader that has read its preface and SETTINGS, and been fed some frames."""
    reader = FrameReader(1000)
    reader.feed(PREFACE + b"".join(each.serialize() for each in (SETTINGS, *frames)))
    next(reader)
    return reader


class ReaderTests(SynchronousTestCase):
    """The frames of a client."""

    @examples
    @given(known_frames, st.lists(st.integers(1, 1000), max_size=8))
    def test_any_split(self, groups: list[tuple[Frame, ...]], cuts: list[int]) -> None:
        """Any split of the same bytes gives the same frames, and none of them is lost."""
        sent = [each.serialize() for each in (SETTINGS, *(e for group in groups for e in group))]
        stream = PREFACE + b"".join(sent)
        edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
        reader = FrameReader(1000)
        found: list[RawFrame] = []
        for start, end in pairwise(edges):
            reader.feed(stream[start:end])
            found += reader
        self.assertEqual([each.data for each in found], sent)
        self.assertEqual((reader.arriving, reader.awaited), (0, None))

    def test_fields(self) -> None:
        """Type, flags and stream are told."""
        reader = begun(DataFrame(7, data=b"x", flags=["END_STREAM"]))
        frame = next(reader)
        self.assertEqual((frame.kind, frame.flags, frame.stream), (FrameType.DATA, 1, 7))

    def test_reserved_bit(self) -> None:
        """The bit before the stream means nothing (RFC 9113 section 4.1)."""
        reader = begun()
        reader.feed(b"\0\0\0\xfa\0\x80\0\0\x05")
        self.assertEqual(next(reader).stream, 5)

    def test_preface(self) -> None:
        """Another beginning is refused with its first wrong byte."""
        for data in (b"GET / HTTP/1.1\r\n", b"PRJ", PREFACE[:-1] + b"x"):
            with self.subTest(data=data):
                reader = FrameReader(1000)
                reader.feed(data)
                self.assertRaises(Http2ConnectionError, next, reader)

    def test_body_length(self) -> None:
        """Padding is not part of a body, whatever the frame says of its length."""
        for frame, length in (
            (DATA, 100),
            (DataFrame(1, data=b"x", pad_length=200, flags=["PADDED"]), 1),
            (DataFrame(1, data=b"", pad_length=0, flags=["PADDED"]), 0),
            (DataFrame(1), 0),
        ):
            with self.subTest(frame=frame, length=length):
                self.assertEqual(next(begun(frame)).body_length, length)

    def test_joined(self) -> None:
        """The DATA frames of one body that arrived together are one frame, up to the last one."""
        crumbs = [DataFrame(1, data=bytes([n])) for n in range(100)]
        last = DataFrame(1, data=b"end", flags=["END_STREAM"])
        reader = begun(*crumbs, last, PING)
        frame = reader.joined(next(reader))
        expected = DataFrame(1, data=bytes(range(100)) + b"end", flags=["END_STREAM"])
        self.assertEqual(frame.data, expected.serialize())
        self.assertTrue(frame.ends_stream)
        self.assertEqual(next(reader).kind, FrameType.PING)
        self.assertEqual(reader.arriving, 0)

    def test_not_joined(self) -> None:
        """Frames stay apart that are not of one kind, or empty, or together too large."""
        for other in (
            DataFrame(3, data=b"x"),
            DataFrame(1, data=b"x", pad_length=1, flags=["PADDED"]),
            DataFrame(1),
            DataFrame(1, data=bytes(16384)),
            PING,
        ):
            with self.subTest(other=other):
                reader = begun(DATA, other)
                self.assertEqual(reader.joined(next(reader)).data, DATA.serialize())
                self.assertEqual(next(reader).data, other.serialize())
        reader = begun(DATA, DATA)
        reader._buffer = reader._buffer[:-1]
        self.assertEqual(reader.joined(next(reader)).data, DATA.serialize())

    def test_awaited(self) -> None:
        """Where an unfinished header began is known as long as it is not finished."""
        reader = begun()
        start = len(PREFACE + SETTINGS.serialize())
        reader.feed(HEAD.serialize()[:5])
        self.assertRaises(StopIteration, next, reader)
        self.assertEqual(reader.awaited, start)
        reader.feed(HEAD.serialize()[5:])
        next(reader)
        self.assertEqual(reader.awaited, start)
        reader.feed(REST.serialize() + PING.serialize()[:1])
        next(reader)
        self.assertEqual(reader.awaited, start + len(HEAD.serialize() + REST.serialize()))

    def test_data_may_take_its_time(self) -> None:
        """For DATA nobody waits here; how much of it has come is told."""
        reader = begun()
        reader.feed(DATA.serialize()[:50])
        self.assertRaises(StopIteration, next, reader)
        self.assertEqual((reader.awaited, reader.arriving, reader.arrives_data), (None, 50, True))

    def test_large_block(self) -> None:
        """A header over the limit is refused before it has come."""
        reader = begun(HeadersFrame(1, data=bytes(600)))
        next(reader)
        reader.feed(ContinuationFrame(1, data=bytes(600)).serialize()[:9])
        with self.assertRaises(Http2ConnectionError) as caught:
            next(reader)
        self.assertEqual(caught.exception.code, ErrorCodes.ENHANCE_YOUR_CALM)


class AllowanceTests(SynchronousTestCase):
    """What a client may do, but not for ever."""

    def test_burst(self) -> None:
        """So much can be spent at once, and no more."""
        allowance = TokenBucket(0, 3, 1)
        self.assertEqual([allowance.spend(0) for _ in range(4)], [True, True, True, False])

    def test_comes_back(self) -> None:
        """It grows again with time, up to a burst."""
        allowance = TokenBucket(0, 2, 0.5)
        spent = [allowance.spend(now) for now in (0, 0, 2, 2, 100, 100, 100)]
        self.assertEqual(spent, [True, True, True, False, True, True, False])

    def test_earned(self) -> None:
        """More can be earned, up to a burst."""
        allowance = TokenBucket(0, 2, 0)
        allowance.earn(10)
        self.assertEqual([allowance.spend(0) for _ in range(3)], [True, True, False])


@st.composite
def nonsense(draw: st.DrawFn) -> bytes:
    """A frame whose payload means something, or not."""
    kind = draw(st.integers(0, 10))
    payload = draw(st.one_of(st.binary(max_size=40), st.just(b""), st.just(bytes(4))))
    stream = draw(st.sampled_from([0, 1, 2, 3, 5]))
    flags = draw(st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]))
    length = len(payload).to_bytes(3, "big")
    return length + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


HEADS = [
    Encoder().encode(header)
    for header in (
        fields(),
        fields("HEAD"),
        fields("POST", content_length="5"),
        fields("POST", expect="100-continue"),
        [(":method", "GET")],
        [("a", "trailer")],
    )
]


@st.composite
def plausible(draw: st.DrawFn) -> bytes:
    """Frames that make sense one by one, of streams that are opened in order."""
    opened = 0
    sent: list[Frame] = []
    for kind in draw(st.lists(st.sampled_from("HHHDDDRWWSPGT"), max_size=25)):
        end = ["END_STREAM"] if draw(st.booleans()) else []
        stream = max(1, 2 * opened - 1 - 2 * draw(st.integers(0, 2)))
        window = draw(st.sampled_from([1, 100, 65535, 2**31 - 1]))
        if kind == "H" or not opened:
            opened += 1
            head = draw(st.sampled_from(HEADS))
            sent.append(HeadersFrame(2 * opened - 1, head, flags=["END_HEADERS", *end]))
        elif kind == "D":
            data = draw(st.sampled_from([b"", b"hello", bytes(2000)]))
            sent.append(DataFrame(stream, data, flags=end))
        elif kind == "R":
            sent.append(RstStreamFrame(stream, 8))
        elif kind == "W":
            sent.append(WindowUpdateFrame(draw(st.sampled_from([0, stream])), window))
        elif kind == "S":
            sent.append(SettingsFrame(0, {4: draw(st.sampled_from([0, 1, 70_000])), 1: window}))
        elif kind == "P":
            sent.append(PingFrame(0, b"farewell", flags=["ACK"]))
        elif kind == "G":
            sent.append(GoAwayFrame(0))
        else:
            sent.append(HeadersFrame(stream, HEADS[-1], flags=["END_HEADERS", "END_STREAM"]))
    return b"".join(each.serialize() for each in sent)


class NonsenseTests(SynchronousTestCase):
    """Frames that no sane client sends, or not in this order."""

    def assertHolds(self, data: bytes, *, hold: bool, drain: bool) -> None:
        """Nothing fails, nothing is left, and a connection that ends is told why."""
        app = Echo(hold=hold)
        server = http2_server(app)
        client = Http2Client(server)
        client.exchange()
        client.follows = False
        if drain:
            server.drain()
            server.advance(1)
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            client.wire.send(part)
            for request in app.held[::2]:
                request.write(bytes(100_000))
            server.advance(1)
        client.exchange()
        codes = [code for _, code in client.goaways if code]
        self.assertTrue(client.wire.ended or not codes)
        self.assertTrue(client.goaways or not client.wire.ended)
        client.wire.abort()
        self.assertEqual(len(server.connections), 0)
        server.connections.resume()
        self.assertEqual(timers_left(server), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @examples
    @given(st.lists(nonsense(), max_size=12), st.booleans())
    def test_nonsense(self, frames: list[bytes], drain: bool) -> None:
        """Frames of any content, in any order."""
        self.assertHolds(b"".join(frames), hold=False, drain=drain)

    @examples
    @given(plausible(), st.booleans(), st.booleans())
    def test_plausible(self, data: bytes, hold: bool, drain: bool) -> None:
        """Frames of sane content, in any order."""
        self.assertHolds(data, hold=hold, drain=drain)

    @examples
    @given(st.binary(max_size=60))
    def test_any_block(self, block: bytes) -> None:
        """Whatever a header is compressed to, it is a request, none, or no compression."""
        server = http2_server(Echo())
        client = Http2Client(server)
        client.exchange()
        client.follows = False
        flags = ["END_HEADERS", "END_STREAM"]
        client.wire.send(HeadersFrame(1, data=block, flags=flags).serialize())
        client.exchange()
        codes = {code for _, code in client.goaways}
        self.assertLessEqual(codes, {ErrorCodes.COMPRESSION_ERROR, ErrorCodes.PROTOCOL_ERROR})
        self.assertEqual(self.flushLoggedErrors(), [])
