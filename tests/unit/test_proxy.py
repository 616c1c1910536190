"""What trusted proxies say of their clients, and what nobody else can say."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.web.resource import Resource
from twisted.web.server import Request

from twisted_graceful.http.forwarded_request import ForwardedRequest
from twisted_graceful.http.log.access_log import AccessLog
from twisted_graceful.http.proxies import UNKNOWN, Proxies
from twisted_graceful.networks import Networks
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.memory_transport import CLIENT, SERVER

from ..case import SynchronousTestCase
from .support import examples

NETWORKS = Networks.parse("127.0.0.1,::1,10.0.0.0/8")
PROXIES = Proxies(NETWORKS)

TRUSTED = ("127.0.0.1", "10.1.2.3", "[::1]:4711", "::1", "10.0.0.1:80", "::ffff:10.0.0.1")
FOREIGN = ("192.0.2.1", "192.0.2.1:5678", "2001:db8::1", '"[2001:db8::1]:80"', "127.0.0.2")
WRONG = ("unknown", "_hidden", "1.2.3", "1.2.3.4:", "1.2.3.4:65536", "[1.2.3.4", "::1%lo", "a b")


def client(*values: str) -> IAddress | None:
    """The client of these values."""
    return PROXIES.client_and_scheme([value.encode() for value in values], [])[0]


def tcp(host: str, port: int = 0) -> IAddress:
    """An address of either family."""
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


class ClientTests(SynchronousTestCase):
    """The client of ``X-Forwarded-For``."""

    def test_forms(self) -> None:
        """An address may have a port, brackets and quotes; IPv6 is in its one canonical form."""
        for text, expected in (
            ("192.0.2.1", tcp("192.0.2.1")),
            ("192.0.2.1:5678", tcp("192.0.2.1", 5678)),
            ('"192.0.2.1:5678"', tcp("192.0.2.1", 5678)),
            ("2001:DB8:0::1", tcp("2001:db8::1")),
            ("2001:db8::1:80", tcp("2001:db8::1:80")),
            ("[2001:db8::1]", tcp("2001:db8::1")),
            ("[2001:db8::1]:80", tcp("2001:db8::1", 80)),
            ('"[2001:db8::1]:80"', tcp("2001:db8::1", 80)),
            ("::ffff:192.0.2.1", tcp("192.0.2.1")),
            ("\t192.0.2.1 ", tcp("192.0.2.1")),
        ):
            with self.subTest(text=text, expected=expected):
                self.assertEqual(client(text), expected)

    def test_rightmost_that_is_no_proxy(self) -> None:
        """Proxies are passed over from the right, and what is left of the client is not read."""
        for text, expected in (
            ("192.0.2.9, 192.0.2.1", tcp("192.0.2.1")),
            ("192.0.2.9, 192.0.2.1, 10.0.0.1, 127.0.0.1", tcp("192.0.2.1")),
            ("127.0.0.1, 192.0.2.1", tcp("192.0.2.1")),
            ("unknown, 192.0.2.1", tcp("192.0.2.1")),
        ):
            with self.subTest(text=text, expected=expected):
                self.assertEqual(client(text), expected)

    def test_all_are_proxies(self) -> None:
        """If all are proxies of ours, the first of them is the client."""
        self.assertEqual(client("10.0.0.3, 10.0.0.2, 10.0.0.1"), tcp("10.0.0.3"))

    def test_long_list(self) -> None:
        """A list may be of any length."""
        self.assertEqual(client("192.0.2.9, " * 1000 + "192.0.2.1"), tcp("192.0.2.1"))
        self.assertEqual(client("192.0.2.1" + ", 10.0.0.1" * 1000), tcp("192.0.2.1"))

    def test_several_lines(self) -> None:
        """The values of several lines are one list."""
        self.assertEqual(client("192.0.2.9", "192.0.2.1, 10.0.0.1", "10.0.0.2"), tcp("192.0.2.1"))

    def test_empty_elements(self) -> None:
        """Empty elements do not count, and a client that a list of them names is not known."""
        self.assertEqual(client(", 192.0.2.1,, ,10.0.0.1,"), tcp("192.0.2.1"))
        self.assertEqual(client(" ,, "), UNKNOWN)
        self.assertEqual(client(""), UNKNOWN)
        self.assertIsNone(client())

    def test_malformed(self) -> None:
        """If the entry that counts is no address, the client is not known."""
        for text in (*WRONG, "1" * 100_000, "[" * 100, '"192.0.2.1', "192.0.2.1, x, 10.0.0.1"):
            with self.subTest(text=text):
                self.assertEqual(client(text), UNKNOWN)

    def test_star(self) -> None:
        """With `*` the last entry is the client, unless it is in a network that is named too."""
        values = [b"192.0.2.9, 192.0.2.1, 10.0.0.1"]
        for text, expected in (("*", "10.0.0.1"), ("*,10.0.0.0/8", "192.0.2.1")):
            with self.subTest(text=text, expected=expected):
                proxies = Proxies(Networks.parse(text))
                self.assertTrue(proxies.trusts(tcp("198.51.100.1")))
                self.assertEqual(proxies.client_and_scheme(values, [])[0], tcp(expected))

    @examples
    @given(st.lists(st.sampled_from([*TRUSTED, *FOREIGN, *WRONG, ""])), st.data())
    def test_any_list(self, entries: list[str], data: st.DataObject) -> None:
        """Whatever is in the list, and on how many lines, the plain rule says who is meant."""
        cut = data.draw(st.integers(0, len(entries)))
        lines = [", ".join(entries[:cut]), ",".join(entries[cut:])]
        counting = [each for each in entries if each]
        expected: IAddress | None = None
        if not counting:
            expected = UNKNOWN
        while counting and expected is None:
            entry = counting.pop()
            if entry in WRONG:
                expected = UNKNOWN
                break
            if entry in FOREIGN or not counting:
                expected = client(entry)
        self.assertEqual(client(*lines), expected)

    @examples
    @given(st.text(alphabet='192.0:f[]", x', max_size=40), st.sampled_from(FOREIGN))
    def test_nothing_can_be_forged(self, forged: str, seen: str) -> None:
        """Whatever a client sends, the address from which a proxy saw it is the one."""
        self.assertEqual(client(f"{forged}, {seen}"), client(seen))
        self.assertEqual(client(forged, f"{seen}, 10.0.0.1"), client(seen))

    @examples
    @given(st.lists(st.binary(max_size=80), min_size=1))
    def test_any_bytes(self, values: list[bytes]) -> None:
        """No bytes make it raise."""
        PROXIES.client_and_scheme(values, values)


class TrustTests(SynchronousTestCase):
    """The peers that are believed."""

    def test_peers(self) -> None:
        """Peers in the networks, and those that can open a UNIX socket of ours."""
        for peer, expected in (
            (tcp("127.0.0.1", 1234), True),
            (tcp("::ffff:127.0.0.1", 1234), True),
            (tcp("192.0.2.1"), False),
            (UNIXAddress(None), True),
        ):
            with self.subTest(peer=peer, expected=expected):
                self.assertEqual(PROXIES.trusts(peer), expected)


class SchemeTests(SynchronousTestCase):
    """The scheme of ``X-Forwarded-Proto``."""

    def said(self, *values: bytes, passed: int = 0) -> bool | None:
        """What these values say of a client with so many proxies of ours before it."""
        addresses = [b"192.0.2.1", *[b"10.0.0.1"] * passed]
        return PROXIES.client_and_scheme(addresses, values)[1]

    def test_schemes(self) -> None:
        """The schemes of HTTP and of WebSockets are known, and no other."""
        for value, expected in (
            (b"https", True),
            (b"HTTPS ", True),
            (b"wss", True),
            (b"http", False),
            (b"ws", False),
            (b"", None),
            (b"ftp", None),
            (b"https;", None),
        ):
            with self.subTest(value=value, expected=expected):
                self.assertEqual(self.said(value), expected)

    def test_one_for_all_proxies(self) -> None:
        """One scheme counts however many proxies are between."""
        self.assertIs(self.said(b"https", passed=3), True)

    def test_a_list(self) -> None:
        """Of a list the one that stands where the client does in ``X-Forwarded-For`` counts."""
        self.assertIs(self.said(b"https, http"), False)
        self.assertIs(self.said(b"http", b"https,http", passed=1), True)
        self.assertIs(self.said(b"https,http", passed=5), True)
        self.assertIsNone(self.said(b"https,"))

    def test_all_are_proxies(self) -> None:
        """It stands first if the client does; and counts as the last one if there is none."""
        self.assertIs(PROXIES.client_and_scheme([b"10.0.0.2,10.0.0.1"], [b"https,http"])[1], True)
        for addresses in ([], [b""], [b"x, 10.0.0.1"]):
            with self.subTest(addresses=addresses):
                self.assertIs(PROXIES.client_and_scheme(addresses, [b"https,http"])[1], False)


class Seen(Resource):
    """Keeps the requests that it answers."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render(self, request: Request) -> bytes:
        """Keep it, with what it could say as long as it was open."""
        request.url = request.prePathURL()
        request.getSession()
        self.requests.append(request)
        return b""


