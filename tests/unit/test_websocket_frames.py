"""The frames of WebSockets, from bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from twisted_graceful.http.websocket.frames import (
    CLOSE,
    FRAGMENTS_PER_MESSAGE,
    PING,
    PONG,
    CloseCode,
    FrameTracker,
    close_frame,
    control_frame,
)

from ..case import SynchronousTestCase
from .support import examples
from .websockets import BINARY, TEXT, announced, frame


class FrameTests(SynchronousTestCase):
    """What is passed on, and what is not."""

    def follow(
        self, *chunks: bytes, limit: int = 0, swallowed: bytes | None = None
    ) -> FrameTracker:
        """Follow chunks; what was passed on is in `passed`."""
        frames = FrameTracker(limit, swallowed)
        self.passed = [frames.follow(chunk) for chunk in chunks]
        return frames

    def test_whole_frames(self) -> None:
        """Whole frames are passed on as they are, without a copy."""
        data = frame(TEXT, b"a" * 200) + frame(PING, b"b") + frame(BINARY, b"c" * 70_000)
        frames = self.follow(data)
        self.assertIs(self.passed[0], data)
        self.assertTrue(frames.is_between_frames)

    def test_within_a_payload(self) -> None:
        """A payload is passed on as it comes, and is followed to its end."""
        data = frame(BINARY, b"x" * 1000)
        frames = self.follow(data[:500])
        self.assertEqual(self.passed, [data[:500]])
        self.assertFalse(frames.is_between_frames)
        self.assertEqual(frames.follow(data[500:]), data[500:])
        self.assertTrue(frames.is_between_frames)

    def test_half_a_header(self) -> None:
        """A begun header waits for its rest, so that a frame may be put before it."""
        data = frame(BINARY, b"x" * 70_000)
        for cut in range(1, 14):
            with self.subTest(cut=cut):
                frames = self.follow(data[:cut], data[cut:])
                self.assertEqual(self.passed, [b"", data])
                self.assertTrue(frames.is_between_frames)

    def test_half_a_control_frame(self) -> None:
        """So does a control frame, while what was before it is passed on."""
        first, second = frame(TEXT, b"a"), frame(PING, b"abcdef")
        self.follow(first + second[:9], second[9:])
        self.assertEqual(self.passed, [first, second])

    def test_nothing_after_close(self) -> None:
        """What follows a Close frame is not passed on, at once or later."""
        closing = frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe8")
        frames = self.follow(closing + frame(TEXT, b"b"), frame(TEXT, b"c"))
        self.assertEqual(self.passed, [closing, b""])
        self.assertTrue(frames.closed)

    def test_our_pong(self) -> None:
        """The pong to a ping of ours is not passed on, those to others are."""
        before, after = frame(TEXT, b"a"), frame(PONG, b"their") + frame(TEXT, b"b")
        self.follow(before + frame(PONG, b"ours!") + after, swallowed=b"ours!")
        self.assertEqual(self.passed, [before + after])

    def test_our_pong_unmasked(self) -> None:
        """An unmasked one is read as it is."""
        self.follow(frame(PONG, b"ours!", masked=False), swallowed=b"ours!")
        self.assertEqual(self.passed, [b""])


class LimitTests(SynchronousTestCase):
    """Messages and control frames that are too long."""

    def rejection(self, data: bytes, limit: int = 1000) -> tuple[CloseCode | None, int]:
        """With which code these bytes are refused, and how many of them are passed on."""
        frames = FrameTracker(limit)
        passed = frames.follow(data)
        return frames.rejection and frames.rejection[0], len(passed)

    def test_message(self) -> None:
        """A message may be as large as the limit, and not larger."""
        largest = frame(BINARY, b"x" * 1000)
        self.assertEqual(self.rejection(largest * 3), (None, 3 * len(largest)))
        self.assertEqual(self.rejection(frame(TEXT, b"x" * 1001)), (CloseCode.MESSAGE_TOO_BIG, 0))

    def test_announced(self) -> None:
        """The announced length counts, before anything of it has come."""
        self.assertEqual(self.rejection(announced(BINARY, 1001)), (CloseCode.MESSAGE_TOO_BIG, 0))
        self.assertEqual(
            self.rejection(announced(BINARY, (1 << 64) - 1)), (CloseCode.MESSAGE_TOO_BIG, 0)
        )

    def test_fragments(self) -> None:
        """The fragments of a message count together, control frames between them do not."""
        first = frame(TEXT, b"x" * 600, final=False) + frame(PING, b"y" * 125)
        self.assertEqual(self.rejection(first + frame(0, b"x" * 400)), (None, len(first) + 408))
        self.assertEqual(
            self.rejection(first + frame(0, b"x" * 401)), (CloseCode.MESSAGE_TOO_BIG, len(first))
        )

    def test_next_message(self) -> None:
        """After the last fragment the count begins anew."""
        message = frame(TEXT, b"x" * 900, final=False) + frame(0, b"x" * 100)
        self.assertEqual(self.rejection(message * 2), (None, 2 * len(message)))

    def test_new_message_within_one(self) -> None:
        """A message that is begun within another one, which is an error, gives no more room."""
        data = frame(TEXT, b"x" * 600, final=False) + frame(TEXT, b"x" * 600, final=False)
        self.assertEqual(self.rejection(data)[0], CloseCode.MESSAGE_TOO_BIG)

    def test_what_came_before(self) -> None:
        """What came before is passed on, nothing comes after."""
        before = frame(TEXT, b"a")
        frames = FrameTracker(1000)
        self.assertEqual(frames.follow(before + announced(TEXT, 1001)), before)
        self.assertEqual(frames.follow(before), b"")

    def test_number_of_fragments(self) -> None:
        """A message may have so many fragments, even empty ones, and not more."""
        first, more = frame(TEXT, final=False), frame(0, final=False)
        allowed = first + more * (FRAGMENTS_PER_MESSAGE - 1)
        self.assertEqual(self.rejection(allowed), (None, len(allowed)))
        self.assertEqual(self.rejection(allowed + more), (CloseCode.MESSAGE_TOO_BIG, len(allowed)))

    def test_number_of_fragments_of_a_large_message(self) -> None:
        """With a large limit there may be one for each KiB of it."""
        data = frame(BINARY, final=False) + frame(0, final=False) * (2 * FRAGMENTS_PER_MESSAGE)
        self.assertEqual(self.rejection(data, 3 << 20), (None, len(data)))

    def test_no_limit(self) -> None:
        """Without a limit a message may have any size, and any number of fragments."""
        data = frame(0, final=False) * (2 * FRAGMENTS_PER_MESSAGE) + announced(0, 1 << 40)
        self.assertEqual(self.rejection(data, 0), (None, len(data)))

    def test_control_frame(self) -> None:
        """A control frame may carry 125 bytes (section 5.5)."""
        self.assertEqual(self.rejection(frame(PING, b"x" * 125)), (None, 131))
        for opcode in (CLOSE, PING, PONG, 0xF):
            with self.subTest(opcode=opcode):
                self.assertEqual(
                    self.rejection(frame(opcode, b"x" * 126)), (CloseCode.PROTOCOL_ERROR, 0)
                )


class OwnFrameTests(SynchronousTestCase):
    """The frames that the server puts in."""

    def test_another_library_reads_them(self) -> None:
        """A client reads the same as was written."""
        client = FrameProtocol(client=True, extensions=[])
        client.receive_bytes(
            control_frame(PING, b"x" * 125)
            + control_frame(PONG)
            + close_frame(CloseCode.GOING_AWAY, "restart")
        )
        read = [(each.opcode, each.payload) for each in client.received_frames()]
        self.assertEqual(
            read,
            [(Opcode.PING, b"x" * 125), (Opcode.PONG, b""), (Opcode.CLOSE, (1001, "restart"))],
        )


frames_of_a_client = st.lists(
    st.builds(
        frame,
        st.sampled_from([0, TEXT, BINARY, 0x3, CLOSE, PING, PONG, 0xF]),
        st.one_of(
            st.binary(max_size=10),
            st.just(b"ours!"),
            st.sampled_from([125, 126, 600, 66_000]).map(bytes),
        ),
        final=st.booleans(),
        masked=st.booleans(),
    ),
    max_size=12,
)


@st.composite
def split(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Bytes, whole and in chunks: frames, with some nonsense now and then."""
    data = b"".join(draw(frames_of_a_client)) + draw(st.binary(max_size=4))
    where = st.one_of(st.integers(0, min(len(data), 40)), st.integers(0, len(data)))
    cuts = sorted(draw(st.lists(where, max_size=8)))
    return data, [data[a:b] for a, b in pairwise([0, *cuts, len(data)])]


