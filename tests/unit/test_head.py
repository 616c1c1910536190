"""Heads and bodies of requests, from bytes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.web.resource import Resource
from twisted.web.server import Request

from twisted_graceful.config.settings import Settings
from twisted_graceful.http.head import Head, HeadParser, RequestRejected, find
from twisted_graceful.http.http1.body import Body, ChunkedBody, SizedBody
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .support import examples

SETTINGS = Settings()


def head(request_line: str, *fields: str) -> Head:
    """A head, read."""
    text = "\r\n".join([request_line, *fields, "", ""])
    read = HeadParser(SETTINGS).parse(text.encode("latin-1"))
    assert read is not None
    return read


class HeadTests(SynchronousTestCase):
    """What a head says. `test_rfc9112` has the table of what is refused, and with what status."""

    def test_plain(self) -> None:
        """Method, target, version and fields are what was sent; names are in Twisted's spelling."""
        read = head("GET /a?b HTTP/1.1", "host: x", "X-TWO:1", "x-two: \t2 ")
        self.assertEqual((read.method, read.target, read.version), (b"GET", b"/a?b", b"HTTP/1.1"))
        self.assertEqual(read.headers, {b"Host": [b"x"], b"X-Two": [b"1", b"2"]})
        self.assertEqual((read.length, read.persistent, read.expects_continue), (0, True, False))

    def test_websocket(self) -> None:
        """An opening handshake is one by its Connection and by its Upgrade (RFC 6455 4.2.1)."""
        for expected, *fields in (
            (True, "Connection: Upgrade", "Upgrade: websocket"),
            (True, "Connection: keep-alive, UPGRADE", "Upgrade: h2c, WebSocket"),
            (False, "Connection: Upgrade", "Upgrade: h2c"),
            (False, "Connection: Upgrade"),
            (False, "Upgrade: websocket"),
            (False, "Connection: close", "Upgrade: websocket"),
        ):
            with self.subTest(expected=expected, fields=fields):
                read = head("GET / HTTP/1.1", "Host: x", *fields)
                self.assertEqual(read.websocket, expected)

    def test_connection_options(self) -> None:
        """`close` counts in any line and any place; HTTP/1.0 is closed in any case."""
        for persistent, version, *lines in (
            (True, "1", "Connection: keep-alive"),
            (False, "1", "Connection: TE, Close"),
            (False, "1", "Connection: keep-alive", "Connection: close"),
            (True, "1", "Connection: closed"),
            (False, "0", "Connection: keep-alive"),
            (False, "0"),
        ):
            with self.subTest(persistent=persistent, version=version):
                read = head(f"GET / HTTP/1.{version}", "Host: x", *lines)
                self.assertEqual(read.persistent, persistent, lines)

    def test_absolute_form(self) -> None:
        """The authority of an absolute target replaces the Host field (RFC 9112 section 3.2.2)."""
        for target, path in (
            ("http://y:1/a?b", b"/a?b"),
            ("HTTPS://y:1", b"/"),
            ("http://y:1?b", b"/?b"),
        ):
            with self.subTest(target=target, path=path):
                read = head(f"GET {target} HTTP/1.1", "Host: x")
                self.assertEqual((read.target, read.headers[b"Host"]), (path, [b"y:1"]))

    def test_absolute_form_hides_nothing(self) -> None:
        """Beside the absolute form the Host field must be as valid, and so must the authority."""
        for target, *fields in (
            ("http://y/", "Host: a b"),
            ("http://y/", "Host: a@b"),
            ("http://y/", "Host:"),
            ("http://y/", "Host: a", "Host: a"),
            ("http://y/",),
            ("http://y:65536/", "Host: a"),
            ("http://y:x/", "Host: a"),
            ("http://a@y/", "Host: a"),
            ("http://:80/", "Host: a"),
            ("http:///", "Host: a"),
            ("http://[::1/", "Host: a"),
            ("y:80", "Host: y:80"),
        ):
            with self.subTest(target=target, fields=fields):
                with self.assertRaises(RequestRejected) as caught:
                    head(f"GET {target} HTTP/1.1", *fields)
                self.assertEqual(caught.exception.status, 400)
        self.assertEqual(head("GET http://y/ HTTP/1.0").headers[b"Host"], [b"y"])

    def test_upgrade(self) -> None:
        """Upgrade counts only in HTTP/1.1 with its Connection option; otherwise it is hidden."""
        for version, connection, upgrade, is_seen, is_websocket in (
            ("1.1", "Upgrade", "websocket", True, True),
            ("1.1", "keep-alive, upgrade", "h2c, WebSocket", True, True),
            ("1.1", "upgrade", "h2c", True, False),
            ("1.1", "keep-alive", "websocket", False, False),
            ("1.1", "upgrades", "websocket", False, False),
            ("1.0", "Upgrade", "websocket", False, False),
            ("1.0", "keep-alive, Upgrade", "websocket", False, False),
        ):
            for more in ("X: 1", "X: 2"):
                with self.subTest(version=version, connection=connection):
                    read = head(
                        f"GET / HTTP/{version}",
                        "Host: a",
                        f"Connection: {connection}",
                        f"Upgrade: {upgrade}",
                        more,
                    )
                    self.assertEqual(b"Upgrade" in read.headers, is_seen)
                    self.assertEqual(read.websocket, is_websocket)
        self.assertNotIn(b"Upgrade", head("GET / HTTP/1.1", "Host: a", "Upgrade: x").headers)

    def test_ends_of_lines_in_handshakes(self) -> None:
        """WebSocket handshakes with line ends of `str.splitlines` are rejected."""
        fields = "Host: a", "Connection: upgrade", "Upgrade: websocket"
        for text, is_refused in (
            ("\x85", True),
            ("\N{LINE SEPARATOR}".encode().decode("latin-1"), True),
            ("\N{PARAGRAPH SEPARATOR}".encode().decode("latin-1"), True),
            ("\xe9", False),
        ):
            with self.subTest(text=text, is_refused=is_refused):
                lines = *fields, f"X: a{text}Origin: b"
                head("GET / HTTP/1.1", "Host: a", lines[-1])
                if is_refused:
                    with self.assertRaises(RequestRejected):
                        head("GET / HTTP/1.1", *lines)
                else:
                    head("GET / HTTP/1.1", *lines)

    def test_limits_do_not_depend_on_the_split(self) -> None:
        """What is just within the limits is read, however it arrives; one byte more is refused."""
        settings = Settings(max_request_line=20, max_header_size=40)
        for line, size, status in ((20, 40, 0), (21, 40, 414), (20, 41, 431)):
            with self.subTest(line=line, size=size):
                text = b"GET /%b HTTP/1.1\r\n" % (b"x" * (line - 14))
                text += b"X: %b\r\n\r\n" % (b"x" * (size - len(text) - 3))
                found = 0
                for end in range(1, len(text) + 1):
                    try:
                        found = find(text[:end], settings)
                    except RequestRejected as refused:
                        found = -refused.status
                        break
                self.assertEqual(found, -status or len(text))


