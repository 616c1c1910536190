"""What applications answer: no mistake of theirs makes an answer that can be read in two ways.

The sections are those of RFC 9112 where no other is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.unit.http2_client import Http2Client, http2_server
from tests.unit.web import Echo
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request

from ..case import SynchronousTestCase

GET = format_request("GET", "/")
HEAD = format_request("HEAD", "/")
OLD = b"GET / HTTP/1.0\r\n\r\n"
AFTER = format_request("GET", "/after")
EVIL = b"a\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK\r\n"

Answer = Callable[[Request], Any]


class First(Resource):
    """The first request is answered as a test says, the others with what was asked for."""

    isLeaf = True

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer: Answer | None = answer

    def render(self, request: Request) -> Any:
        """Answer."""
        answer, self._answer = self._answer, None
        return Echo().render(request) if answer is None else answer(request)


def written(*parts: bytes, code: int = 200, **headers: str) -> Answer:
    """An answer that is written in parts, with these fields."""

    def answer(request: Request) -> int:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        for part in parts:
            request.write(part)
        request.finish()
        return int(NOT_DONE_YET)

    return answer


def returned(body: bytes, code: int = 200, **headers: str) -> Answer:
    """An answer that is returned whole, with these fields."""

    def answer(request: Request) -> bytes:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        return body

    return answer


class ResponseTestCase(SynchronousTestCase):
    """What the tests of this module share."""

    def serve(self, answer: Answer, *requests: bytes) -> tuple[bytes, bool]:
        """What the client reads, and whether its connection has ended."""
        client = MemoryServer(First(answer)).connect()
        for request in requests:
            client.send(request)
        return client.received, client.ended

    def assertLines(self, answer: Answer, count: int) -> None:
        """The head of an answer has so many lines, and the next request is answered."""
        received, _ = self.serve(answer, GET, AFTER)
        head, _, rest = received.partition(b"\r\n\r\n")
        self.assertEqual(len(head.split(b"\r\n")), count, head)
        self.assertEqual((head.count(b"\r"), head.count(b"\n")), (count - 1, count - 1))
        self.assertEqual(rest.count(b"HTTP/1.1 "), 1)
        self.assertTrue(rest.endswith(b"\r\n\r\nGET /after "))


class UnsendableTests(ResponseTestCase):
    """A response that cannot be sent becomes a logged 500, and the connection continues."""

    def test_heads(self) -> None:
        """Heads with control characters, values that are not bytes, or invalid statuses."""

        def field(name: bytes, value: Any) -> Answer:
            def answer(request: Any) -> bytes:
                request.responseHeaders._rawHeaders[name] = [value]
                return b"body"

            return answer

        def attribute(name: str, value: Any) -> Answer:
            def answer(request: Any) -> bytes:
                setattr(request, name, value)
                return b"body"

            return answer

        rows: dict[str, Answer] = {
            "NUL": returned(b"body", X="a\0b"),
            "written": written(b"body", b"more", X="a\x7fb"),
            "later": written(b"", b"more", X="a\0b", Content_Length="4"),
            "escape": returned(b"body", X="a\x1bb"),
            "a line": field(b"X", b"a\r\nY: b"),
            "text": field(b"X", "a"),
            "cookie": lambda request: request.cookies.append(b"a=\0") or b"body",
            "reason": attribute("code_message", b"OK\r\nX: y"),
            "code": attribute("code", "200"),
            "no code": attribute("code", None),
            "a code": attribute("code", 700),
            "101": returned(b"body", 101),
            "600": returned(b"body", 600),
            "1000": returned(b"body", 1000),
            "0": returned(b"body", 0),
            "102": returned(b"body", 102),
            "text for a code": returned(b"body", "200"),  # type: ignore[arg-type]
        }
        for name, answer in rows.items():
            for first in (GET, HEAD):
                with self.subTest(name=name, answer=answer):
                    before = len(self.logged)
                    received, ended = self.serve(answer, first, AFTER)
                    self.assertTrue(received.startswith(b"HTTP/1.1 500 Internal Server Error\r\n"))
                    self.assertEqual(received.count(b"HTTP/1.1 "), 2, (name, received))
                    self.assertTrue(received.endswith(b"\r\n\r\nGET /after "), (name, received))
                    self.assertFalse(ended)
                    self.assertIn("500", self.logged[before])

    def test_names(self) -> None:
        """A name that is not a token is an error where it is set."""
        for name in ("X\0", b"X\0", "X Y", b"X Y", b"X:", b""):
            with self.subTest(name=name):
                received, _ = self.serve(
                    lambda request, name=name: request.setHeader(name, b"a") or b"body",  # type: ignore[misc]
                    GET,
                    AFTER,
                )
                self.assertTrue(received.startswith(b"HTTP/1.1 500 "))
                self.assertTrue(received.endswith(b"\r\n\r\nGET /after "))
                self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_http2(self) -> None:
        """So it is in HTTP/2."""
        for answer in (returned(b"body", X="a\0b"), returned(b"body", 101)):
            with self.subTest(answer=answer):
                client = Http2Client(http2_server(First(answer)))
                after = client.get().status, client.get("/after").body
                self.assertEqual(after, (500, b"GET /after "))

    def test_sendable(self) -> None:
        """Tabs, and bytes that are not ASCII, are sent as they are."""
        received, _ = self.serve(returned(b"", X="a\t\xe9"), GET)
        self.assertIn(b"X: a\t\xc3\xa9\r\n", received)

    def setUp(self) -> None:
        """Collect what is logged."""
        self.logged: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_level") is not None and event["log_level"].name == "error":
                self.logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)


class SplittingTests(ResponseTestCase):
    """Nothing that an application passes on becomes a line of its own (section 2.2)."""

    def setUp(self) -> None:
        """Count the lines of an answer."""
        received, _ = self.serve(returned(b""), GET)
        self.lines = received.count(b"\r\n") - 1

    def test_reason(self) -> None:
        """A reason phrase is one line, and text."""

        def answer(request: Request) -> bytes:
            request.setResponseCode(200, EVIL + b"\0\x7f")
            return b""

        self.assertLines(answer, self.lines)

    def test_values(self) -> None:
        """The value of a field, of a cookie, of ETag and of Location is one line."""

        def cookie(request: Request) -> None:
            request.cookies.append(b"a=" + EVIL)

        calls: tuple[Callable[[Any], object], ...] = (
            lambda request: request.setHeader(b"X", EVIL),
            lambda request: request.responseHeaders.addRawHeader(b"X", EVIL),
            lambda request: request.addCookie(EVIL, EVIL, path=EVIL),
            cookie,
            lambda request: request.setETag(EVIL),
            lambda request: request.redirect(EVIL),
        )
        for call in calls:
            with self.subTest(call=call):

                def answer(request: Request, call: Callable[[Any], object] = call) -> bytes:
                    call(request)
                    return b""

                self.assertLines(answer, self.lines + 1)

    def test_names(self) -> None:
        """A field has a name of one line, or is an error of the application."""
        received, _ = self.serve(lambda request: request.setHeader(b"X\r\nY", b"1") or b"", GET)
        self.assertNotIn(b"\nY", received)
        self.assertNotIn(b"\ny", received)
        self.flushLoggedErrors()


class BodilessTests(ResponseTestCase):
    """Answers that have no body, whatever the application says (section 6.3)."""

    def test_no_content(self) -> None:
        """204 and 304 have no body, and no field that says how long it were."""
        for code in (204, 304):
            for answer in (
                returned(b"", code),
                returned(b"body", code),
                written(b"bo", b"dy", code=code),
                written(b"body", code=code, Content_Length="4", Transfer_Encoding="chunked"),
            ):
                with self.subTest(code=code, answer=answer):
                    received, ended = self.serve(answer, GET, AFTER)
                    head, _, rest = received.partition(b"\r\n\r\n")
                    self.assertTrue(head.startswith(b"HTTP/1.1 %d " % code))
                    self.assertNotIn(b"Content-Length", head)
                    self.assertNotIn(b"Transfer-Encoding", head)
                    self.assertTrue(rest.startswith(b"HTTP/1.1 200 "), received)
                    self.assertFalse(ended)

    def test_head(self) -> None:
        """The answer to HEAD has the length of what it leaves out."""
        for answer in (returned(b"body"), written(b"bo", b"dy", Content_Length="4")):
            with self.subTest(answer=answer):
                received, ended = self.serve(answer, HEAD, AFTER)
                head, _, rest = received.partition(b"\r\n\r\n")
                self.assertIn(b"Content-Length: 4", head)
                self.assertTrue(rest.startswith(b"HTTP/1.1 200 "), received)
                self.assertFalse(ended)

    def test_interim(self) -> None:
        """A final answer has no interim status, after which a client would wait for another."""
        for code in (100, 103, 199):
            with self.subTest(code=code):
                received, _ = self.serve(written(b"body", code=code), GET)
                self.assertTrue(received.startswith(b"HTTP/1.1 500 "), received)


class LengthTests(ResponseTestCase):
    """An answer is as long as it says (section 6.3 and RFC 9110 section 8.6)."""

    def body(self, answer: Answer, request: bytes = GET) -> tuple[bytes, bool]:
        """What comes after the head, and whether the connection has ended."""
        received, ended = self.serve(answer, request)
        return received.partition(b"\r\n\r\n")[2], ended

    def test_right(self) -> None:
        """One that is stays, and so does the connection."""
        for answer in (written(b"bo", b"dy", Content_Length="4"), returned(b"body")):
            with self.subTest(answer=answer):
                self.assertEqual(self.body(answer), (b"body", False))

    def test_too_short(self) -> None:
        """Of one that is shorter the client learns by the end of the connection."""
        for parts in ((b"bo",), (b"b", b"o"), ()):
            for request in (GET, OLD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")):
                with self.subTest(parts=parts, request=request):
                    body, ended = self.body(written(*parts, Content_Length="4"), request)
                    self.assertEqual((body, ended), (b"".join(parts), True))

    def test_too_long(self) -> None:
        """What goes beyond the length is not sent: it would be the begin of the next answer."""
        for parts in ((b"body!",), (b"bo", b"dy!"), (b"body", b"!"), (b"body", b"!", b"!")):
            with self.subTest(parts=parts):
                received, _ = self.serve(written(*parts, Content_Length="4"), GET, AFTER)
                rest = received.partition(b"\r\n\r\n")[2]
                self.assertTrue(rest.startswith(b"bodyHTTP/1.1 200 "), received)
                self.assertNotIn(b"!", rest)

    def test_said_in_the_log(self) -> None:
        """The log names the request, and both lengths."""
        for parts, count in (((b"bo",), 2), ((b"body!",), 5)):
            with self.subTest(parts=parts, count=count):
                events = self.logged(written(*parts, Content_Length="4"))
                self.assertEqual(
                    events, [f"The answer to GET / has {count} bytes and not 4, as it says"]
                )

    def logged(self, answer: Answer) -> list[str]:
        """What the log says of an answer."""
        events: list[str] = []

        def observe(event: Any) -> None:
            if "bytes and not" in str(event.get("log_format")):
                events.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.serve(answer, GET)
        return events

    def test_no_length(self) -> None:
        """What is no length, or two, is not sent: the answer is as if there were none."""
        for length in ("x", "-1", "+4", "4, 4", "9" * 5000):
            for request, body in ((GET, b"4\r\nbody\r\n0\r\n\r\n"), (OLD, b"body")):
                with self.subTest(length=length, request=request):
                    received, ended = self.serve(written(b"body", Content_Length=length), request)
                    head, _, rest = received.partition(b"\r\n\r\n")
                    self.assertNotIn(b"Content-Length", head)
                    self.assertEqual((rest, ended), (body, request is OLD))

    def test_two_framings(self) -> None:
        """With a length there is no transfer coding, and to HTTP/1.0 there is none at all."""
        for request in (GET, OLD):
            with self.subTest(request=request):
                received, _ = self.serve(
                    written(b"body", Content_Length="4", Transfer_Encoding="chunked"), request
                )
                self.assertNotIn(b"Transfer-Encoding", received)
                self.assertTrue(received.endswith(b"\r\n\r\nbody"))
        received, _ = self.serve(written(b"body", Transfer_Encoding="chunked"), OLD)
        self.assertNotIn(b"Transfer-Encoding", received)
        received, _ = self.serve(written(b"body", Transfer_Encoding="chunked"), GET)
        self.assertEqual(received.count(b"Transfer-Encoding: chunked\r\n"), 1)
        self.assertTrue(received.endswith(b"4\r\nbody\r\n0\r\n\r\n"))