class SplitTests(SynchronousTestCase):
    """Bytes come in any pieces."""

    @given(split())
    @examples
    def test_any_split(self, stream: tuple[bytes, list[bytes]]) -> None:
        """However the bytes are split, the same of them is passed on, with the same verdict."""
        data, chunks = stream
        whole, parts = FrameTracker(1000, b"ours!"), FrameTracker(1000, b"ours!")
        self.assertEqual(b"".join(map(parts.follow, chunks)), whole.follow(data))
        for each in ("closed", "rejection", "is_between_frames"):
            self.assertEqual(getattr(parts, each), getattr(whole, each), each)

    @given(st.binary(max_size=200))
    @examples
    def test_nonsense(self, data: bytes) -> None:
        """Whatever comes, byte by byte, nothing raises, and nothing is made up."""
        frames = FrameTracker(1000)
        passed = b"".join(frames.follow(data[i : i + 1]) for i in range(len(data)))
        self.assertTrue(data.startswith(passed))

    @given(frames_of_a_client)
    @examples
    def test_every_frame(self, sent: list[bytes]) -> None:
        """All frames are passed on, up to a Close frame, or to a control frame that is too long."""
        expected = b""
        for each in sent:
            opcode, length = each[0] & 0xF, each[1] & 0x7F
            if opcode >= CLOSE and length > 125:
                break
            expected += each
            if opcode == CLOSE:
                break
        self.assertEqual(FrameTracker().follow(b"".join(sent)), expected)
