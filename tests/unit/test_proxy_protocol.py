"""The header of the PROXY protocol: what is one, what it says, and what is none."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.protocols.haproxy._exceptions import InvalidProxyHeader
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser

from twisted_graceful.http.io.proxy_protocol import (
    LONGEST_V1,
    LONGEST_V2,
    SIGNATURE,
    Header,
    Proxied,
    ProxyProtocolError,
    parse,
)

from ..case import SynchronousTestCase
from .proxy_headers import BLOCK4, LOCAL, PROXY, SAID4, SAID6, TCP4, TCP6, tls, tlv, v2
from .support import examples


@dataclass(frozen=True)
class Sent:
    """A header, and what it says."""

    data: bytes
    proxied: Proxied | None


ports = st.integers(0, 65535)
tlvs = st.lists(st.builds(tlv, st.integers(0, 0x1F), st.binary(max_size=20)), max_size=3)


def twisted_address(kind: Literal["TCP", "UDP"], found: str, port: int) -> object:
    """An address as Twisted has it; IPv4 in IPv6 is IPv4."""
    address = ipaddress.ip_address(found)
    address = getattr(address, "ipv4_mapped", None) or address
    return (IPv4Address if address.version == 4 else IPv6Address)(kind, str(address), port)


@st.composite
def headers_with_addresses(draw: st.DrawFn) -> Sent:
    """Headers of either version that say who the client is."""
    version = draw(st.sampled_from([4, 6]))
    source, destination = draw(st.tuples(*[st.ip_addresses(v=version)] * 2))
    source_port, destination_port = draw(st.tuples(ports, ports))
    kind: Literal["TCP", "UDP"] = "TCP"
    secure = False
    if draw(st.booleans()):
        spell = draw(st.sampled_from(["compressed", "exploded"]))
        texts = [getattr(each, spell) for each in (source, destination)]
        texts = draw(st.sampled_from([texts, [each.upper() for each in texts]]))
        data = f"PROXY TCP{version} {texts[0]} {texts[1]} {source_port} {destination_port}\r\n"
        sent = data.encode()
    else:
        kind = draw(st.sampled_from(["TCP", "UDP"]))
        secure = draw(st.booleans())
        more = draw(tlvs) + ([tls(1)] if secure else [])
        block = source.packed + destination.packed
        block += struct.pack("!HH", source_port, destination_port) + b"".join(more)
        family = {4: 0x10, 6: 0x20}[version]
        sent = v2(PROXY, family | {"TCP": 1, "UDP": 2}[kind], block)
    return Sent(
        sent,
        Proxied(
            twisted_address(kind, str(source), source_port),
            twisted_address(kind, str(destination), destination_port),
            secure,
        ),
    )


rest_of_unknown = st.binary(max_size=80).map(lambda each: each.replace(b"\r", b""))

headers_without = st.one_of(
    rest_of_unknown.map(lambda rest: Sent(b"PROXY UNKNOWN " + rest + b"\r\n", None)),
    st.just(Sent(b"PROXY UNKNOWN\r\n", None)),
    st.builds(
        lambda kind, block: Sent(v2(LOCAL, kind, block), None),
        st.integers(0, 255),
        st.binary(max_size=300),
    ),
    st.builds(
        lambda kind, block: Sent(v2(PROXY, kind, block), None),
        st.sampled_from([0x00, 0x01, 0x02, 0x10, 0x20, 0x30]),
        st.binary(max_size=300),
    ),
    st.binary(min_size=216, max_size=216).map(lambda block: Sent(v2(PROXY, 0x31, block), None)),
)

headers = st.one_of(headers_with_addresses(), headers_without)

nearly = st.one_of(
    st.binary(max_size=20),
    st.builds(lambda sent, cut, more: sent.data[:cut] + more, headers, ports, st.binary()),
    st.builds(lambda rest: SIGNATURE + rest, st.binary(max_size=300)),
    st.text(alphabet="PROXYTCUNKW46 0:.1f\r\n", max_size=120).map(lambda text: text.encode()),
)
"""Bytes that are a header, or begin like one."""


def verdict(data: bytes) -> Header | str | None:
    """What is made of bytes; of those that are no header, `"refused"`."""
    try:
        return parse(data)
    except ProxyProtocolError:
        return "refused"


class ParserTests(SynchronousTestCase):
    """Bytes to headers."""

    def refused(self, data: bytes) -> str:
        """Why these bytes are no header."""
        return str(self.assertRaises(ProxyProtocolError, parse, data))

    def test_version_1(self) -> None:
        """A line says both addresses; what follows it is not read."""
        self.assertEqual(parse(TCP4 + b"GET /"), Header(len(TCP4), SAID4))
        self.assertEqual(parse(TCP6 + b"\r\n"), Header(len(TCP6), SAID6))

    def test_version_2(self) -> None:
        """A block says both addresses; TLVs that we have no use for are skipped."""
        data = v2(PROXY, 0x11, BLOCK4 + tlv(0x04, b"padding") + tlv(0xEA, b"vpce-1234"))
        self.assertEqual(parse(data + b"GET /"), Header(len(data), SAID4))

    def test_longest_line(self) -> None:
        """The longest line of the specification is taken, and one byte more is not."""
        full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        line = f"PROXY UNKNOWN {full} {full} 65535 65535\r\n".encode()
        self.assertEqual((len(line), parse(line)), (LONGEST_V1, Header(LONGEST_V1)))
        self.assertIsNotNone(parse(line.replace(b"UNKNOWN", b"TCP6")))
        self.assertIn("no end within 107 bytes", self.refused(line.replace(b"\r", b"x\r")))

    def test_largest_block(self) -> None:
        """A header may have so many bytes, and is refused at once if it announces one more."""
        most = LONGEST_V2 - 16
        data = v2(LOCAL, 0, b"x" * most)
        self.assertEqual(parse(data), Header(LONGEST_V2))
        self.assertIn("it has 4097 bytes", self.refused(v2(LOCAL, 0, length=most + 1)))

    def test_without_addresses(self) -> None:
        """Health checks, and clients without an IP address, have those of the connection."""
        for data in (
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN \n anything\0 at all\r\n",
            v2(LOCAL, 0x00),
            v2(LOCAL, 0xFF, b"what comes is ignored"),
            v2(PROXY, 0x00),
            v2(PROXY, 0x00, BLOCK4),
            v2(PROXY, 0x10, BLOCK4),
            v2(PROXY, 0x31, bytes(216)),
            v2(PROXY, 0x32, b"/run/app.sock".ljust(108, b"\0") * 2),
        ):
            with self.subTest(data=data):
                self.assertEqual(parse(data + b"GET /"), Header(len(data)))

    def test_tls(self) -> None:
        """The proxy may say that its client speaks TLS; the last word counts."""
        for more, expected in (
            (tls(1), True),
            (tls(7), True),
            (tls(0), False),
            (tls(6), False),
            (tlv(0x04) + tls(1) + tlv(0x30, b"netns"), True),
            (tlv(0x21, b"TLSv1.3"), False),
        ):
            with self.subTest(more=more, expected=expected):
                header = parse(v2(PROXY, 0x11, BLOCK4 + more))
                assert header is not None
                assert header.proxied is not None
                self.assertEqual(header.proxied.secure, expected)

    def test_ipv4_in_ipv6(self) -> None:
        """HAProxy writes the one in the other when source and destination differ in kind."""
        mapped = ipaddress.ip_address("::ffff:192.0.2.1").packed
        block = mapped + ipaddress.ip_address("2001:db8::2").packed
        for data in (
            b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 443\r\n",
            v2(PROXY, 0x21, block + struct.pack("!HH", 56324, 443)),
        ):
            with self.subTest(data=data):
                said = Proxied(SAID4.source, SAID6.destination)
                self.assertEqual(parse(data), Header(len(data), said))

    def test_refused(self) -> None:
        """What is no header is refused, with what was wrong."""
        for data, reason in (
            (b"GET / HTTP/1.1\r\n", "it begins with b'GET / HTTP/1.1\\r\\n'"),
            (b"\x16\x03\x01\x02", "it begins with b'\\x16\\x03\\x01\\x02'"),
            (b"\r\n\r\nG", "begins with"),
            (b"PROXY\t", "begins with"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n", "malformed"),
            (b"PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 -443\r\n", "malformed"),
            (b"PROXY TCP5 192.0.2.1 198.51.100.1 56324 443\r\n", "malformed"),
            (b"PROXY tcp4 192.0.2.1 198.51.100.1 56324 443\r\n", "malformed"),
            (b"PROXY UNKNOWNS\r\n", "malformed"),
            (b"PROXY UDP4 192.0.2.1 198.51.100.1 56324 443\r\n", "malformed"),
            (b"PROXY TCP6 fe80::1%lo fe80::2%lo 56324 443\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n", "192.0.2.256"),
            (b"PROXY TCP4 192.0.2.01 198.51.100.1 56324 443\r\n", "192.0.2.01"),
            (b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n", "2001:db8::1"),
            (b"PROXY TCP6 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", "65536 is no port"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 0443\r\n", "0443 is no port"),
            (v2(0x11, 0x11, BLOCK4), "version and command are 0x11"),
            (v2(0x22, 0x11, BLOCK4), "version and command are 0x22"),
            (v2(PROXY, 0x41, BLOCK4), "family and transport are 0x41"),
            (v2(PROXY, 0x13, BLOCK4), "family and transport are 0x13"),
            (v2(PROXY, 0x11, BLOCK4[:-1]), "11 bytes do not hold"),
            (v2(PROXY, 0x21, BLOCK4), "12 bytes do not hold"),
            (v2(PROXY, 0x31, bytes(215)), "215 bytes do not hold"),
            (v2(PROXY, 0x11, BLOCK4 + b"\x04\0"), "TLV is cut off"),
            (v2(PROXY, 0x11, BLOCK4 + tlv(0x04, b"x")[:-1]), "TLV is cut off"),
            (v2(PROXY, 0x11, BLOCK4 + tlv(0x20, b"\1\0\0\0")), "about TLS is too short"),
        ):
            with self.subTest(data=data, reason=reason):
                self.assertIn(reason, self.refused(data))

    @examples
    @given(headers, st.binary(max_size=20))
    def test_round_trip(self, sent: Sent, rest: bytes) -> None:
        """Every header that can be written says what it was made from, whatever follows it."""
        self.assertEqual(parse(sent.data + rest), Header(len(sent.data), sent.proxied))

    @examples
    @given(headers)
    def test_incomplete(self, sent: Sent) -> None:
        """Every beginning of a header is the beginning of one."""
        for end in range(len(sent.data)):
            self.assertIsNone(parse(sent.data[:end]), end)

    @examples
    @given(nearly)
    def test_any_bytes_in_any_pieces(self, data: bytes) -> None:
        """However bytes arrive, the verdict is the same, and it is final when it is given."""
        final = verdict(data)
        for end in range(len(data)):
            early = verdict(data[:end])
            self.assertIn(early, (None, final), data[:end])


def of_twisted(data: bytes) -> tuple[object, object] | str:
    """What Twisted's parsers make of bytes that come at once."""
    parser = V2Parser() if data.startswith(SIGNATURE) else V1Parser()
    try:
        info, _ = parser.feed(data)
    except InvalidProxyHeader:
        return "refused"
    except Exception as error:
        return type(error).__name__
    return "incomplete" if info is None else (info.source, info.destination)


