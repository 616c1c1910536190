"""RFC 9110 and 9112, section by section: what is accepted, what is refused, and with what status.

Each row is the section, the verdict and the bytes. The verdict is the status of the last answer.
A section is one of RFC 9112, if no other RFC is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.unit.streams import Outcome, serve
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase

HOST = b"Host: x\r\n"
END = b"\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

Row = tuple[str, int, bytes]

REQUEST_LINES: list[Row] = [
    ("3", 200, b"GET / HTTP/1.1"),
    ("3", 400, b"GET  / HTTP/1.1"),
    ("3", 400, b"GET /  HTTP/1.1"),
    ("3", 400, b"GET\t/ HTTP/1.1"),
    ("3", 400, b"GET /\tHTTP/1.1"),
    ("3", 400, b"GET / HTTP/1.1 "),
    ("3", 400, b" GET / HTTP/1.1"),
    ("3", 400, b"GET /"),
    ("3", 400, b"GET"),
    ("3", 400, b"GET /a b HTTP/1.1"),
    ("3", 400, b"GET / HTTP/1.1 more"),
    ("3", 400, b"GET / HTTP/1.1\nX: y"),
    ("3", 400, b"GET / HTTP/1.1\rX: y"),
    ("2.3", 400, b"GET / HTTP/1"),
    ("2.3", 400, b"GET / HTTP/1.1.1"),
    ("2.3", 400, b"GET / HTTP/11.1"),
    ("2.3", 400, b"GET / HTTP/1.10"),
    ("2.3", 400, b"GET / http/1.1"),
    ("2.3", 400, b"GET / HTTP /1.1"),
    ("2.3", 400, b"GET / HTTP/+1.1"),
    ("2.3", 400, b"GET / HTTPS/1.1"),
    ("2.3", 200, b"GET / HTTP/1.9"),  # a minor version means no other syntax
    ("9110 15.6.6", 505, b"GET / HTTP/0.9"),
    ("9110 15.6.6", 505, b"GET / HTTP/2.0"),
    ("9110 15.6.6", 505, b"GET / HTTP/9.9"),
    ("3.1", 200, b"get / HTTP/1.1"),  # another method than GET, which a resource may know
    ("3.1", 200, b"M-SEARCH / HTTP/1.1"),
    ("3.1", 200, b"!#$%&'*+-.^_`|~09aZ / HTTP/1.1"),
    ("3.1", 400, b"G(T / HTTP/1.1"),
    ("3.1", 400, b"G\xc9T / HTTP/1.1"),
    ("3.1", 400, b"G\0T / HTTP/1.1"),
    ("3.1", 400, b'"GET / HTTP/1.1'),
]

TARGETS: list[Row] = [
    ("3.2.1", 200, b"GET /a/b?c=d&e HTTP/1.1"),
    ("3.2.1", 200, b"GET //a HTTP/1.1"),
    ("3.2.1", 200, b"GET /a/../b HTTP/1.1"),
    ("3.2.1", 200, b"GET /%zz%00 HTTP/1.1"),  # what it means is the application's affair
    ("3.2.1", 200, b'GET /a?b="<>{}|^`[]\\ HTTP/1.1'),  # as browsers send it
    ("3.2.1", 400, b"GET a HTTP/1.1"),
    ("3.2.1", 400, b"GET ?a HTTP/1.1"),
    ("3.2.1", 400, b"GET /\xc3\xa9 HTTP/1.1"),
    ("3.2.1", 400, b"GET /\x7f HTTP/1.1"),
    ("3.2.1", 400, b"GET /\0 HTTP/1.1"),
    ("9110 7.1", 400, b"GET /a#b HTTP/1.1"),
    ("3.2.2", 200, b"GET http://x/a HTTP/1.1"),
    ("3.2.2", 200, b"GET HTTPS://x:443/a HTTP/1.1"),
    ("3.2.2", 200, b"GET http://[::1]:80/ HTTP/1.1"),
    ("9110 4.2.4", 400, b"GET http://user@x/ HTTP/1.1"),
    ("9110 4.2.4", 400, b"GET http://user:password@x/ HTTP/1.1"),
    ("3.2.2", 400, b"GET http:///a HTTP/1.1"),
    ("9110 4.2.1", 400, b"GET http://:80/a HTTP/1.1"),
    ("3.2.2", 400, b"GET http:/a HTTP/1.1"),
    ("3.2.2", 400, b"GET http://x#a HTTP/1.1"),
    ("3.2.2", 400, b"GET http://a\\b/ HTTP/1.1"),
    ("3.2.2", 400, b"GET ftp://x/a HTTP/1.1"),
    ("3.2.2", 400, b"GET mailto:a HTTP/1.1"),
    ("3.2.3", 400, b"GET x:80 HTTP/1.1"),
    ("3.2.3", 501, b"CONNECT x:80 HTTP/1.1"),
    ("3.2.3", 501, b"CONNECT / HTTP/1.1"),
    ("3.2.4", 200, b"OPTIONS * HTTP/1.1"),
    ("3.2.4", 200, b"OPTIONS /a HTTP/1.1"),
    ("3.2.4", 400, b"GET * HTTP/1.1"),
    ("3.2.4", 400, b"OPTIONS ** HTTP/1.1"),
]

FIELDS: list[Row] = [
    ("5", 200, b"X: 1"),
    ("5", 200, b"X:1"),
    ("5", 200, b"X:"),
    ("5", 200, b"X: \t 1 \t "),
    ("5", 200, b"X: a:b"),
    ("5", 200, b"!#$%&'*+-.^_`|~09aZ: 1"),
    ("9110 5.5", 200, b"X: \x80\xff"),  # opaque
    ("9110 5.5", 200, b"X: a\tb"),
    ("5.1", 400, b"X : 1"),
    ("5.1", 400, b"X\t: 1"),
    ("5.1", 400, b": 1"),
    ("5.1", 400, b"X"),
    ("5.1", 400, b"X Y: 1"),
    ("5.1", 400, b"X\xe9: 1"),
    ("5.1", 400, b"X\0: 1"),
    ("5.1", 400, b"(X): 1"),
    ("5.1", 400, b"\xef\xbb\xbfX: 1"),
    ("5.2", 400, b"X: 1\r\n folded"),
    ("5.2", 400, b"X: 1\r\n\tfolded"),
    ("5.2", 400, b"X: 1\r\n "),
    ("2.2", 400, b" X: 1"),
    ("2.2", 400, b"X: a\nY: b"),
    ("2.2", 400, b"X: a\rY: b"),
    ("2.2", 400, b"X: a\r"),
    ("2.2", 400, b"X: a\n"),
    ("9110 5.5", 400, b"X: a\0b"),
    ("9110 5.5", 400, b"X: a\x7fb"),
    ("9110 5.5", 400, b"X: a\x01b"),
    ("9110 5.5", 400, b"X: \x0b"),
    ("9110 5.5", 400, b"X: a\x1b[31mb"),
    ("9110 5.4", 431, b"\r\n".join([b"X: 1"] * 100)),
    ("9110 5.4", 431, b"X" * 40_000 + b": 1"),
    ("9110 5.4", 431, b"X: " + b"1" * 40_000),
]

HOSTS: list[Row] = [
    ("3.2", 200, b"Host: example.org\r\n"),
    ("3.2", 200, b"hOST:example.org:8080\r\n"),
    ("9110 4.2.1", 400, b"Host:\r\n"),  # nobody is called that, as in nginx
    ("9110 4.2.1", 400, b"Host: \t\r\n"),
    ("9110 4.2.1", 400, b"Host: :80\r\n"),
    ("9110 7.2", 200, b"Host: x:65535\r\n"),
    ("9110 7.2", 400, b"Host: x:65536\r\n"),
    ("9110 7.2", 400, b"Host: x:000080\r\n"),
    ("9110 7.2", 200, b"Host: [2001:db8::1]:80\r\n"),
    ("9110 7.2", 200, b"Host: [fe80::1%25eth0]\r\n"),
    ("9110 7.2", 200, b"Host: x:\r\n"),
    ("9110 7.2", 200, b"Host: a_b\r\n"),
    ("3.2", 400, b""),
    ("3.2", 400, b"Host: x\r\nHost: x\r\n"),
    ("3.2", 400, b"Host: x\r\nhost: y\r\n"),
    ("3.2", 400, b"Host: x\r\nHost:\r\n"),
    ("3.2", 400, b"Host : x\r\n"),
    ("3.2", 400, b"Host: a b\r\n"),
    ("3.2", 400, b"Host: a/b\r\n"),
    ("3.2", 400, b"Host: user@x\r\n"),
    ("3.2", 400, b"Host: x:80a\r\n"),
    ("3.2", 400, b"Host: x:80:80\r\n"),
    ("3.2", 400, b"Host: x:-1\r\n"),
    ("3.2", 400, b"Host: [::1\r\n"),
    ("3.2", 400, b"Host: ::1\r\n"),
    ("3.2", 400, b"Host: \xe9\r\n"),
    ("3.2", 400, b"Host: x?y\r\n"),
    ("3.2", 400, b"Host: x#y\r\n"),
    ("3.2", 400, b'Host: "x"\r\n'),
    ("3.2", 400, b"Host: x\\y\r\n"),
]

LENGTHS: list[Row] = [
    ("6.2", 200, b"Content-Length: 1\r\n\r\na"),
    ("6.2", 200, b"Content-Length: 0001\r\n\r\na"),
    ("6.2", 200, b"Content-Length: 0\r\n\r\n"),
    ("6.3", 200, b"\r\n"),  # without a length there is no body
    ("6.3", 400, b"Content-Length:\r\n\r\n"),
    ("6.3", 400, b"Content-Length: +1\r\n\r\na"),
    ("6.3", 400, b"Content-Length: -1\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 0x1\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 1.0\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 1_0\r\n\r\n" + b"a" * 10),
    ("6.3", 400, b"Content-Length: 1 0\r\n\r\n" + b"a" * 10),
    ("6.3", 400, b"Content-Length: \xb2\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 1a\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 1, 2\r\n\r\na"),
    # Equal lengths may be accepted (RFC 9110 section 8.6), and are a sign of trouble.
    ("6.3", 400, b"Content-Length: 1\r\ncontent-length: 1\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 1, 1\r\n\r\na"),
    ("6.3", 400, b"Content-Length: 1,\r\n\r\na"),
    ("6.2", 413, b"Content-Length: 999999999999999999\r\n\r\n"),
    ("6.2", 400, b"Content-Length: 99999999999999999999999999999999\r\n\r\n"),
]

CODINGS: list[Row] = [
    ("6.1", 200, b"Transfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK),
    ("7", 200, b"transfer-encoding:\tChUnKeD \r\n\r\n" + LAST_CHUNK),
    ("6.1", 400, b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + LAST_CHUNK),
    ("6.1", 400, b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK),
    ("6.1", 400, b"Content-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n" + LAST_CHUNK),
    ("6.1", 501, b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST_CHUNK),
    ("6.1", 501, b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK),
    ("6.1", 501, b"Transfer-Encoding: identity, chunked\r\n\r\n" + LAST_CHUNK),
    ("6.1", 400, b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST_CHUNK),
    ("6.1", 400, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: chunked, gzip\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: gzip\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: identity\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding:\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: xchunked\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: chunkedx\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b'Transfer-Encoding: "chunked"\r\n\r\n' + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: chunked;q=1\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: chunked\x0b\r\n\r\n" + LAST_CHUNK),
    ("6.3", 400, b"Transfer-Encoding: chunked\xa0\r\n\r\n" + LAST_CHUNK),
    # An empty member is to be ignored (RFC 9110 section 5.6.1); others may not know.
    ("6.3", 400, b"Transfer-Encoding: chunked,\r\n\r\n" + LAST_CHUNK),
    ("6.3", 501, b"Transfer-Encoding: ,chunked\r\n\r\n" + LAST_CHUNK),
    ("6.1", 400, b"Transfer-Encoding : chunked\r\n\r\n" + LAST_CHUNK),
    ("6.1", 200, b"Transfer_Encoding: gzip\r\n\r\n"),  # another field
]

CHUNKS: list[Row] = [
    ("7.1", 200, b"3\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 200, b"003\r\nabc\r\n000\r\n\r\n"),
    ("7.1", 200, b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
    ("7.1.1", 200, b'3;a;b=c;d="e f"\r\nabc\r\n0;x\r\n\r\n'),
    ("7.1.1", 200, b"3 ; a\r\nabc\r\n0\r\n\r\n"),
    ("7.1.2", 200, b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n"),
    ("7.1", 400, b"3\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"3\r\nabc\n0\r\n\r\n"),
    ("7.1", 400, b"3\r\nabc0\r\n\r\n"),
    ("7.1", 400, b"3\r\nabcd\r\n0\r\n\r\n"),
    ("7.1", 400, b"3\r\nab\r\n0\r\n\r\n"),
    ("7.1", 400, b"3\r\nabc\r0\r\n\r\n"),
    ("7.1", 400, b"\r\n3\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b" 3\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"3 \r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"+3\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"-3\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"0x3\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"3_0\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"g\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 400, b"\r\n\r\n"),
    ("7.1", 400, b";a\r\n\r\n"),
    ("7.1", 400, b"FFFFFFFFFFFFFFFF\r\nabc"),
    ("7.1", 400, b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("7.1", 413, b"FFFFFFFF\r\n" + b"x" * 2_000_000),
    ("7.1.1", 200, b'3 ;a\t= "b\\"\xe9;c" ; d = e\r\nabc\r\n0\r\n\r\n'),
    ("7.1.1", 400, b"3;a \r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a;\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a=\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a b\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a=b c\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b'3;a="b\r\nabc\r\n0\r\n\r\n'),
    ("7.1.1", 400, b'3;a="b\\"\r\nabc\r\n0\r\n\r\n'),
    ("7.1.1", 400, b"3;a\xe9\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a=\x7f\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;=a\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;a\0\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"3;" + b"a" * 10_000 + b"\r\nabc\r\n0\r\n\r\n"),
    ("7.1.1", 400, b"1;%b\r\na\r\n" % (b"x" * 200) * 1000 + b"0\r\n\r\n"),
    ("7.1.2", 400, b"0\r\nno colon\r\n\r\n"),
    ("7.1.2", 400, b"0\r\nX : 1\r\n\r\n"),
    ("7.1.2", 400, b"0\r\n X: 1\r\n\r\n"),
    ("7.1.2", 400, b"0\r\nX: 1\n\r\n"),
    ("7.1.2", 400, b"0\r\nX: \0\r\n\r\n"),
    ("7.1.2", 400, b"0\r\nX: a\rb\r\n\r\n"),
    ("7.1.2", 400, b"0\r\n" + b"X: 1\r\n" * 10_000 + b"\r\n"),
]

EXPECTATIONS: list[Row] = [
    ("9110 10.1.1", 100, b"Expect: 100-continue\r\nContent-Length: 1\r\n"),
    ("9110 10.1.1", 100, b"Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n"),
    ("9110 10.1.1", 200, b"Expect: 100-continue\r\n"),  # there is nothing to wait for
    ("9110 10.1.1", 417, b"Expect: 200-ok\r\n"),
    ("9110 10.1.1", 417, b"Expect: 100-continue, more\r\nContent-Length: 1\r\n"),
    ("9110 10.1.1", 417, b"Expect: 100-continue\r\nExpect: more\r\nContent-Length: 1\r\n"),
    ("9110 10.1.1", 413, b"Expect: 100-continue\r\nContent-Length: 9999999\r\n"),
    ("9110 10.1.1", 400, b"Expect: 100-continue\r\nContent-Length: x\r\n"),
]

NO_HTTP: list[Row] = [
    ("2.2", 0, b"\r\n" * 1000),  # waits for a request
    ("2.2", 200, b"\r\n\r\n" + GET + HOST + END),
    ("2.2", 400, b"\n" + GET + HOST + END),
    ("2.2", 400, b"\r\r\n" + GET + HOST + END),
    ("2.2", 400, b" \r\n" + GET + HOST + END),
    ("2.2", 400, b"GET / HTTP/1.1\n"),  # at once, and not when the time is over
    ("2.2", 400, b"GET / HTTP/1.1\nHost: x\n\n"),
    ("2.3", 400, b"GET /\n"),  # HTTP/0.9
    ("6.1", 400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK),
    ("9113 3.4", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("", 400, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),  # TLS
    ("", 400, b"\0"),
    ("9110 15.5.15", 414, b"GET /" + b"a" * 10_000),
    ("9110 5.4", 431, GET + b"X" * 40_000),
]


class VerdictTests(SynchronousTestCase):
    """What is refused gets the right status, ends the connection, and reaches no application."""

    def check(self, rows: Iterable[Row], before: bytes, after: bytes) -> None:
        """Each row, between these bytes, has its verdict."""
        for section, verdict, row in rows:
            stream = before + row + after
            for chunks in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
                if len(chunks) > 1000:
                    continue
                with self.subTest(section=section, stream=stream[:200], pieces=len(chunks)):
                    outcome = serve(*chunks)
                    self.assertEqual(outcome.verdict, verdict)
                    self.assertEqual(outcome.ended, verdict >= 400)
                    if verdict >= 400:
                        self.assertEqual(outcome.asked, ())

    def test_request_lines(self) -> None:
        """The request line."""
        self.check(REQUEST_LINES, b"", END + HOST + END)

    def test_targets(self) -> None:
        """The target, in its four forms."""
        self.check(TARGETS, b"", END + HOST + END)

    def test_fields(self) -> None:
        """Header fields: names, values, and the ends of their lines."""
        self.check(FIELDS, GET + HOST, END + END)

    def test_hosts(self) -> None:
        """Exactly one `Host`, and a valid one."""
        self.check(HOSTS, GET, END)

    def test_lengths(self) -> None:
        """`Content-Length`."""
        self.check(LENGTHS, POST, b"")

    def test_codings(self) -> None:
        """`Transfer-Encoding`."""
        self.check(CODINGS, POST, b"")

    def test_chunks(self) -> None:
        """Chunks, their extensions, and the trailer."""
        self.check(CHUNKS, CHUNKED, b"")

    def test_expectations(self) -> None:
        """`Expect`: what cannot be met, and what the length forbids before it is asked for."""
        self.check(EXPECTATIONS, POST, END)

    def test_what_is_no_http(self) -> None:
        """Bytes that are no request at all, or one of another version."""
        self.check(NO_HTTP, b"", b"")


TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class SmugglingTests(SynchronousTestCase):
    """A framing that somebody else might read in another way."""

    def test_one_byte_more(self) -> None:
        """With any byte, anywhere in its line, a transfer coding is plain to all, or refused."""
        for place in (
            b"%bTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding%b: chunked\r\n",
            b"Transfer-Encoding:%bchunked\r\n",
            b"Transfer-Encoding: chun%bked\r\n",
            b"Transfer-Encoding: chunked%b\r\n",
        ):
            value = place.index(b"%b") > place.index(b":")
            middle = b"chun%bked" in place
            for byte in (bytes((each,)) for each in range(256)):
                with self.subTest(place=place, byte=byte):
                    line = place % byte
                    first, *_ = serve(POST + line + END + LAST_CHUNK).statuses
                    if byte in b" \t" and value and not middle:
                        self.assertEqual(first, 200, line)  # white space, which is dropped
                        statuses = serve(POST + line + b"Content-Length: 5\r\n\r\n").statuses
                        self.assertEqual(statuses, (400,), line)
                    elif byte in TOKEN and not value:
                        self.assertEqual(first, 200, line)  # another field
                        both = serve(POST + line + b"Content-Length: 5\r\n\r\n" + LAST_CHUNK)
                        self.assertEqual([each.body for each in both.asked], [LAST_CHUNK], line)
                    else:
                        self.assertIn(first, (400, 501), line)

    def test_one_byte_more_in_a_length(self) -> None:
        """So it is with a length."""
        for place in (b"Content-Length:%b5\r\n", b"Content-Length: 5%b\r\n"):
            for byte in (bytes((each,)) for each in range(256)):
                with self.subTest(place=place, byte=byte):
                    outcome = serve(POST + place % byte + END + b"abcde" + b"0" * 100)
                    if byte in b" \t":
                        self.assertEqual([each.body for each in outcome.asked], [b"abcde"])
                    elif byte.isdigit():
                        self.assertEqual(len(outcome.asked), 1)
                    else:
                        self.assertEqual((outcome.statuses, outcome.asked), ((400,), ()))


class MeaningTests(SynchronousTestCase):
    """What accepted bytes mean to the application."""

    def asked(self, stream: bytes) -> Outcome:
        """What came of a stream, of which all was accepted."""
        outcome = serve(stream)
        self.assertEqual(set(outcome.statuses), {200}, stream)
        return outcome

    def header(self, outcome: Outcome, name: bytes) -> list[bytes]:
        """The values of a field of the one request."""
        (asked,) = outcome.asked
        return [value for each, value in asked.headers if each == name]

    def test_values(self) -> None:
        """White space around a value is no part of it; within it is (9112 section 5)."""
        for sent, value in (
            (b"X:a", b"a"),
            (b"X: \ta \t", b"a"),
            (b"X: a  b", b"a  b"),
            (b"X:", b""),
        ):
            with self.subTest(sent=sent, value=value):
                outcome = self.asked(GET + HOST + sent + END + END)
                self.assertEqual(self.header(outcome, b"x"), [value])

    def test_repeated_fields(self) -> None:
        """The values of a field that is repeated are in order (RFC 9110 section 5.3)."""
        outcome = self.asked(GET + HOST + b"X: 1\r\nY: 0\r\nx: 2, 3\r\n" + END)
        self.assertEqual(self.header(outcome, b"x"), [b"1", b"2, 3"])

    def test_absolute_form(self) -> None:
        """The authority of a target stands above `Host`, and in its place (section 3.2.2)."""
        for target, path in (
            (b"http://y:1/a?b", b"/a?b"),
            (b"http://y:1", b"/"),
            (b"http://y:1?b", b"/?b"),
        ):
            for head in (b" HTTP/1.1\r\n" + HOST, b" HTTP/1.0\r\n" + HOST, b" HTTP/1.0\r\n"):
                with self.subTest(target=target, path=path):
                    outcome = self.asked(b"GET " + target + head + END)
                    self.assertEqual(self.header(outcome, b"host"), [b"y:1"])
                    self.assertEqual(outcome.asked[0].target, path)

    def test_absolute_form_needs_a_host_too(self) -> None:
        """An absolute target does not stand in for a missing `Host` (section 3.2)."""
        self.assertEqual(serve(b"GET http://x/ HTTP/1.1\r\n\r\n").verdict, 400)

    def test_options_of_the_server(self) -> None:
        """`OPTIONS *` is answered for the server, and no application is asked (section 3.2.4)."""
        outcome = self.asked(b"OPTIONS * HTTP/1.1\r\n" + HOST + END)
        self.assertEqual(outcome.asked, ())

    def test_minor_versions(self) -> None:
        """A later minor version is understood as 1.1 (RFC 9110 section 2.5)."""
        outcome = self.asked(b"GET / HTTP/1.7\r\n" + HOST + END)
        self.assertEqual(outcome.asked[0].version, b"HTTP/1.1")

    def test_trailers(self) -> None:
        """Trailer fields are dropped: none becomes a header field (section 7.1.2)."""
        outcome = self.asked(
            CHUNKED + b"1\r\na\r\n0\r\nContent-Length: 9\r\nX: 1\r\nHost: y\r\n\r\n"
        )
        self.assertEqual(self.header(outcome, b"host"), [b"x"])
        self.assertEqual(self.header(outcome, b"x"), [])
        self.assertEqual(outcome.asked[0].body, b"a")

    def test_bodies_of_any_method(self) -> None:
        """A body belongs to its request, whatever the method is (RFC 9110 section 9.3.1)."""
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"X"):
            with self.subTest(method=method):
                request = method + b" / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
                bodies = [each.body for each in self.asked(request * 2).asked]
                self.assertEqual(bodies, [b"abc", b"abc"])

    def test_pipelining(self) -> None:
        """Requests that follow each other are seen in their order (section 9.3.2)."""
        stream = b"".join(b"GET /%d HTTP/1.1\r\n" % number + HOST + END for number in range(50))
        targets = [each.target for each in self.asked(stream).asked]
        self.assertEqual(targets, [b"/%d" % number for number in range(50)])

    def test_nothing_after_a_refusal(self) -> None:
        """What follows a request that was refused is not read (section 9.6)."""
        outcome = serve(POST + b"Content-Length: x\r\n\r\n" + GET + HOST + END)
        self.assertEqual((outcome.statuses, outcome.asked), ((400,), ()))

    def test_continue_that_nobody_waits_for(self) -> None:
        """A client that has sent its body gets no 100, nor one of HTTP/1.0 (9110 10.1.1)."""
        head = POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        self.assertEqual(serve(head + b"a").statuses, (200,))
        self.assertEqual(serve(head, b"a").statuses, (100, 200))
        old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        self.assertEqual(serve(old, b"a").statuses, (200,))

    def test_empty_lines_hold_no_connection(self) -> None:
        """Empty lines before a request do not make the time for it longer (section 2.2)."""
        server = MemoryServer(Resource(), read_header_timeout=5)
        client = server.connect()
        for _ in range(6):
            client.send(END)
            server.advance(1)
        self.assertTrue(client.ended)


class PersistenceTests(SynchronousTestCase):
    """Section 9.3: whether a connection outlives an answer."""

    def test_options(self) -> None:
        """What the client says decides, in any line, place and case; HTTP/1.0 has to ask."""
        for persistent, version, lines in (
            (True, b"1", b""),
            (True, b"1", b"Connection: keep-alive\r\n"),
            (True, b"1", b"Connection: closed, xclose\r\n"),
            (True, b"1", b"Connection:\r\n"),
            (False, b"1", b"Connection: close\r\n"),
            (False, b"1", b"Connection: CLOSE\r\n"),
            (False, b"1", b"Connection: TE, close\r\n"),
            (False, b"1", b"connection: TE ,\tClose ,\r\n"),
            (False, b"1", b"Connection: keep-alive\r\nConnection: close\r\n"),
            (False, b"0", b""),
            (False, b"0", b"Connection: close\r\n"),
            (False, b"0", b"Connection: keep-alive, close\r\n"),
            (True, b"0", b"Connection: keep-alive\r\n"),
            (True, b"0", b"Connection: TE, Keep-Alive\r\n"),
        ):
            with self.subTest(persistent=persistent, version=version):
                request = b"GET / HTTP/1." + version + b"\r\n" + HOST + lines + END
                outcome = serve(request * 2)
                self.assertEqual(outcome.ended, not persistent, request)
                self.assertEqual(len(outcome.asked), 1 + persistent, request)


class Answering(Resource):
    """Answers as a test says.

    Args:
        answer: is called with the request.
    """

    isLeaf = True

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def render(self, request: Request) -> Any:
        """Let the test answer."""
        return self.answer(request)


def answered(answer: Any, request: bytes = GET + HOST + END) -> tuple[bytes, bool]:
    """The bytes of the answer to a request, and whether the connection has ended."""
    client = MemoryServer(Answering(answer)).connect()
    client.send(request)
    return client.received, client.ended


class OldClientTests(SynchronousTestCase):
    """Answers to HTTP/1.0."""

    KEEP_ALIVE = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

    def test_keep_alive(self) -> None:
        """Who asks for a persistent connection is told that it has one (appendix C.2.2)."""
        received, ended = answered(lambda request: b"abc", self.KEEP_ALIVE)
        self.assertIn(b"Connection: keep-alive\r\n", received)
        self.assertIn(b"Content-Length: 3\r\n", received)
        self.assertFalse(ended)

    def test_without_a_length(self) -> None:
        """An answer without a length ends with the connection, whatever the client asks for."""

        def answer(request: Request) -> int:
            request.write(b"abc")
            request.finish()
            return int(NOT_DONE_YET)

        received, ended = answered(answer, self.KEEP_ALIVE)
        self.assertIn(b"Connection: close\r\n", received)
        self.assertTrue(received.endswith(b"\r\n\r\nabc"))
        self.assertTrue(ended)

    def test_drain(self) -> None:
        """In a drain its connection is closed with notice, as any other."""
        server = MemoryServer(Answering(lambda request: b"abc"))
        client = server.connect()
        client.send(self.KEEP_ALIVE[:-1])
        server.drain()
        client.send(self.KEEP_ALIVE[-1:])
        (response,) = client.responses()
        self.assertEqual((response.headers["Connection"], client.ended), ("close", True))
