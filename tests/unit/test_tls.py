"""TLS: the handshake, the close, and that all else is as without it."""

from __future__ import annotations

import random
import ssl
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from tests.unit.secure import SecureClient, SecureServer
from tests.unit.support import examples
from tests.unit.web import ANSWER, GET, Echo, timers_left
from twisted_graceful.http.http1.channel import Channel
from twisted_graceful.http.phases import ConnectionPhase
from twisted_graceful.http.registry import SWEEP_INTERVAL
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request
from twisted_graceful.testing.memory_transport import SEND_BUFFER, MemorySocket

from ..case import SynchronousTestCase

A_BIT = 2 * SWEEP_INTERVAL
"""Seconds by which a deadline may be late."""

LAST = format_request("GET", "/x", {"Connection": "close"})
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def phase(server: MemoryServer) -> ConnectionPhase:
    """The phase of the one connection of a server."""
    (connection,) = server.connections
    return connection.phase


def kernel_of(client: SecureClient) -> Any:
    """What the kernel of a memory server holds for a client."""
    return client.wire._kernel


def give_room(client: SecureClient, *rooms: int) -> None:
    """Let the kernel take so many bytes of each ``send`` to a client, and then whatever comes."""
    kernel, left = kernel_of(client), list(rooms)

    def send(data: bytes) -> int:
        return MemorySocket.send(kernel, data[: left.pop(0)] if left else data)

    kernel.send = send


