"""Connections that begin with a PROXY header."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import Request

from twisted_graceful.http.http1.channel import Channel
from twisted_graceful.http.phases import ConnectionPhase
from twisted_graceful.testing import MemoryConnection, MemoryServer
from twisted_graceful.testing.memory_transport import CLIENT, SERVER

from ..case import SynchronousTestCase
from .proxy_headers import BLOCK4, LOCAL, PROXY, SAID4, TCP4, tls, v2
from .secure import SecureClient, SecureServer
from .support import examples
from .web import ANSWER, GET, Echo

V2 = v2(PROXY, 0x11, BLOCK4)
SAYING = (TCP4, V2)
"""Headers that say who the client is."""


class Who(Resource):
    """Keeps what connections and requests say of their client."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    def render(self, request: Request) -> bytes:
        """Keep it."""
        channel = request.channel
        self.seen.append((request.client, request.getHost(), request.isSecure()))
        assert channel.getPeer() == channel.transport.getPeer()
        assert channel.getHost() == channel.transport.getHost()
        return b"\n"


class PrefaceTestCase(SynchronousTestCase):
    """A server whose connections begin with a PROXY header."""

    def serve(self, app: Resource | None = None, **settings: Any) -> MemoryServer:
        """Serve, and keep what is logged."""
        logged: list[str] = []
        self.logged = logged

        def observe(event: Any) -> None:
            if "peer" in event:
                logged.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        app = Echo() if app is None else app
        return MemoryServer(app, **{"proxy_protocol": True, **settings})

    def connect(self, *sent: bytes, **settings: Any) -> MemoryConnection:
        """A connection on which these pieces were sent."""
        self.server = self.serve(**settings)
        client = self.server.connect()
        for each in sent:
            client.send(each)
        return client

    @property
    def phases(self) -> list[ConnectionPhase]:
        """What the connections of the server are doing."""
        return [each.phase for each in self.server.connections]


class HeaderTests(PrefaceTestCase):
    """Headers that come as they should."""

    def seen(self, *sent: bytes, **settings: Any) -> tuple[Any, ...]:
        """What is known of the client that sends these."""
        who = Who()
        self.connect(*sent, app=who, **settings)
        return who.seen[-1]

    def test_addresses(self) -> None:
        """The addresses of the header are those of the connection and its requests."""
        for header in SAYING:
            with self.subTest(header=header):
                self.assertEqual(self.seen(header + GET), (SAID4.source, SAID4.destination, False))

    def test_one_answer_after_the_other(self) -> None:
        """The header stands before the first request, and not before the second."""
        client = self.connect(TCP4 + GET)
        self.assertEqual(client.responses()[0].body, ANSWER)
        client.send(GET)
        self.assertEqual(client.responses()[0].body, ANSWER)

    def test_own_addresses(self) -> None:
        """A health check of the proxy has the addresses of its connection."""
        own = (IPv4Address("TCP", *CLIENT), IPv4Address("TCP", *SERVER), False)
        for header in (v2(LOCAL, 0), v2(LOCAL, 0x11, BLOCK4), b"PROXY UNKNOWN\r\n"):
            with self.subTest(header=header):
                self.assertEqual(self.seen(header + GET), own)

    def test_tls(self) -> None:
        """A client that speaks TLS with the proxy is secure."""
        self.assertIs(self.seen(v2(PROXY, 0x11, BLOCK4 + tls(1)) + GET)[2], True)

    def test_nothing_is_between(self) -> None:
        """After the header the connection is as any other."""
        client = self.connect(TCP4)
        [connection] = self.server.connections
        self.assertIs(type(connection), Channel)
        self.assertIs(connection.transport.protocol, connection)
        client.send(GET)
        self.assertEqual(client.responses()[0].body, ANSWER)
        client.close()
        self.assertEqual(len(self.server.connections), 0)

    @examples
    @given(st.sampled_from([*SAYING, v2(LOCAL, 0)]), st.lists(st.integers(0, 150)))
    def test_any_pieces(self, header: bytes, cuts: list[int]) -> None:
        """However header and requests are cut into pieces, all requests are answered."""
        stream = header + GET + GET
        edges = sorted({0, len(stream), *(each % len(stream) for each in cuts)})
        pieces = [stream[begin:end] for begin, end in pairwise(edges)]
        self.assertEqual([each.body for each in self.connect(*pieces).responses()], [ANSWER] * 2)

    def test_half_closed(self) -> None:
        """A client that sends all at once and closes its side gets its answer."""
        self.server = self.serve()
        client = self.server.connect()
        client.arrive(V2 + GET)
        client.finish()
        self.assertEqual(client.responses()[0].body, ANSWER)
        self.assertTrue(client.ended)

    def test_fields_of_its_own_clients(self) -> None:
        """What a proxy that is trusted says in its header is whom to believe in the fields."""
        fields = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n"
        for allowed, expected in (
            ("127.0.0.1", "192.0.2.1"),  # the header names a client, who may send any field
            ("127.0.0.1,192.0.2.1", "203.0.113.1"),  # it names a further proxy
        ):
            with self.subTest(allowed=allowed, expected=expected):
                client, _, _ = self.seen(
                    TCP4 + fields, proxy_headers=True, forwarded_allow_ips=allowed
                )
                self.assertEqual(client.host, expected)

    def test_off(self) -> None:
        """Without the setting a header is no request, and a request needs none."""
        client = self.connect(TCP4 + GET, proxy_protocol=False)
        self.assertEqual(client.responses()[0].status, 400)
        client = self.connect(GET, proxy_protocol=False)
        self.assertEqual(client.responses()[0].status, 200)


