"""Whatever a stranger sends costs processor time in proportion to its bytes, and little of it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from itertools import count
from typing import Any
from unittest import mock

from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory

from twisted_graceful.admin.admin_site import Root
from twisted_graceful.admin.overview import Overview
from twisted_graceful.http.io.proxy_protocol import LONGEST_V2, SIGNATURE, ProxyProtocolError, parse
from twisted_graceful.networks import Networks
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .cost import SIZE, CostTestCase, Feed, Row, cost_of, sends
from .web import Echo
from .websockets import HANDSHAKE

ROOMY = {
    "max_header_size": 1 << 20,
    "max_request_line": 1 << 20,
    "max_headers": 1 << 20,
    "max_body_size": 1 << 20,
    "proxy_headers": True,
    "forwarded_allow_ips": "127.0.0.1,10.0.0.0/8",
    "access_log": "-",
}
"""Settings under which a head of any size is read: limits are not to hide what it costs."""

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=%b\r\n"
BOUNDARY = b"boundary"


class Curious(Resource):
    """Asks a request for all that can be made of its head and body."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Ask."""
        for ask in (
            lambda: request.args,
            lambda: request.getCookie(b"a"),
            request.getAllHeaders,
            lambda: list(request.requestHeaders.getAllRawHeaders()),
            lambda: request.getHeader("x-a"),
            request.getUser,
            request.getClientAddress,
            request.getHost,
            request.isSecure,
            request.getRequestHostname,
            request.prePathURL,
            request.URLPath,
            lambda: request.childLink(b"x"),
            lambda: request.setLastModified(1),
            lambda: request.setETag(b'"a"'),
            lambda: request.content.read(),
        ):
            ask()
        return b"seen"


def curious() -> Resource:
    """A site that asks for all, and compresses."""
    return EncodingResourceWrapper(Curious(), [GzipEncoderFactory()])


class Deep(Resource):
    """Has itself for each of its children."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Whatever is asked for is here."""
        return self

    def render(self, request: Any) -> bytes:
        """Be brief."""
        return b"deep"