class HandshakeTests(SynchronousTestCase):
    """From the first byte to the first request."""

    def test_phases(self) -> None:
        """A connection shakes hands, and only then it is as one without TLS."""
        for version in VERSIONS:
            with self.subTest(version=version):
                server = SecureServer(self, Echo())
                client = SecureClient(server.connect(), version=version)
                seen = []
                while data := client.handshake_step():
                    seen.append(phase(server))
                    client.wire.send(data)
                self.assertEqual(
                    [seen[0], *set(seen[1:])], [ConnectionPhase.SILENT, ConnectionPhase.HANDSHAKING]
                )
                self.assertIs(phase(server), ConnectionPhase.SILENT)
                client.send(GET)
                self.assertEqual([each.body for each in client.responses()], [ANSWER])
                self.assertEqual(len(server.connections), 1)

    def test_request_right_behind(self) -> None:
        """A request that comes in one piece with the end of the handshake is answered."""
        server = SecureServer(self, Echo())
        client = SecureClient(server.connect())
        client.wire.send(client.handshake_step())
        last = client.handshake_step()
        client.wire.send(last + client.encrypted(GET))
        self.assertEqual([each.body for each in client.responses()], [ANSWER])

    @examples
    @given(st.lists(st.integers(1, 600), max_size=8))
    def test_any_pieces(self, sizes: list[int]) -> None:
        """However handshake and requests are cut on their way, the same answers come."""
        server = SecureServer(self, Echo())
        client = SecureClient(server.connect())

        def send(data: bytes) -> None:
            for size in sizes:
                client.wire.send(data[:size])
                data = data[size:]
            client.wire.send(data)

        while data := client.handshake_step():
            send(data)
        send(client.encrypted(GET) + client.encrypted(GET[:9]) + client.encrypted(GET[9:]))
        self.assertEqual([each.body for each in client.responses()], [ANSWER] * 2)

    def test_negotiated(self) -> None:
        """The site's connection for what was negotiated takes over, else that for HTTP/1.1."""

        class Other(Channel):
            """Another protocol."""

        for offered, kind, name in (
            (["other", "http/1.1"], Other, b"other"),
            (["http/1.1"], Channel, b"http/1.1"),
            (["unknown"], Channel, None),
            (None, Channel, None),
        ):
            with self.subTest(offered=offered, kind=kind):
                server = SecureServer(self, Echo())
                server.site.protocols = {b"other": Other, b"http/1.1": Channel}
                server.client(alpn=offered)
                (connection,) = server.connections
                self.assertIs(type(connection), kind)
                self.assertEqual(connection.transport.negotiatedProtocol, name)

    def test_silent(self) -> None:
        """A client that never says hello is closed in time, and not before."""
        server = SecureServer(self, Echo(), tls_handshake_timeout=7)
        wire = server.connect()
        server.advance(7 - A_BIT)
        self.assertFalse(wire.closed)
        server.advance(2 * A_BIT)
        self.assertTrue(wire.closed)
        self.assertEqual(server.connections.limits, {"tls_handshake_timeout": 1})
        self.assertEqual(timers_left(server), [])

    def test_dripping(self) -> None:
        """Bytes that drip in do not prolong the handshake."""
        server = SecureServer(self, Echo(), tls_handshake_timeout=7)
        client = SecureClient(server.connect())
        for byte in client.handshake_step()[:20]:
            client.wire.send(bytes([byte]))
            server.advance(0.5)
        self.assertTrue(client.wire.closed)
        self.assertEqual(len(server.connections), 0)

    def test_no_deadline(self) -> None:
        """With 0 it takes as long as it takes."""
        server = SecureServer(self, Echo(), tls_handshake_timeout=0)
        wire = server.connect()
        server.advance(1000)
        self.assertFalse(wire.closed)

    def test_garbage(self) -> None:
        """What is no TLS is closed at once, without a reset."""
        for garbage in (b"\0" * 600, b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\xff\xff" + GET):
            with self.subTest(garbage=garbage):
                server = SecureServer(self, Echo(), access_log="-")
                wire = server.connect()
                wire.send(garbage)
                self.assertEqual((wire.closed, wire.reset), (True, False))
                self.assertEqual((timers_left(server), server.access_log), ([], []))

    def test_plain_http(self) -> None:
        """Who speaks plain HTTP to the port of HTTPS is told so."""
        server = SecureServer(self, Echo(), access_log="-")
        wire = server.connect()
        wire.send(GET)
        (response,) = wire.responses()
        self.assertEqual((response.status, response.headers["Connection"]), (400, "close"))
        self.assertIn(b"https", response.body)
        self.assertTrue(wire.ended)
        (line,) = server.access_log
        self.assertIn(f'"-" 400 {len(response.body)} ', line)

    def test_client_leaves(self) -> None:
        """A client that leaves in its handshake leaves nothing behind, in whatever way it does."""
        for leave in ("finish", "close", "abort"):
            for begun in (False, True):
                with self.subTest(leave=leave, begun=begun):
                    server = SecureServer(self, Echo())
                    client = SecureClient(server.connect())
                    if begun:
                        client.wire.send(client.handshake_step())
                    getattr(client.wire, leave)()
                    self.assertTrue(client.wire.closed)
                    self.assertEqual(timers_left(server), [])

    def test_client_does_not_read(self) -> None:
        """A client that does not take our part of the handshake is closed."""
        server = SecureServer(self, Echo(), write_timeout=3)
        client = SecureClient(server.connect())
        kernel_of(client).outbox += b"x" * (SEND_BUFFER - 100)
        client.wire.reading = False
        client.wire.send(client.handshake_step())
        self.assertFalse(client.wire.closed)
        server.advance(3 + A_BIT)
        self.assertTrue(client.wire.closed)

    def test_room_comes_later(self) -> None:
        """Our part of the handshake is sent to its end when there is room for it."""
        server = SecureServer(self, Echo())
        client = SecureClient(server.connect())
        give_room(client, 10, 0, 100, 0)
        client.wire.send(client.handshake_step())
        client.shake_hands()
        client.send(GET)
        self.assertEqual([each.body for each in client.responses()], [ANSWER])


class DrainTests(SynchronousTestCase):
    """A drain that comes in a handshake."""

    def test_it_goes_on(self) -> None:
        """A client that shakes hands when the drain begins still gets its request answered."""
        server = SecureServer(self, Echo(), idle_grace=2)
        client = SecureClient(server.connect())
        client.wire.send(client.handshake_step())
        drained = server.drain()
        server.advance(5)
        client.shake_hands()
        server.advance(1)
        client.send(GET)
        (response,) = client.responses()
        self.assertEqual((response.body, response.headers["Connection"]), (ANSWER, "close"))
        client.wire.close()
        self.assertEqual(self.successResultOf(drained).answered, 1)

    def test_it_has_not_begun(self) -> None:
        """A client that has sent no byte has the grace of any other, behind a proxy too."""
        for proxied in (False, True):
            with self.subTest(proxied=proxied):
                server = SecureServer(self, Echo(), idle_grace=2, proxy_protocol=proxied)
                wire = server.connect()
                wire.send(b"PROXY UNKNOWN\r\n" if proxied else b"")
                drained = server.drain()
                server.advance(2 - A_BIT)
                self.assertFalse(wire.closed)
                server.advance(2 * A_BIT)
                self.assertTrue(wire.closed)
                self.assertEqual(self.successResultOf(drained).closed_idle, 1)

    def test_then_it_is_silent(self) -> None:
        """A client that sends no request after its handshake has the grace of any other."""
        server = SecureServer(self, Echo(), idle_grace=2)
        client = SecureClient(server.connect())
        client.wire.send(client.handshake_step())
        drained = server.drain()
        server.advance(5)
        client.shake_hands()
        server.advance(2 - A_BIT)
        self.assertFalse(client.wire.ended)
        server.advance(2 * A_BIT)
        self.assertTrue(client.wire.ended)
        client.wire.close()
        self.assertEqual(self.successResultOf(drained).closed_idle, 1)

    def test_it_does_not_outlive_the_deadline(self) -> None:
        """At the deadline of the drain a handshake ends; no request is cut by that."""
        server = SecureServer(self, Echo(), drain_timeout=3, tls_handshake_timeout=60)
        wire = server.connect()
        wire.send(SecureClient(wire).handshake_step()[:5])
        report = server.stop()
        self.assertTrue(wire.closed)
        self.assertEqual(report.cut, ())


class CloseTests(SynchronousTestCase):
    """The end of a connection."""

    def test_closing_alert_then_fin(self) -> None:
        """After the last answer come our closing alert and our FIN, and no reset."""
        for version in VERSIONS:
            with self.subTest(version=version):
                server = SecureServer(self, Echo())
                client = server.client(version=version)
                client.send(LAST)
                self.assertEqual([each.body for each in client.responses()], [ANSWER])
                self.assertEqual((client.ended, client.wire.ended), (True, True))
                self.assertFalse(client.wire.closed)
                client.wire.send(client.closing_alert())
                self.assertEqual((client.wire.closed, client.wire.reset), (True, False))
                self.assertEqual(timers_left(server), [])

    def test_closing_alert_that_is_never_answered(self) -> None:
        """A client that neither answers the alert nor closes is dropped in time."""
        server = SecureServer(self, Echo(), linger_timeout=3)
        client = server.client()
        client.send(LAST)
        server.advance(3 - A_BIT)
        self.assertFalse(client.wire.closed)
        server.advance(2 * A_BIT)
        self.assertTrue(client.wire.closed)
        self.assertEqual(timers_left(server), [])

    def test_client_closes_first(self) -> None:
        """A client's closing alert, without its FIN, ends an idle connection."""
        server = SecureServer(self, Echo())
        client = server.client()
        client.send(GET)
        client.wire.send(client.closing_alert())
        self.assertEqual((client.wire.closed, client.wire.reset), (True, False))
        client.responses()
        self.assertTrue(client.ended)

    def test_half_closed(self) -> None:
        """A client that ends its side, in whatever way, gets its answer."""
        for end in ("alert", "FIN", "both"):
            with self.subTest(end=end):
                app = Echo(hold=True)
                server = SecureServer(self, app)
                client = server.client()
                request = client.encrypted(GET)
                client.wire.arrive(request if end == "FIN" else request + client.closing_alert())
                if end == "alert":
                    server.turn()
                else:
                    client.wire.finish()
                self.assertFalse(client.wire.closed)
                app.answer()
                (response,) = client.responses()
                self.assertEqual(response.body, ANSWER)
                self.assertEqual((client.ended, client.wire.closed), (True, True))

    def test_cut(self) -> None:
        """An answer that the drain deadline cuts ends in a reset, and without a closing alert."""

        class Half(Resource):
            """Answers by half."""

            isLeaf = True

            def render(self, request: Request) -> int:
                request.setHeader(b"Content-Length", b"10")
                request.write(b"half ")
                return NOT_DONE_YET

        server = SecureServer(self, Half(), drain_timeout=1)
        client = server.client()
        client.send(GET)
        self.assertTrue(client.received.endswith(b"half "))
        report = server.stop()
        self.assertEqual([cut.path for cut in report.cut], ["/x"])
        self.assertTrue(client.wire.reset)
        self.assertEqual((client.received[-5:], client.ended), (b"half ", False))

    def test_alert_that_has_no_room(self) -> None:
        """The FIN does not overtake a closing alert for which there is no room yet."""
        app = Echo(hold=True)
        client = SecureServer(self, app).client()
        client.send(LAST)
        give_room(client, SEND_BUFFER, 10, 0)
        app.answer()
        self.assertEqual([each.body for each in client.responses()], [ANSWER])
        self.assertEqual((client.ended, client.wire.ended), (True, True))

    def test_lost_record(self) -> None:
        """What was no record of ours ends the connection, and the peer is told."""
        server = SecureServer(self, Echo())
        client = server.client()
        client.wire.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        self.assertTrue(client.wire.closed)
        error = self.assertRaises(ssl.SSLError, lambda: client.received)
        self.assertIn("BAD_RECORD_MAC", error.reason)
        self.assertEqual(timers_left(server), [])

    def test_lost_record_behind_a_request(self) -> None:
        """So does one that comes in one piece with a request."""
        app = Echo(hold=True)
        server = SecureServer(self, app)
        client = server.client()
        gone = []
        client.wire.arrive(client.encrypted(GET))
        client.wire.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        self.assertEqual(len(app.held), 1)
        app.held[0].notifyFinish().addErrback(gone.append)
        self.assertEqual((client.wire.closed, len(server.connections)), (True, 0))


@implementer(IPushProducer)
class Endless:
    """Produces a chunk in each turn, as long as nobody pauses it."""

    def __init__(self, request: Request, server: MemoryServer) -> None:
        self.produced = 0
        self.pauses = 0
        self._request = request
        self._server = server
        self._runs = True
        request.registerProducer(self, True)
        self._produce()

    def _produce(self) -> None:
        if self._runs:
            self.produced += 10_000
            self._request.write(b"x" * 10_000)
            self._server.clock.callLater(0, self._produce)

    def pauseProducing(self) -> None:
        """The client does not read."""
        self.pauses += 1
        self._runs = False

    def resumeProducing(self) -> None:
        """It does."""
        self._runs = True
        self._produce()

    def stopProducing(self) -> None:
        """It is gone."""
        self._runs = False


class Large(Resource):
    """Answers with many bytes, which are not all the same."""

    isLeaf = True
    body = b"".join(b"%07d\n" % each for each in range(60_000))

    def render(self, request: Request) -> bytes:
        """All of them."""
        return self.body


class WritingTests(SynchronousTestCase):
    """Answers on their way."""

    def test_one_send_for_a_turn(self) -> None:
        """Whatever is written in a turn goes out in one piece."""
        server = SecureServer(self, Echo())
        client = server.client()
        kernel = kernel_of(client)
        sent = []

        def send(data: bytes) -> int:
            sent.append(data)
            return MemorySocket.send(kernel, data)

        kernel.send = send
        client.send(GET * 3)
        self.assertEqual([each.body for each in client.responses()], [ANSWER] * 3)
        self.assertEqual(len(sent), 1)

    def test_large_answers(self) -> None:
        """Answers larger than every buffer come whole and in order, however the client reads."""
        server = SecureServer(self, Large())
        client = server.client()
        client.wire.reading = False
        client.send(GET + GET + LAST)
        bodies = []
        for _ in range(200):
            server.advance(1)
            client.wire.reading = True
            client.wire.reading = False
            bodies += [each.body for each in client.responses()]
        self.assertEqual(bodies, [Large.body] * 3)
        self.assertTrue(client.ended)

    @examples
    @given(
        st.lists(
            st.tuples(st.integers(1, 3 * SEND_BUFFER), st.integers(0, SEND_BUFFER)),
            min_size=1,
            max_size=12,
        )
    )
    def test_writes_and_room(self, steps: list[tuple[int, int]]) -> None:
        """However an answer is written, and whenever there is how much room, it comes as it is."""
        server = SecureServer(self, app := Echo(hold=True))
        client = server.client()
        client.wire.reading = False
        client.send(LAST)
        (request,) = app.held
        kernel = kernel_of(client)
        body = b""
        for size, room in steps:
            written = bytes(random.Random(len(body)).randbytes(size))
            request.write(written)
            body += written
            kernel.received += kernel.outbox[:room]
            del kernel.outbox[:room]
            server.turn()
        request.finish()
        client.wire.reading = True
        (response,) = client.responses()
        self.assertEqual(response.body, body)

    def test_little_is_held(self) -> None:
        """A producer is paused by a client that does not read, and goes on when it reads."""
        server = SecureServer(self, app := Echo(hold=True), write_timeout=0)
        client = server.client()
        client.send(GET)
        client.wire.reading = False
        endless = Endless(app.held[0], server)
        server.advance(1)
        produced = endless.produced
        self.assertLess(produced, 4 * SEND_BUFFER)
        self.assertEqual(endless.pauses, 1)
        server.advance(1)
        self.assertEqual(endless.produced, produced)
        client.wire.reading = True
        client.wire.reading = False
        server.advance(1)
        self.assertGreater(endless.produced, produced)
        client.wire.abort()

    def test_client_that_does_not_read(self) -> None:
        """A client that takes nothing of its answer is reset in time."""
        server = SecureServer(self, Large(), write_timeout=3)
        client = server.client()
        client.wire.reading = False
        client.send(LAST)
        server.advance(3 - A_BIT)
        self.assertFalse(client.wire.closed)
        server.advance(2 * A_BIT)
        self.assertTrue(client.wire.reset)
        self.assertEqual(timers_left(server), [])

    def test_client_that_reads_slowly(self) -> None:
        """A client that takes bytes at a rate that is enough is not, though a chunk takes long."""
        server = SecureServer(self, Large(), write_timeout=3, min_rate=240)
        client = server.client()
        client.wire.reading = False
        client.send(GET)
        kernel = kernel_of(client)
        for _ in range(100):
            server.advance(1)
            kernel.received += kernel.outbox[:300]
            del kernel.outbox[:300]
        self.assertFalse(client.wire.closed)


class PartialRecordTests(SynchronousTestCase):
    """A part of a record, which cannot be read before the rest is there."""

    def test_it_begins_a_request(self) -> None:
        """The rest must come as soon as that of a head would have to; dripping does not help."""
        for first in (True, False):
            with self.subTest(first=first):
                server = SecureServer(self, Echo(), read_header_timeout=4)
                client = server.client()
                if not first:
                    client.send(GET)
                    server.advance(20)
                request = client.encrypted(GET)
                client.wire.send(request[:20])
                server.advance(2)
                client.wire.send(request[20:22])
                server.advance(2 - A_BIT)
                self.assertFalse(client.wire.ended)
                server.advance(2 * A_BIT)
                self.assertTrue(client.wire.ended)

    def test_it_is_completed(self) -> None:
        """What is completed in time is answered, and the connection lives on."""
        server = SecureServer(self, Echo(), read_header_timeout=4, idle_timeout=60)
        client = server.client()
        request = client.encrypted(GET)
        client.wire.send(request[:20])
        server.advance(3)
        client.wire.send(request[20:])
        self.assertEqual([each.body for each in client.responses()], [ANSWER])
        server.advance(50)
        self.assertFalse(client.wire.ended)

    def test_it_came_while_another_was_answered(self) -> None:
        """It does not hold a connection for ever that it came on during an answer."""
        app = Echo(hold=True)
        server = SecureServer(self, app, read_header_timeout=4)
        client = server.client()
        client.wire.send(client.encrypted(GET) + client.encrypted(GET)[:20])
        app.answer()
        self.assertEqual([each.body for each in client.responses()], [ANSWER])
        server.advance(4 - A_BIT)
        self.assertFalse(client.wire.ended)
        server.advance(2 * A_BIT)
        self.assertTrue(client.wire.ended)

    def test_a_drain_waits_for_the_rest(self) -> None:
        """A drain does not close a connection on which a part of a request has come."""
        server = SecureServer(self, Echo(), idle_grace=1)
        client = server.client()
        client.send(GET)
        client.responses()
        request = client.encrypted(GET)
        client.wire.send(request[:20])
        drained = server.drain()
        server.advance(3)
        client.wire.send(request[20:])
        (response,) = client.responses()
        self.assertEqual((response.body, response.headers["Connection"]), (ANSWER, "close"))
        client.wire.close()
        self.assertEqual(self.successResultOf(drained).answered, 1)

    def test_a_slow_body(self) -> None:
        """A body whose records take longer than the read timeout is not slow."""
        server = SecureServer(self, Echo(), read_timeout=3, min_rate=240)
        client = server.client()
        body = b"x" * 16_000
        head, _, _ = format_request("POST", "/x", body=body).partition(b"x" * 16_000)
        client.send(head)
        data = client.encrypted(body)
        for start in range(0, len(data), 500):
            client.wire.send(data[start : start + 500])
            server.advance(1)
        (response,) = client.responses()
        self.assertEqual(response.body, b"POST /x " + body)

    def test_a_body_that_stands_still(self) -> None:
        """One that stands still in the middle of a record is."""
        server = SecureServer(self, Echo(), read_timeout=3)
        client = server.client()
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n")
        client.wire.send(client.encrypted(b"x" * 9999)[:5000])
        server.advance(3 + A_BIT)
        self.assertEqual([each.status for each in client.responses()], [408])


class RequestTests(SynchronousTestCase):
    """What an application sees of TLS."""

    def test_secure(self) -> None:
        """A request is secure, and so are the cookies of its session."""

        class Session(Resource):
            """Begins one."""

            isLeaf = True

            def render(self, request: Request) -> bytes:
                request.getSession().expire()
                return b"%r" % request.isSecure()

        client = SecureServer(self, Session()).client()
        client.send(GET)
        (response,) = client.responses()
        self.assertEqual(response.body, b"True")
        self.assertIn("secure", str(response.headers["Set-Cookie"]).lower())

    def test_peer_certificate(self) -> None:
        """Nobody has asked the client for a certificate."""
        app = Echo(hold=True)
        client = SecureServer(self, app).client()
        client.send(GET)
        self.assertIsNone(app.held[0].transport.getPeerCertificate())
        self.assertEqual(app.held[0].getClientAddress().host, "127.0.0.1")