class RefusedTests(PrefaceTestCase):
    """Connections that do not begin with one."""

    def test_no_header(self) -> None:
        """What is no header closes the connection unanswered, and the log says what it was."""
        client = self.connect(GET)
        self.assertEqual((client.received, client.closed), (b"", True))
        self.assertEqual(len(self.server.connections), 0)
        [line] = self.logged
        self.assertIn("127.0.0.1", line)
        self.assertIn("no PROXY header: it begins with b'GET /x", line)

    def test_after_a_good_begin(self) -> None:
        """So does what turns out to be none later."""
        client = self.connect(b"PROXY TCP4 192.0.2.1 ", b"x" * 100, b"more")
        self.assertTrue(client.closed)
        self.assertEqual(len(self.logged), 1)

    def test_untrusted(self) -> None:
        """Whoever is no proxy of ours is closed before a byte is read, and named."""
        client = self.connect(forwarded_allow_ips="10.0.0.0/8")
        self.assertTrue(client.closed)
        [line] = self.logged
        self.assertIn("127.0.0.1", line)
        self.assertIn("forwarded_allow_ips", line)

    def test_untrusted_with_a_header(self) -> None:
        """The header of somebody else counts for nothing."""
        self.server = self.serve(forwarded_allow_ips="10.0.0.0/8")
        client = self.server.connect()
        client.arrive(TCP4 + GET)
        self.assertEqual((client.received, client.closed), (b"", True))

    def test_from_anywhere(self) -> None:
        """With `*` any peer may be the proxy."""
        client = self.connect(TCP4 + GET, forwarded_allow_ips="*")
        self.assertEqual(client.responses()[0].body, ANSWER)

    def test_client_goes(self) -> None:
        """A client that goes without a word, as checks of a port do, is forgotten silently."""
        for leave in (MemoryConnection.close, MemoryConnection.finish, MemoryConnection.abort):
            for sent in (b"", TCP4[:20]):
                with self.subTest(leave=leave, sent=sent):
                    client = self.connect(sent)
                    leave(client)
                    self.assertEqual(len(self.server.connections), 0)
                    self.assertEqual(self.logged, [])

    def test_nothing_is_left(self) -> None:
        """A connection that was refused leaves no timer behind."""
        self.connect(GET)
        self.server.advance(10)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])