class TwistedTests(SynchronousTestCase):
    """Beside the parsers of `twisted.protocols.haproxy`."""

    @examples
    @given(headers_with_addresses())
    def test_same_addresses(self, sent: Sent) -> None:
        """Of a header that is one, both make the same addresses."""
        assert sent.proxied is not None
        theirs = [
            twisted_address(each.type, each.host, each.port) for each in of_twisted(sent.data)
        ]
        self.assertEqual(theirs, [sent.proxied.source, sent.proxied.destination])

    def test_differences(self) -> None:
        """Each difference is one that we want."""
        for data, ours, theirs in (
            # What is no address is none.
            (b"PROXY TCP4 example.com x 1 2\r\n", "refused", "taken"),
            (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "refused", "taken"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 99999 2\r\n", "refused", "taken"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "refused", "taken"),
            # A line ends where it ends.
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 more\r\n", "refused", "taken"),
            (b"PROXY UNKNOWN" + b" " * 200 + b"\r\n", "refused", "taken"),
            # The rest of UNKNOWN may be omitted.
            (b"PROXY UNKNOWN\r\n", "taken", "refused"),
            # Nothing that is sent is our own fault.
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 one 2\r\n", "refused", "ValueError"),
            (b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n", "refused", "UnicodeDecodeError"),
            # A header may come in pieces.
            (SIGNATURE, "incomplete", "refused"),
            # A TLV is whole.
            (v2(PROXY, 0x11, BLOCK4 + b"\x04"), "refused", "taken"),
            # Sixteen bytes say how long it is; what is too long is not waited for.
            (v2(LOCAL, 0, length=0xFFFF), "refused", "incomplete"),
        ):
            with self.subTest(data=data, ours=ours):
                found = of_twisted(data)
                self.assertEqual(found if isinstance(found, str) else "taken", theirs)
                mine = verdict(data)
                said = (
                    "incomplete" if mine is None else "taken" if isinstance(mine, Header) else mine
                )
                self.assertEqual(said, ours)
