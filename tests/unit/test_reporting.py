"""Whatever cannot be reported on, everything else is, and the service does not notice."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.web.resource import Resource

from tests.unit.secure import SecureServer
from tests.unit.web import Echo
from twisted_graceful import GracefulService, new
from twisted_graceful.admin.overview import Overview
from twisted_graceful.http.base_connection import Connection
from twisted_graceful.http.http1.channel import Channel
from twisted_graceful.http.http2.connection import Http2Connection
from twisted_graceful.http.proxy_header_reader import ProxyHeaderReader
from twisted_graceful.http.tls_handshake import Handshake
from twisted_graceful.http.websocket.connection import WebSocket
from twisted_graceful.process.host.process_status import Status
from twisted_graceful.process.upgrade.upgrade_events import SafeWatcher, Watcher
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase


class AbstractTests(SynchronousTestCase):
    """Classes of connections that are incomplete."""

    def test_they_cannot_be_made(self) -> None:
        """A class that lacks what reports and drains ask for fails when it is instantiated."""

        class Incomplete(Connection):
            """A protocol without the methods that are its own."""

        with self.assertRaisesRegex(TypeError, "requests_in_flight"):
            Incomplete()  # type: ignore[abstract]

    def test_ours_are_complete(self) -> None:
        """Each class of connections that a server makes is complete."""
        for kind in (Channel, Http2Connection, WebSocket, ProxyHeaderReader, Handshake):
            with self.subTest(kind=kind):
                self.assertEqual(kind.__abstractmethods__, frozenset())


class ConnectionTests(SynchronousTestCase):
    """Connections that cannot be reported on."""

    def test_the_others_are_reported(self) -> None:
        """One that raises is missing from the report, counted, and logged once."""
        server = MemoryServer(Echo(hold=True))
        clients = [server.connect() for _ in range(2)]
        for number, client in enumerate(clients):
            client.request("GET", f"/{number}")
        broken = next(each for each in server.connections if each._head.target == b"/0")
        broken._head.target = "/text where bytes belong"
        for _ in range(3):
            self.assertEqual(
                [each.path for each in server.connections.requests_in_flight()], ["/1"]
            )
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(server.connections.counters["report_failures"], 3)

    def test_it_is_reset_by_the_end_of_a_drain(self) -> None:
        """One that cannot be ended as others are is reset, and does not stay open."""
        server = MemoryServer(Echo(hold=True), drain_timeout=1)
        client = server.connect()
        client.request("GET", "/")
        (broken,) = server.connections
        broken._head.target = "/text where bytes belong"
        drained = server.drain()
        server.advance(2)
        self.successResultOf(drained)
        self.assertTrue(client.closed)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_a_drain_goes_on(self) -> None:
        """A connection that can be neither told to leave nor closed is reset; the others drain."""
        server = MemoryServer(Echo(), drain_timeout=9, idle_grace=1, linger_timeout=0.5)
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            client.request("GET", "/")
            client.responses()

        def fail() -> bool:
            raise RuntimeError("an application has broken it")

        broken = next(iter(server.connections))
        self.patch(broken, "loseConnection", fail)
        self.patch(broken, "go_away", fail)
        drained = server.drain()
        server.advance(3)
        self.successResultOf(drained)
        self.assertEqual([each.closed for each in clients], [True] * 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_in_a_tls_handshake(self) -> None:
        """A client in its TLS handshake is a connection, and no request."""
        server = SecureServer(self, Echo())
        server.connect().send(b"\x16")
        self.assertEqual(list(server.connections.requests_in_flight()), [])
        self.assertEqual([each.phase.name for each in server.connections], ["HANDSHAKING"])


class Broken(Watcher):
    """A watcher that fails."""

    def report(self, to: str) -> str:
        """Fail."""
        raise RuntimeError("no report")

    def drains(self) -> None:
        """Fail."""
        raise RuntimeError("no report")


class SignsOfLifeTests(SynchronousTestCase):
    """What depends on no report."""

    def setUp(self) -> None:
        """A worker whose watcher is broken."""
        clock: Any = Clock()
        self.service = GracefulService(new("127.0.0.1:0", Resource(), reactor=clock), reactor=clock)
        self.watcher = Broken()
        self.service.watcher = self.watcher

    def test_numbers_that_no_message_holds(self) -> None:
        """Numbers that are too many for a message are left out, with all else."""
        overview = Overview(self.service, self.service.reactor)
        overview.reported("other", Status({f"name,{n:0200}": 1 for n in range(400)}).encode())
        self.assertEqual(overview.report("master"), "")

    def test_every_method_is_shielded(self) -> None:
        """Nothing that a watcher is told can raise."""
        for name in vars(Watcher):
            with self.subTest(name=name):
                if not name.startswith("_"):
                    self.assertIn(name, vars(SafeWatcher))
        shielded = SafeWatcher(self.watcher)
        shielded.drains()
        shielded.serves()
        self.assertEqual(shielded.report("master"), "")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