class SecureTests(PrefaceTestCase):
    """The header before TLS."""

    def test_tls_behind_it(self) -> None:
        """TLS is spoken behind the header, and the client is the one that it names."""
        who = Who()
        self.server = SecureServer(self, who, proxy_protocol=True)
        client = SecureClient(self.server.connect())
        self.assertEqual(self.phases, [ConnectionPhase.SILENT])
        client.wire.send(TCP4)
        self.assertEqual(self.phases, [ConnectionPhase.SILENT])
        client.wire.send(client.handshake_step())
        self.assertEqual(self.phases, [ConnectionPhase.HANDSHAKING])
        client.shake_hands()
        client.send(GET)
        self.assertEqual(client.responses()[0].status, 200)
        self.assertEqual(who.seen, [(SAID4.source, SAID4.destination, True)])

    def test_at_once(self) -> None:
        """The client's hello may come with the header, and in any pieces."""
        server = SecureServer(self, Echo(), proxy_protocol=True)
        for size in (10_000, 7, 1):
            with self.subTest(size=size):
                client = SecureClient(server.connect())
                stream = V2 + client.handshake_step()
                for begin in range(0, len(stream), size):
                    client.wire.send(stream[begin : begin + size])
                client.shake_hands()
                client.send(GET)
                self.assertEqual(client.responses()[0].body, ANSWER)

    def test_without_a_header(self) -> None:
        """A client that begins with TLS is no proxy."""
        self.server = SecureServer(self, Echo(), proxy_protocol=True)
        client = SecureClient(self.server.connect())
        client.wire.send(client.handshake_step())
        self.assertTrue(client.wire.closed)
        self.assertEqual(len(self.server.connections), 0)

    def test_drain(self) -> None:
        """A drain closes what waits for its header, before TLS as before HTTP."""
        self.server = SecureServer(self, Echo(), proxy_protocol=True)
        client = self.server.connect()
        self.assertEqual(self.server.stop().cut, ())
        self.assertTrue(client.closed)


class WaitingTests(PrefaceTestCase):
    """Connections whose header has not come."""

    def test_silent(self) -> None:
        """One that waits for its header is silent to the registry, and ends with its timeout."""
        client = self.connect(read_header_timeout=3)
        self.assertEqual(self.phases, [ConnectionPhase.SILENT])
        self.server.advance(2.9)
        self.assertFalse(client.closed)
        self.server.advance(0.5)
        self.assertTrue(client.closed)
        self.assertEqual(self.logged, [])

    def test_slow(self) -> None:
        """Bytes that come one by one give a header no more time, and the log tells of it."""
        client = self.connect(read_header_timeout=3)
        for each in TCP4[:10]:
            client.send(bytes([each]))
            self.server.advance(0.35)
        self.assertTrue(client.closed)
        [line] = self.logged
        self.assertIn("127.0.0.1", line)
        self.assertIn(repr(TCP4[:9]), line)

    def test_time_for_the_request(self) -> None:
        """After the header the request has a time of its own."""
        client = self.connect(read_header_timeout=3)
        self.server.advance(2)
        client.send(TCP4)
        self.server.advance(2)
        client.send(GET)
        self.assertEqual(client.responses()[0].body, ANSWER)

    def test_drain(self) -> None:
        """A drain waits its grace for a header, and answers the request that comes with it."""
        client = self.connect(idle_grace=2)
        report: list[Any] = []
        self.server.drain().addCallback(report.append)
        self.server.advance(1)
        client.send(TCP4)
        self.assertEqual(report, [])
        self.server.advance(1)
        client.send(GET)
        [answer] = client.responses()
        self.assertEqual(answer.headers["connection"], "close")
        client.close()
        self.assertEqual(report[0].answered, 1)

    def test_grace_over(self) -> None:
        """When the grace is over it is closed, as any silent connection, and not read any more."""
        app = Echo()
        client = self.connect(app=app, idle_grace=2)
        self.server.drain()
        self.server.advance(2.5)
        self.assertTrue(client.ended)
        client.send(TCP4 + GET)
        client.close()
        self.assertEqual((app.seen, len(self.server.connections)), ([], 0))

    def test_begun_header_in_a_drain(self) -> None:
        """A header of which a part has come is waited for, and nothing is cut at the end."""
        client = self.connect(TCP4[:20], idle_grace=1, read_header_timeout=0, drain_timeout=5)
        report: list[Any] = []
        self.server.drain().addCallback(report.append)
        self.server.advance(4)
        self.assertFalse(client.ended)
        self.server.advance(2)
        self.assertEqual((report[0].cut, client.closed), ((), True))

    def test_woken_in_vain(self) -> None:
        """A wake-up of the reactor with nothing to read is no end."""
        self.connect()
        [preface] = self.server.connections
        self.assertIsNone(preface.transport.doRead())

    def test_block_in_two_pieces(self) -> None:
        """What has arrived of a header is taken from the socket, so that it wakes nobody twice."""
        client = self.connect(V2[:20])
        self.assertEqual(client._kernel.inbox, b"")