class RequestTests(SynchronousTestCase):
    """What applications see."""

    def ask(self, *fields: str, host: str = "example.com", **settings: Any) -> Request:
        """Send a request with these fields; it as the application saw it."""
        [request] = self.ask_all([fields], host, **{"proxy_headers": True, **settings})
        return request

    def ask_all(
        self, requests: Sequence[Sequence[str]], host: str = "example.com", **settings: Any
    ) -> list[Request]:
        """Send several requests on one connection."""
        seen = Seen()
        self.server = MemoryServer(seen, **settings)
        connection = self.server.connect()
        for fields in requests:
            head = "\r\n".join(("GET / HTTP/1.1", f"Host: {host}", *fields, "\r\n"))
            connection.send(head.encode("latin-1"))
        self.answer = connection.received
        # The timeouts of the sessions are no business of these tests.
        for session in tuple(self.server.site.sessions.values()):
            session.expire()
        return seen.requests

    def test_client(self) -> None:
        """The client's address is what Twisted's three ways to ask for it return."""
        request = self.ask("X-Forwarded-For: 192.0.2.1:5678")
        self.assertEqual(request.getClientAddress(), tcp("192.0.2.1", 5678))
        self.assertEqual(request.client, tcp("192.0.2.1", 5678))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.assertEqual(request.getClientIP(), "192.0.2.1")

    def test_secure(self) -> None:
        """A client that speaks TLS has a secure session, and URLs with its scheme and port."""
        request = self.ask("X-Forwarded-Proto: https")
        self.assertTrue(request.isSecure())
        self.assertEqual(request.url, b"https://example.com/")
        self.assertEqual(request.getHost(), tcp(SERVER[0], 443))
        self.assertIn(b"TWISTED_SECURE_SESSION", self.answer)

    def test_not_secure(self) -> None:
        """A client that does not has none, and the URL has the port that it asked."""
        request = self.ask("X-Forwarded-Proto: http", host="example.com:8080")
        self.assertFalse(request.isSecure())
        self.assertEqual(request.url, b"http://example.com:8080/")
        self.assertNotIn(b"TWISTED_SECURE_SESSION", self.answer)

    def test_ports(self) -> None:
        """A port of the Host field that is none is the scheme's own."""
        for host, port in (
            ("[::1]", 443),
            ("[::1]:8443", 8443),
            ("example.com:", 443),
            ("example.com:0", 443),
        ):
            with self.subTest(host=host, port=port):
                self.assertEqual(
                    self.ask("X-Forwarded-Proto: https", host=host).getHost().port, port
                )

    def test_the_application_has_the_last_word(self) -> None:
        """What the application says with Twisted's `setHost` counts."""
        request = self.ask("X-Forwarded-Proto: http")
        request.setHost(b"example.org", 443, ssl=True)
        self.assertTrue(request.isSecure())
        self.assertEqual(request.getHost().port, 443)

    def test_each_request_for_itself(self) -> None:
        """The requests of one connection, which are of several clients, are not mixed up."""
        requests = self.ask_all(
            [
                ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"],
                ["X-Forwarded-For: 192.0.2.2"],
                [],
            ],
            proxy_headers=True,
        )
        self.assertEqual(
            [(each.client, each.isSecure()) for each in requests],
            [(tcp("192.0.2.1"), True), (tcp("192.0.2.2"), False), (tcp(*CLIENT), False)],
        )

    def test_malformed(self) -> None:
        """A client that a proxy does not name is unknown, and not taken for the proxy."""
        for value in (*WRONG, "", "\xff", "1.2.3.4, x"):
            with self.subTest(value=value):
                request = self.ask(f"X-Forwarded-For: {value}", f"X-Forwarded-Proto: {value}")
                self.assertEqual(request.client, UNKNOWN)
                self.assertEqual(request.getClientAddress().host, "unknown")
                self.assertFalse(request.isSecure())
                self.assertEqual(request.getHost(), tcp(*SERVER))

    def test_fields_stay(self) -> None:
        """The application sees the fields as they were sent."""
        fields = ("X-Forwarded-For: x, 192.0.2.1", "X-Forwarded-For: 10.0.0.1")
        for trusted in (True, False):
            with self.subTest(trusted=trusted):
                [request] = self.ask_all([fields], proxy_headers=trusted)
                self.assertEqual(
                    request.requestHeaders.getRawHeaders(b"X-Forwarded-For"),
                    [b"x, 192.0.2.1", b"10.0.0.1"],
                )

    def test_other_fields(self) -> None:
        """Fields that proxies pass on as clients send them are not believed."""
        request = self.ask(
            "Forwarded: for=192.0.2.1;proto=https",
            "X-Real-IP: 192.0.2.1",
            "X-Forwarded-Host: example.org",
            "X-Forwarded-Port: 444",
        )
        self.assertEqual((request.client, request.isSecure()), (tcp(*CLIENT), False))
        self.assertEqual(request.url, b"http://example.com/")

    def test_untrusted(self) -> None:
        """Without the setting, and of other peers, nothing is believed, and nothing is slower."""
        fields = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")
        for settings in (
            {},
            {"forwarded_allow_ips": "*"},
            {"proxy_headers": True, "forwarded_allow_ips": "10.0.0.1"},
            {"proxy_headers": True, "forwarded_allow_ips": ""},
        ):
            with self.subTest(settings=settings):
                [request] = self.ask_all([fields], **settings)
                self.assertEqual((request.client, request.isSecure()), (tcp(*CLIENT), False))
                self.assertEqual(request.getHost(), tcp(*SERVER))
                self.assertNotIsInstance(request, ForwardedRequest)

    def test_request_id(self) -> None:
        """The identifier that a trusted proxy gives is kept, and no other one."""
        field = "X-Request-ID: from-the-proxy"
        self.assertEqual(self.ask(field).request_id, "from-the-proxy")
        request = self.ask(field, forwarded_allow_ips="10.0.0.1")
        self.assertNotEqual(request.request_id, "from-the-proxy")

    def test_access_log(self) -> None:
        """The access log shows the client, of requests that are refused too."""
        fields = ("X-Forwarded-For: 192.0.2.1", "X-Request-ID: from-the-proxy")
        server = MemoryServer(Seen(), proxy_headers=True, max_body_size=10)
        lines: list[bytes] = []
        server.site.access_log = AccessLog("json", server.clock, lines.append)
        for more in ("Connection: close", "Content-Length: 11"):
            server.request("POST", "/", dict(each.split(": ") for each in (*fields, more)))
        logged = [json.loads(each) for each in lines]
        self.assertEqual([each["status"] for each in logged], [200, 413])
        for each in logged:
            with self.subTest(each=each):
                self.assertEqual(
                    (each["client"], each["request_id"]), ("192.0.2.1", "from-the-proxy")
                )
