"""RFC 9113 as tables: what is an error of the connection, and what of a stream alone."""

from __future__ import annotations

from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import RstStreamFrame, SettingsFrame, WindowUpdateFrame

from tests.unit.http2_client import LimitsTestCase, fields
from twisted_graceful.http.http2.frames import PREFACE, FrameType


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame, whatever it says."""
    length = len(payload).to_bytes(3, "big")
    return length + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


GET = Encoder().encode(fields())
"""A header, compressed without a table."""

END, WHOLE = 1, 5
"""Flags: the end of the stream; that, and the end of its header."""

ASKED = frame(FrameType.HEADERS, WHOLE, 1, GET)
BEGUN = frame(FrameType.HEADERS, 4, 1, GET)
PING = frame(FrameType.PING, 0, 0, b"whatever")
ITSELF = b"\0\0\0\1\xff"

CONNECTION_ERRORS = {
    "4.2 a frame that is too large": (
        b"\0\x40\1\0\0\0\0\0\1",
        ErrorCodes.FRAME_SIZE_ERROR,
    ),
    "4.3 a header that cannot be decompressed": (
        frame(FrameType.HEADERS, WHOLE, 1, b"\xff\xff\xff"),
        ErrorCodes.COMPRESSION_ERROR,
    ),
    "4.3 another frame in a header": (
        frame(FrameType.HEADERS, END, 1, GET) + PING,
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "5.1 DATA for an idle stream": (
        frame(FrameType.DATA, 0, 1, b"x"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "5.1 RST_STREAM for an idle stream": (
        frame(FrameType.RST_STREAM, 0, 1, bytes(4)),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "5.1 WINDOW_UPDATE for an idle stream": (
        frame(FrameType.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "5.1 CONTINUATION after a header": (
        ASKED + frame(FrameType.CONTINUATION, 4, 1, GET),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "5.1.1 an even stream": (frame(FrameType.HEADERS, WHOLE, 2, GET), ErrorCodes.PROTOCOL_ERROR),
    "5.1.1 an older stream": (
        frame(FrameType.HEADERS, WHOLE, 5, GET) + frame(FrameType.HEADERS, WHOLE, 3, GET),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "5.3.1 a stream that depends on itself": (
        frame(FrameType.PRIORITY, 0, 1, ITSELF),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.1 DATA for no stream": (frame(FrameType.DATA, 0, 0, b"x"), ErrorCodes.PROTOCOL_ERROR),
    "6.1 more padding than DATA": (
        BEGUN + frame(FrameType.DATA, 8, 1, b"\x09abc"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.2 HEADERS for no stream": (
        frame(FrameType.HEADERS, WHOLE, 0, GET),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.3 a short PRIORITY": (
        frame(FrameType.PRIORITY, 0, 1, bytes(4)),
        ErrorCodes.FRAME_SIZE_ERROR,
    ),
    "6.4 RST_STREAM for no stream": (
        frame(FrameType.RST_STREAM, 0, 0, bytes(4)),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.4 a short RST_STREAM": (
        BEGUN + frame(FrameType.RST_STREAM, 0, 1, bytes(3)),
        ErrorCodes.FRAME_SIZE_ERROR,
    ),
    "6.5 SETTINGS of a stream": (frame(FrameType.SETTINGS, 0, 1), ErrorCodes.PROTOCOL_ERROR),
    "6.5 SETTINGS of no whole number": (
        frame(FrameType.SETTINGS, 0, 0, bytes(3)),
        ErrorCodes.FRAME_SIZE_ERROR,
    ),
    "6.5.2 a client that takes half a push": (
        frame(FrameType.SETTINGS, 0, 0, b"\0\2\0\0\0\2"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.5.2 a window that is too large": (
        frame(FrameType.SETTINGS, 0, 0, b"\0\4\x80\0\0\0"),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "6.5.2 frames that are too small": (
        frame(FrameType.SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.6 PUSH_PROMISE of a client": (
        BEGUN + frame(FrameType.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + GET),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.7 PING of a stream": (frame(FrameType.PING, 0, 1, bytes(8)), ErrorCodes.PROTOCOL_ERROR),
    "6.7 a short PING": (frame(FrameType.PING, 0, 0, bytes(6)), ErrorCodes.FRAME_SIZE_ERROR),
    "6.8 GOAWAY of a stream": (frame(FrameType.GOAWAY, 0, 1, bytes(8)), ErrorCodes.PROTOCOL_ERROR),
    "6.8 a short GOAWAY": (frame(FrameType.GOAWAY, 0, 0, bytes(7)), ErrorCodes.FRAME_SIZE_ERROR),
    "6.9 a window that opens by nothing": (
        frame(FrameType.WINDOW_UPDATE, 0, 0, bytes(4)),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "6.9 a short WINDOW_UPDATE": (
        frame(FrameType.WINDOW_UPDATE, 0, 0, bytes(3)),
        ErrorCodes.FRAME_SIZE_ERROR,
    ),
    "6.9.1 a window that grows too large": (
        frame(FrameType.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "6.10 CONTINUATION of nothing": (
        frame(FrameType.CONTINUATION, 4, 1, GET),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "8.1 a second header without an end": (
        BEGUN + frame(FrameType.HEADERS, 4, 1, GET),
        ErrorCodes.PROTOCOL_ERROR,
    ),
}
"""What a client sends, by the sections of RFC 9113, and what it is told."""

STREAM_ERRORS = {
    "5.1 DATA after the end": (ASKED + frame(FrameType.DATA, 0, 1, b"x"), ErrorCodes.STREAM_CLOSED),
    "5.1 HEADERS after the end": (ASKED + ASKED, ErrorCodes.STREAM_CLOSED),
    "5.1 DATA after a reset": (
        BEGUN + frame(FrameType.RST_STREAM, 0, 1, bytes(4)) + frame(FrameType.DATA, 0, 1, b"x"),
        ErrorCodes.STREAM_CLOSED,
    ),
    "5.1 HEADERS after a reset": (
        BEGUN + frame(FrameType.RST_STREAM, 0, 1, bytes(4)) + ASKED,
        ErrorCodes.STREAM_CLOSED,
    ),
    "6.9.1 a window that grows too large": (
        BEGUN + frame(FrameType.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
}
"""The same, for what concerns one stream only."""


class BrokenTests(LimitsTestCase):
    """What is an error of the connection, and what of a stream alone."""

    def test_no_http2(self) -> None:
        """Something else than HTTP/2 ends the connection."""
        self.serve()
        wire = self.server.connect()
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(wire.ended)

    def test_no_settings(self) -> None:
        """The first frame must be SETTINGS (RFC 9113 section 3.4)."""
        self.serve()
        wire = self.server.connect()
        wire.send(PREFACE + PING)
        self.assertTrue(wire.ended)

    def test_errors_of_the_connection(self) -> None:
        """Each ends the connection, with the code that the RFC names."""
        for case, (data, code) in CONNECTION_ERRORS.items():
            with self.subTest(case=case, data=data):
                self.serve()
                self.client.follows = False
                self.client.wire.send(data)
                self.client.exchange()
                self.assertEqual([code for _, code in self.client.goaways], [code])
                self.assertTrue(self.client.wire.ended)

    def test_errors_of_streams(self) -> None:
        """Each resets its stream, with the code that the RFC names; other streams live."""
        for case, (data, code) in STREAM_ERRORS.items():
            with self.subTest(case=case, data=data):
                self.serve()
                self.client.follows = False
                self.client.wire.send(data + frame(FrameType.HEADERS, 5, 9, GET))
                self.client.exchange()
                resets = [each for each in self.client.frames if isinstance(each, RstStreamFrame)]
                self.assertEqual(
                    [(each.stream_id, each.error_code) for each in resets], [(1, code)]
                )
                self.assertEqual((self.client.goaways, self.client.wire.ended), ([], False))
                self.assertEqual(self.app.requests[-1].channel.number, 9)

    def test_others_end_with_the_connection(self) -> None:
        """Applications are told when their client breaks the protocol."""
        self.serve()
        self.ask()
        told = self.app.requests[0].notifyFinish()
        self.client.wire.send(RstStreamFrame(9, error_code=0).serialize())
        self.failureResultOf(told)

    def test_errors_of_a_stream(self) -> None:
        """What is malformed is reset; other streams live."""
        self.serve()
        pseudo = fields()
        malformed: list[list[tuple[str, str]]] = [
            pseudo[1:],
            [*pseudo, (":path", "/again")],
            [("a", "b"), *pseudo],
            [*pseudo, (":status", "200")],
            [*pseudo, (":protocol", "websocket")],
            fields(path=""),
            fields(path="no/slash"),
            fields(path="/white space"),
            fields(method="G T"),
            [*pseudo, ("Upper", "1")],
            [*pseudo, ("", "1")],
            [*pseudo, ("a b", "1")],
            [*pseudo, ("connection", "close")],
            [*pseudo, ("transfer-encoding", "chunked")],
            [*pseudo, ("upgrade", "websocket")],
            [*pseudo, ("te", "gzip")],
            [*pseudo, ("a", "b\r\nc: d")],
            [*pseudo, ("a", "b\0")],
            [*pseudo, ("a", " b")],
            [*pseudo, ("host", "elsewhere")],
            [*pseudo, ("content-length", "3")],
            [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
        ]
        for header in malformed:
            with self.subTest(header=header):
                answer = self.ask(*header)
                self.assertEqual(answer.reset, ErrorCodes.PROTOCOL_ERROR)
        self.assertEqual((self.app.requests, self.client.goaways), ([], []))
        self.assertConnectionLives()

    def test_refused(self) -> None:
        """What is understood, and not valid, is answered."""
        self.serve()
        pseudo = fields()
        no_authority = [each for each in pseudo if each[0] != ":authority"]
        for header, status in (
            (no_authority, 400),
            ([*no_authority, ("host", "a b")], 400),
            ([*no_authority, ("host", "a"), ("host", "a")], 400),
            (fields(path="*"), 400),
            (fields(expect="miracles"), 417),
            (fields("POST", content_length="three"), 400),
            ([*fields("POST"), ("content-length", "3"), ("content-length", "3")], 400),
            ([(":method", "CONNECT"), (":authority", "a:1")], 501),
        ):
            with self.subTest(header=header, status=status):
                self.assertWhole(self.ask(*header), status)
        self.assertEqual((self.app.requests, self.client.goaways), ([], []))
        self.assertConnectionLives()

    def test_accepted(self) -> None:
        """What is unusual, and valid, is not refused."""
        self.serve()
        pseudo = fields()
        no_authority = [each for each in pseudo if each[0] != ":authority"]
        for header in (
            [*no_authority, ("host", "localhost")],
            [*pseudo, ("host", "LOCALHOST")],
            [*pseudo, ("te", "trailers")],
            [*pseudo, ("empty", "")],
            [*pseudo, ("latin", "\xe9")],
            fields("OPTIONS", path="*"),
            fields("PATCH"),
        ):
            with self.subTest(header=header):
                seen = len(self.app.requests)
                answer = self.ask(*header)
                self.assertIsNone(answer.reset)
                self.assertTrue(answer.status == 200 or len(self.app.requests) == seen + 1)

    def test_wrong_length(self) -> None:
        """A body of another length than its Content-Length ends its stream alone."""
        self.serve()
        for body in (b"ab", b"abcd"):
            with self.subTest(body=body):
                answer = self.ask(*fields("POST", content_length="3"), body=body)
                self.assertEqual(answer.reset, ErrorCodes.PROTOCOL_ERROR)
        self.assertEqual(self.app.requests, [])
        self.assertConnectionLives()

    def test_trailer_with_pseudo_header_fields(self) -> None:
        """A trailer that is a header is malformed."""
        self.serve()
        number = self.client.request(*fields("POST"), body=b"abc", end=False)
        self.client.machine.send_headers(number, [(":path", "/")], end_stream=True)
        self.client.exchange()
        self.assertEqual(self.client.answers[number].reset, ErrorCodes.PROTOCOL_ERROR)
        self.assertConnectionLives()

    def test_unknown_frames(self) -> None:
        """Frames and settings that are not known are ignored (RFC 9113 section 5.5)."""
        self.serve()
        self.client.wire.send(b"\0\0\3\xfa\0\0\0\0\1abc")
        self.send(SettingsFrame(0, settings={0xFFFF: 1}))
        self.assertConnectionLives()

    def test_late_frames(self) -> None:
        """Frames of a stream that was reset, or has ended, do no harm."""
        self.serve()
        self.ask()
        self.app.requests[0].finish()
        self.client.exchange()
        self.send(WindowUpdateFrame(1, window_increment=1), RstStreamFrame(1, error_code=0))
        self.assertConnectionLives()