def repeat(unit: bytes, size: int) -> bytes:
    """So many bytes of these."""
    return (unit * (size // len(unit) + 1))[:size]


NUMBERS = count(0x100000)
"""Each is used once, so that nothing made with one is known from an earlier measurement."""


def distinct(form: bytes, size: int) -> bytes:
    """About so many bytes of what is made with a number that is another one each time."""
    return b"".join(form % next(NUMBERS) for _ in range(size // len(form % 0x100000)))


def head(fields: bytes = b"", target: bytes = b"/", method: bytes = b"GET") -> bytes:
    """A head; the fields end with CR LF."""
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, target, fields)


def field(name: bytes, unit: bytes, after: bytes = b"") -> Callable[[int], bytes]:
    """A head whose field has a value of many of these."""
    return lambda size: head(b"%b: %b%b\r\n" % (name, repeat(unit, size), after))


def target(unit: bytes, before: bytes = b"/") -> Callable[[int], bytes]:
    """A head with a target of many of these."""
    return lambda size: head(target=before + repeat(unit, size))


def targets(form: bytes, before: bytes = b"/?") -> Callable[[int], bytes]:
    """A head with a target of many that are not the same."""
    return lambda size: head(target=before + distinct(form, size))


HEADS: dict[str, Callable[[int], bytes]] = {
    "one long field": field(b"X-A", b"a"),
    "a field of spaces": field(b"X-A", b" "),
    "a field of colons": field(b"X-A", b":"),
    "tiny fields of one name": lambda size: head(repeat(b"a:\r\n", size // 4 * 4)),
    "tiny fields of many names": lambda size: head(distinct(b"x-custom-%x:\r\n", size)),
    "a long name": lambda size: head(repeat(b"a", size) + b": 1\r\n"),
    "a name of hyphens": lambda size: head(repeat(b"a-", size) + b": 1\r\n"),
    "a long method": lambda size: head(method=repeat(b"A", size)),
    "a long segment": target(b"a"),
    "segments": target(b"a/"),
    "empty segments": target(b"/"),
    "dot segments": target(b"../"),
    "escapes": target(b"%41"),
    "escapes of slashes": target(b"%2F"),
    "half escapes": target(b"%"),
    "question marks": target(b"?"),
    "parameters": target(b"a=1&", b"/?"),
    "parameters of many names": targets(b"a%x=1&"),
    "semicolons": target(b";", b"/?"),
    "ampersands": target(b"&", b"/?"),
    "equals signs": target(b"=", b"/?"),
    "plus signs": target(b"+", b"/?a="),
    "escaped parameters": target(b"%41bc=%42bc&", b"/?"),
    "an absolute form": target(b"a/", b"http://a/"),
    "a long authority": target(b"a", b"http://a"),
    "an authority of colons": lambda size: head(target=b"http://a" + repeat(b":", size) + b"/"),
    "a long host": lambda size: b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % repeat(b"a", size),
    "a host of colons": lambda size: b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % repeat(b":", size),
    "a host of brackets": lambda size: b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % repeat(b"[", size),
    "cookies": field(b"Cookie", b"a=1; "),
    "cookies of semicolons": field(b"Cookie", b";"),
    "cookies of spaces": field(b"Cookie", b"; "),
    "cookies of many names": lambda size: head(b"Cookie: %b\r\n" % distinct(b"a%x=1;", size)),
    "lines of cookies": lambda size: head(repeat(b"Cookie: a=1\r\n", size // 13 * 13)),
    "options of a connection": field(b"Connection", b"a,"),
    "lines of options": lambda size: head(repeat(b"Connection: a\r\n", size // 15 * 15)),
    "upgrades": field(b"Connection: upgrade\r\nUpgrade", b"a,"),
    "transfer codings": field(b"Transfer-Encoding", b"a,"),
    "expectations": field(b"Expect", b"100-continue,"),
    "digits of a length": field(b"Content-Length", b"9"),
    "types": field(b"Content-Type", b"a;"),
    "types accepted": field(b"Accept", b"text/html;q=0.1,"),
    "encodings accepted": field(b"Accept-Encoding", b"gzip;q=0.1,"),
    "encodings of spaces": field(b"Accept-Encoding", b" ,"),
    "ranges": field(b"Range", b"0-,", b"0-"),
    "ranges in reverse": lambda size: head(
        b"Range: bytes=%b0-\r\n" % b"".join(b"%d-," % n for n in range(size // 6, 0, -1))
    ),
    "entity tags": field(b"If-None-Match", b'"a" '),
    "a date": field(b"If-Modified-Since", b"Sun, 06 Nov 1994 08:49:37 GMT "),
    "a date of spaces": field(b"If-Modified-Since", b" ", b"x"),
    "credentials": field(b"Authorization: Basic", b"A"),
    "credentials of colons": field(b"Authorization: Basic", b"Ojo6"),
    "forwarded for proxies": field(b"X-Forwarded-For", b"10.0.0.1,", b"10.0.0.1"),
    "forwarded for nobody": field(b"X-Forwarded-For", b","),
    "forwarded for one": field(b"X-Forwarded-For", b"1."),
    "forwarded for IPv6": field(b"X-Forwarded-For", b":"),
    "forwarded for spaces": field(b"X-Forwarded-For", b" ", b"x"),
    "forwarded, lines": lambda size: head(
        repeat(b"X-Forwarded-For: 10.0.0.1\r\n", size // 27 * 27)
    ),
    "forwarded by schemes": field(b"X-Forwarded-Proto", b"https,"),
    "forwarded": field(b"Forwarded", b"for=a;by=b,"),
    "request id": field(b"X-Request-ID", b"a"),
    "referrer to be escaped": field(b"Referer", b'"'),
    "agent to be escaped": field(b"User-Agent", b"\xff"),
    "empty lines": lambda size: repeat(b"\r\n", size) + head(),
    "no end": lambda size: b"GET / HTTP/1.1\r\n" + repeat(b"a: b\r\n", size),
}
"""Rows by what is long or many in the input."""


def within_limit(unit: bytes) -> Callable[[int], bytes]:
    """Requests of targets as long as they may be by default."""
    one = head(target=b"/" + repeat(unit, 8000))
    return lambda size: one * (size // len(one))


REQUESTS: dict[str, Callable[[int], bytes]] = {
    "the same": lambda size: head() * (size // len(head())),
    "all different": lambda size: distinct(
        b"GET /%x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\n\r\n", size
    ),
    "malformed": lambda size: repeat(b"\0", size),
    "segments": within_limit(b"a/"),
    "escaped segments": within_limit(b"%41/"),
}
"""By what many of them have in common."""


def post(fields: bytes, body: bytes, method: bytes = b"POST") -> bytes:
    """A request with a body."""
    return head(fields + b"Content-Length: %d\r\n" % len(body), method=method) + body


def form(unit: bytes) -> Callable[[int], bytes]:
    """A form, as most are sent, of many of these."""
    return lambda size: post(FORM, repeat(unit, size))


def multipart(*parts: bytes, boundary: bytes = BOUNDARY, fields: bytes = MULTIPART) -> bytes:
    """A form in parts; of each its head and body."""
    mark = b"--%b" % boundary
    body = b"".join(b"%b\r\n%b\r\n" % (mark, part) for part in parts) + mark + b"--\r\n"
    return post(fields % boundary if b"%b" in fields else fields, body)


def part(value: bytes = b"1", name: bytes = b'; name="a"', more: bytes = b"") -> bytes:
    """A part."""
    return b"Content-Disposition: form-data%b\r\n%b\r\n%b" % (name, more, value)


def many(one: bytes, size: int) -> list[bytes]:
    """So many bytes of parts."""
    return [one] * (size // (len(one) + len(BOUNDARY) + 6))


def of_name(unit: bytes, before: bytes = b"; ", after: bytes = b"") -> Callable[[int], bytes]:
    """A form in one part, of which the parameters are long."""
    return lambda size: multipart(part(name=before + repeat(unit, size) + after))


def of_value(unit: bytes) -> Callable[[int], bytes]:
    """A form in one part, of which the value is long."""
    return lambda size: multipart(part(repeat(unit, size)))


FORMS: dict[str, Callable[[int], bytes]] = {
    "fields": form(b"a=1&"),
    "semicolons": form(b";"),
    "ampersands": form(b"&"),
    "one field": form(b"a"),
    "escapes": form(b"%41"),
    "half escapes": form(b"%4"),
    "plus signs": form(b"+"),
    "equals signs": form(b"="),
    "fields of many names": lambda size: post(FORM, distinct(b"a%x=1&", size)),
    "parts": lambda size: multipart(*many(part(), size)),
    "parts of many names": lambda size: multipart(
        *(part(name=b'; name="%d"' % number) for number in range(size // 60))
    ),
    "empty parts": lambda size: multipart(*many(b"\r\n", size)),
    "nothing but boundaries": lambda size: post(
        MULTIPART % BOUNDARY, repeat(b"--boundary\r\n", size)
    ),
    "a value": of_value(b"a"),
    "a value of CR": of_value(b"\r"),
    "a value of LF": of_value(b"\n"),
    "a value of empty lines": of_value(b"\r\n"),
    "a value of hyphens": of_value(b"-"),
    "a value like the beginning of a boundary": of_value(b"\r\n--boundar"),
    "a value like a boundary": of_value(b"--boundary"),
    "a value without an end": lambda size: post(
        MULTIPART % BOUNDARY, b"--boundary\r\n" + part(repeat(b"\r\n--boundar", size))
    ),
    "before the first part": lambda size: post(MULTIPART % BOUNDARY, repeat(b"\r\n", size)),
    "after the last part": lambda size: multipart(part()) + repeat(b"\r\n", size),
    "a long boundary": lambda size: multipart(part(), boundary=repeat(b"b", size)),
    "a boundary of hyphens": lambda size: post(MULTIPART % (b"-" * 60), repeat(b"-", size)),
    "quotes": of_name(b'"'),
    "semicolons in quotes": of_name(b";", b'; a="'),
    "escapes in quotes": of_name(b"\\", b'; name="', b'"'),
    "escaped quotes": of_name(b'\\"', b'; name="', b'"'),
    "semicolons of a part": of_name(b";"),
    "parameters of a part": of_name(b"a=1;"),
    "extended parameters": of_name(b"name*0*=utf-8''%41;"),
    "continued parameters": lambda size: multipart(
        part(name=b";" + distinct(b" name*%d=a;", size) + b" a=1")
    ),
    "spaces": of_name(b" "),
    "equals signs of a part": of_name(b"="),
    "a long name": of_name(b"a", b'; name="', b'"'),
    "fields of a part": lambda size: multipart(part(more=repeat(b"a: b\r\n", size // 6 * 6))),
    "a type of a part": lambda size: multipart(
        part(more=b"Content-Type: text/plain; %b\r\n" % repeat(b";", size))
    ),
    "folded lines": lambda size: multipart(
        part(more=b"a: b\r\n" + repeat(b" c\r\n", size // 4 * 4))
    ),
    "parts in parts": lambda size: multipart(
        *many(part(more=b"Content-Type: multipart/mixed; boundary=c\r\n"), size)
    ),
    "base64": lambda size: multipart(
        part(repeat(b"QUJD\r\n", size), more=b"Content-Transfer-Encoding: base64\r\n")
    ),
    "quoted-printable": lambda size: multipart(
        part(repeat(b"=41", size), more=b"Content-Transfer-Encoding: quoted-printable\r\n")
    ),
    "uuencode": lambda size: multipart(
        part(repeat(b"#0V%T\r\n", size), more=b"Content-Transfer-Encoding: x-uuencode\r\n")
    ),
    "a type with semicolons": lambda size: multipart(
        part(),
        fields=b"Content-Type: multipart/form-data; %b; boundary=%%b\r\n" % repeat(b";", size),
    ),
    "a type with quoted semicolons": lambda size: multipart(
        part(),
        fields=b'Content-Type: multipart/form-data; a="%b; boundary=%%b\r\n' % repeat(b";", size),
    ),
    "a type in parentheses": lambda size: post(
        b"Content-Type: multipart/form-data; %b\r\n" % repeat(b"(", size), b"a"
    ),
    "a type of escapes": lambda size: post(
        b"Content-Type: application/x-www-form-urlencoded; %b\r\n" % repeat(b"a*0*=%41;", size),
        b"a",
    ),
}
"""Rows by what is long or many in the input."""


def chunked(chunks: bytes, trailer: bytes = b"") -> bytes:
    """A request whose body is in chunks."""
    return (
        head(b"Transfer-Encoding: chunked\r\n", method=b"PUT")
        + chunks
        + b"0\r\n"
        + trailer
        + b"\r\n"
    )


CHUNKS: dict[str, Callable[[int], bytes]] = {
    "of a byte": lambda size: chunked(repeat(b"1\r\na\r\n", size // 6 * 6)),
    "of eight bytes": lambda size: chunked(repeat(b"8\r\nabcdefgh\r\n", size // 13 * 13)),
    "one": lambda size: chunked(b"%x\r\n%b\r\n" % (size, repeat(b"a", size))),
    "with extensions": lambda size: chunked(
        repeat(b"20;a=b\r\n%b\r\n" % (b"a" * 32), size // 42 * 42)
    ),
    "with long extensions": lambda size: chunked(
        repeat(b"1;%b\r\na\r\n" % (b"a" * 250), size // 257 * 257)
    ),
    "with an extension of spaces": lambda size: chunked(b"1" + repeat(b" ", size) + b"\r\na\r\n"),
    "with semicolons": lambda size: chunked(b"1" + repeat(b";", size) + b"\r\na\r\n"),
    "with zeros": lambda size: chunked(repeat(b"0", size) + b"1\r\na\r\n"),
    "with a trailer": lambda size: chunked(b"", repeat(b"a: b\r\n", size // 6 * 6)),
    "with a trailer of a line": lambda size: chunked(b"", b"a: " + repeat(b" ", size) + b"\r\n"),
}
"""Rows by size, or by what is long or many in the input."""


def masked(payload: bytes = b"", first: int = 0x82) -> bytes:
    """A frame of a client, of 125 bytes at most."""
    return bytes((first, 0x80 | len(payload))) + b"\0\0\0\0" + payload


FRAMES: dict[str, Callable[[int], bytes]] = {
    "messages": lambda size: repeat(masked(b"a" * 100), size // 106 * 106),
    "empty messages": lambda size: repeat(masked(), size // 6 * 6),
    "messages of a byte": lambda size: repeat(masked(b"a"), size // 7 * 7),
    "fragments of a byte": lambda size: (
        masked(b"a", 0x02) + repeat(masked(b"a", 0x00), size // 7 * 7) + masked(b"a", 0x80)
    ),
    "empty fragments": lambda size: (
        masked(b"", 0x02) + repeat(masked(b"", 0x00), size // 6 * 6) + masked(b"", 0x80)
    ),
    "pings": lambda size: repeat(masked(b"", 0x89), size // 6 * 6),
    "long pings": lambda size: repeat(masked(b"a" * 125, 0x89), size // 131 * 131),
    "pongs": lambda size: repeat(masked(b"", 0x8A), size // 6 * 6),
    "pongs like ours": lambda size: repeat(masked(b"still there?", 0x8A), size // 18 * 18),
    "one message": lambda size: b"\x82\xff" + struct.pack("!Q", size) + b"\0\0\0\0" + bytes(size),
}
"""Rows by kind."""


class Deaf(Protocol):
    """A WebSocket protocol that ignores its input: the cost of a library is its own."""

    def dataReceived(self, data: bytes) -> None:
        """Frames arrived."""


class ForTheDeaf(Resource):
    """Opens WebSockets for them."""

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        """Take the transport over, and answer the handshake on it."""
        transport, request.channel.transport = request.channel.transport, None
        transport.protocol = protocol = Deaf()
        protocol.makeConnection(transport)
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        return NOT_DONE_YET


def speaks(data: Callable[[int], bytes], piece: int) -> Row:
    """A row of frames on an open WebSocket."""

    def row(size: int) -> Feed:
        client = MemoryServer(ForTheDeaf()).connect()
        client.request("GET", "/", HANDSHAKE)
        assert b" 101 " in client.take()
        sent = data(size)
        pieces = [sent[at : at + piece] for at in range(0, len(sent), piece)]

        def feed() -> None:
            for each in pieces:
                client.send(each)

        return feed

    return row


def prefaced(preface: bytes, piece: int) -> Row:
    """A row of PROXY protocol headers, as read by new connections."""

    def row(size: int) -> Feed:
        ends = range(piece, len(preface) + piece, piece)

        def feed() -> None:
            for _ in range(size // len(preface)):
                with contextlib.suppress(ProxyProtocolError):
                    for end in ends:
                        parse(preface[:end])

        return feed

    return row


def v2(tlvs: bytes) -> bytes:
    """A header of version 2, with these bytes after its addresses."""
    block = bytes(12) + tlvs
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(block)) + block


_ROOM = LONGEST_V2 - 28

PREFACES = {
    "version 1": b"PROXY TCP6 %b %b 10000 20000\r\n" % ((b":".join([b"ffff"] * 8),) * 2),
    "version 1, unknown": b"PROXY UNKNOWN %b\r\n" % (b"a" * 90),
    "version 1, no end": b"PROXY TCP4 " + b"1" * 200,
    "version 2": v2(b""),
    "version 2, empty TLVs": v2(b"\x04\0\0" * (_ROOM // 3)),
    "version 2, TLVs about TLS": v2(b"\x20\0\x05\0\0\0\0\0" * (_ROOM // 8)),
    "version 2, one TLV": v2(b"\x04" + struct.pack("!H", _ROOM - 3) + bytes(_ROOM - 3)),
    "version 2, no end": v2(bytes(_ROOM))[:-1],
    "neither": b"a" * 100,
}
"""Rows by kind."""


def admin() -> Root:
    """The admin endpoints of a service that does nothing."""
    service = mock.Mock(servers=[], pool=None, workers=0, listening=[])
    return Root(
        Overview(service, Clock()), allowed=Networks.parse("10.0.0.0/8"), names=[".example.com"]
    )


def asked(fields: bytes = b"", host: bytes = b"localhost", path: bytes = b"/healthz") -> bytes:
    """A request for an admin endpoint."""
    return b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (path, host, fields)


ADMIN: dict[str, Callable[[int], bytes]] = {
    "hosts": lambda size: asked(host=repeat(b"a.", size)),
    "a host of colons": lambda size: asked(host=repeat(b":", size)),
    "a host of digits": lambda size: asked(host=repeat(b"1", size)),
    "a host in brackets": lambda size: asked(host=b"[" + repeat(b"0:", size) + b"]"),
    "an origin": lambda size: asked(b"Origin: http://%b\r\n" % repeat(b"A", size)),
    "a site": lambda size: asked(b"Sec-Fetch-Site: %b\r\n" % repeat(b"a", size)),
    "a query": lambda size: asked(path=b"/healthz?" + repeat(b"a=1&;", size)),
    "a path": lambda size: asked(path=repeat(b"/a", size)),
    "credentials": lambda size: asked(b"Authorization: Basic %b\r\n" % repeat(b"A", size)),
    "a type": lambda size: post(
        b"Content-Type: application/json%b\r\n" % repeat(b";", size), b"{}"
    ),
    "a body": lambda size: post(b"Content-Type: application/json\r\n", repeat(b"[", size)),
    "a form": lambda size: multipart(part(name=b'; a="' + repeat(b";", size))),
}
"""Rows by what is long or many in the input."""


class CostTests(CostTestCase):
    """All input that an unauthenticated client can send."""

    def test_heads(self) -> None:
        """A head of any shape, read whole by the server and asked for all by the application."""
        self.assert_cheap({name: sends(curious, data, **ROOMY) for name, data in HEADS.items()})

    def test_heads_in_pieces(self) -> None:
        """The same when it comes in small pieces, and the application asks for nothing."""
        rows = {name: sends(Echo, data, piece=128, **ROOMY) for name, data in HEADS.items()}
        self.assert_cheap(rows, SIZE // 2)

    def test_requests(self) -> None:
        """Requests one after another, and what a tree of resources makes of their paths."""
        self.assert_cheap({name: sends(Deep, data) for name, data in REQUESTS.items()})

    def test_forms(self) -> None:
        """A form of any shape, whether it is asked for or not."""
        for app in (curious, Echo):
            with self.subTest(app=app):
                self.assert_cheap(
                    {
                        f"{name}, {app.__name__}": sends(app, data, **ROOMY)
                        for name, data in FORMS.items()
                    }
                )

    def test_chunks(self) -> None:
        """A body in chunks, whole and in small pieces."""
        for piece in (SIZE, 100):
            with self.subTest(piece=piece):
                self.assert_cheap(
                    {
                        f"{name}, {piece}": sends(Echo, data, piece=piece)
                        for name, data in CHUNKS.items()
                    }
                )

    def test_frames(self) -> None:
        """Frames of a WebSocket, whole and in small pieces."""
        for piece in (SIZE, 100):
            with self.subTest(piece=piece):
                self.assert_cheap(
                    {f"{name}, {piece}": speaks(data, piece) for name, data in FRAMES.items()}
                )

    def test_prefaces(self) -> None:
        """Headers of the PROXY protocol."""
        for piece in (SIZE, 100):
            with self.subTest(piece=piece):
                self.assert_cheap(
                    {f"{name}, {piece}": prefaced(data, piece) for name, data in PREFACES.items()}
                )

    def test_admin_requests(self) -> None:
        """Requests for the admin endpoints, by allowed clients and by others."""
        self.assert_cheap({name: sends(admin, data, **ROOMY) for name, data in ADMIN.items()})


class MeasurementTests(SynchronousTestCase):
    """The measurement detects excessive cost."""

    def test_what_is_quadratic_is_found(self) -> None:
        """A cost that grows with the square of the bytes is a fault, and a linear one is not."""

        def quadratic(size: int) -> Feed:
            return lambda: [sum(range(at // 32)) for at in range(0, size, 64)]

        def linear(size: int) -> Feed:
            return lambda: [sum(range(1000)) for _ in range(0, size, 64)]

        self.assertIn("times the bytes", cost_of(quadratic).fault)
        self.assertEqual(cost_of(linear).fault, "")

    def test_what_is_dear_is_found(self) -> None:
        """A cost of some microseconds a byte is a fault, however it grows."""

        def dear(size: int) -> Feed:
            return lambda: sum(sum(range(200)) & 1 for _ in range(size))

        self.assertIn("cost", cost_of(dear).fault)