class BodyTests(SynchronousTestCase):
    """Bodies in pieces."""

    def receive(self, body: Body, text: bytes, splits: list[int]) -> bytes:
        """What is received of a text that arrives in pieces."""
        edges = [0, *sorted(at % (len(text) + 1) for at in splits), len(text)]
        received = b""
        for begin, end in pairwise(edges):
            if body.finished:
                body.rest += text[begin:end]
            else:
                received += body.receive(text[begin:end])
        return received

    @examples
    @given(st.lists(st.binary(min_size=1)), st.lists(st.integers(0, 10000)), st.booleans())
    def test_chunks(self, chunks: list[bytes], splits: list[int], trailer: bool) -> None:
        """Chunks are joined, extensions and trailers dropped, and the rest kept, at any split."""
        text = b"".join(b"%X;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        text += b"0\r\n" + (b"X-Sum: 1\r\n" if trailer else b"") + b"\r\nnext"
        body = ChunkedBody()
        self.assertEqual(self.receive(body, text, splits), b"".join(chunks))
        self.assertEqual((body.finished, body.rest), (True, b"next"))

    @examples
    @given(st.binary(min_size=1), st.lists(st.integers(0, 10000)))
    def test_sized(self, data: bytes, splits: list[int]) -> None:
        """A body of a known length ends there, at any split."""
        body = SizedBody(len(data))
        self.assertEqual(self.receive(body, data + b"next", splits), data)
        self.assertEqual((body.finished, body.rest), (True, b"next"))

    @examples
    @given(st.binary(), st.lists(st.integers(0, 10000)))
    def test_anything(self, text: bytes, splits: list[int]) -> None:
        """Whatever arrives is received or refused; nothing else is raised."""
        try:
            self.receive(ChunkedBody(), text, splits)
        except RequestRejected as refused:
            self.assertEqual(refused.status, 400)

    def test_malformed_chunks(self) -> None:
        """What could be understood in two ways is refused."""
        for text in (
            b"x\r\n",
            b"-1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"\r\n",
            b"1\n",
            b"1\r\naX\r\n",
            b"1\r\na\n",
            b"1" * 16 + b"\r\n",
            b"1;" + b"x" * 300,
            b"1;\0\r\n",
            b"0\r\nno colon\r\n",
            b"0\r\n X: 1\r\n",
            b"0\r\n" + b"X: 1\r\n" * 2000,
        ):
            with self.subTest(text=text):
                self.assertRaises(RequestRejected, ChunkedBody().receive, text)


class RepeatedHeadTests(SynchronousTestCase):
    """A client whose requests have the same fields."""

    LINES = (
        *(b"X: 1", b"X: 2", b"x: 1", b"X:", b"X", b"X : 1", b" X: 1", b"Xy: 1", b"Y: 1"),
        *(b"Content-Length: 1", b"Content-Length: x", b"Transfer-Encoding: chunked", b"Host: b"),
        *(b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue", b"X: \x01"),
    )
    FIELDS = b"HTTP/1.1\r\nHost: localhost\r\nX: 1\r\nX: 2\r\nExpect: 100-continue\r\n\r\n"

    def setUp(self) -> None:
        """The heads of a connection."""
        self.heads = HeadParser(Settings())

    def take(self, bytes_of_it: bytes) -> Head:
        """The next head of the connection."""
        head = self.heads.parse(bytes_of_it)
        assert head is not None
        return head

    def verdict(
        self, parse: Callable[[bytes], Head | None], head: bytes
    ) -> Head | tuple[int, str] | None:
        """What becomes of a head."""
        try:
            return parse(head)
        except RequestRejected as refused:
            return refused.status, refused.detail

    @examples
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"GET", b"POST", b"OPTIONS", b"G T", b""]),
                st.sampled_from([b"/", b"/a?b=c", b"*", b"http://b/c", b"/#", b"/\x7f", b""]),
                st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"]),
                st.lists(st.sampled_from(LINES), max_size=3),
            ),
            min_size=2,
        )
    )
    def test_as_if_it_were_the_first(
        self, parts: list[tuple[bytes, bytes, bytes, list[bytes]]]
    ) -> None:
        """Whatever came before, each head gets the verdict that it has on its own."""
        heads = HeadParser(Settings())
        for method, target, version, lines in parts:
            request_line = b" ".join((method, target, version))
            head = b"\r\n".join([request_line, b"Host: localhost", *lines, b"", b""])
            alone = self.verdict(HeadParser(Settings()).parse, head)
            self.assertEqual(self.verdict(heads.parse, head), alone, head)

    def test_parsed_once(self) -> None:
        """Fields that are repeated to the byte are not parsed again, and lines that differ are."""
        first = self.take(b"GET /a " + self.FIELDS)
        second = self.take(b"GET /b " + self.FIELDS)
        third = self.take(b"GET /c " + self.FIELDS.replace(b"localhost", b"other"))
        self.assertIs(first.headers, second.headers)
        self.assertIs(third.headers[b"X"], first.headers[b"X"])
        self.assertEqual(
            [(each.target, each.headers[b"Host"]) for each in (first, second, third)],
            [(b"/a", [b"localhost"]), (b"/b", [b"localhost"]), (b"/c", [b"other"])],
        )

    def test_in_the_absolute_form(self) -> None:
        """The authority of a target is that of its request, and of no other."""
        heads = [
            self.take(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            for target in (b"/", b"http://b/", b"/c", b"http://d/", b"/")
        ]
        self.assertEqual(
            [head and head.headers[b"Host"] for head in heads],
            [[b"a"], [b"b"], [b"a"], [b"d"], [b"a"]],
        )

    def test_forgotten(self) -> None:
        """What is forgotten is parsed again."""
        first = self.take(b"GET /a " + self.FIELDS)
        self.heads.forget()
        second = self.take(b"GET /a " + self.FIELDS)
        self.assertEqual(first, second)
        self.assertIsNot(first.headers, second.headers)

    def test_an_application_changes_them(self) -> None:
        """What an application does to the fields of a request, no other request sees."""
        seen = []

        class Changing(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> bytes:
                seen.append(list(request.requestHeaders.getRawHeaders(b"X", [])))
                request.requestHeaders.addRawHeader(b"X", b"changed")
                request.requestHeaders.removeHeader(b"Host")
                return b""

        client = MemoryServer(Changing()).connect()
        for _ in range(3):
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n\r\n")
        self.assertEqual(seen, [[b"1"]] * 3)
