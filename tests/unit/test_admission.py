"""Which clients may connect to the admin endpoints, and that none can starve the others."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from tests.unit.ports import PortTestCase
from tests.unit.real_reactor import RealReactorTestCase
from tests.unit.web import GET, Echo, connect, fetch
from twisted_graceful import GracefulService, new
from twisted_graceful.admin.admin_server import AdminServer
from twisted_graceful.admin.admission import ELSEWHERE, PER_ADDRESS, UNIX, Admission
from twisted_graceful.http.io.unix_port import LocalAddress
from twisted_graceful.http.phases import ConnectionPhase
from twisted_graceful.networks import Networks

from ..case import SynchronousTestCase

ALLOWED = Networks.parse("10.0.0.0/8,2001:db8::/32")


def peer(host: str) -> Any:
    """The address of a client; empty for one of a UNIX socket."""
    if not host:
        return LocalAddress(None)
    return IPv6Address("TCP", host, 1) if ":" in host else IPv4Address("TCP", host, 1)


class Open:
    """An open connection."""

    def __init__(self, host: str, phase: ConnectionPhase, since: float = 0) -> None:
        self.client = peer(host)
        self.phase = phase
        self.since = since
        self.ended = False

    def has_unread(self) -> bool:
        """Nothing has arrived."""
        return False

    def end(self) -> None:
        """Note it."""
        self.ended = True


class AdmissionTests(SynchronousTestCase):
    """Which clients may connect."""

    def setUp(self) -> None:
        """Allow some networks."""
        self.connections: Any = []
        self.admission = Admission(ALLOWED)

    def refused(self, host: str) -> str:
        """Why a client is refused."""
        return self.admission(peer(host), self.connections)

    def test_addresses(self) -> None:
        """This machine, UNIX sockets and allowed networks may connect, also as mapped addresses."""
        for host in ("127.0.0.1", "127.9.9.9", "::1", "", "10.1.2.3", "2001:db8::1"):
            with self.subTest(host=host):
                self.assertEqual(self.refused(host), "")
        self.assertEqual(self.refused("::ffff:10.1.2.3"), "")
        self.assertEqual(self.refused("::ffff:127.0.0.1"), "")
        for host in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db9::1", "fe80::1"):
            with self.subTest(host=host):
                self.assertIn("--admin-allow", self.refused(host))

    def test_each_kind_has_places_of_its_own(self) -> None:
        """No client can use up the connections of this machine, UNIX sockets or other addresses."""
        for flood, limit, others in (
            (["10.0.0.1"], PER_ADDRESS, ["10.0.0.2", "127.0.0.1", ""]),
            ([f"10.0.1.{each}" for each in range(100)], ELSEWHERE, ["127.0.0.1", ""]),
            ([f"127.0.1.{each}" for each in range(100)], PER_ADDRESS, ["10.0.0.1", ""]),
            ([""], UNIX, ["127.0.0.1", "10.0.0.1"]),
        ):
            with self.subTest(flood=flood[0]):
                self.connections = [
                    Open(flood[each % len(flood)], ConnectionPhase.RESPONDING)
                    for each in range(limit - 1)
                ]
                self.assertEqual(self.refused(flood[0]), "")
                self.connections.append(Open(flood[0], ConnectionPhase.RESPONDING))
                self.assertIn("in use", self.refused(flood[0]))
                for host in others:
                    self.assertEqual(self.refused(host), "")

    def test_an_incomplete_request_makes_room(self) -> None:
        """The oldest connection of the same kind without a complete request makes room."""
        self.connections = [
            Open("10.0.0.1", ConnectionPhase.RESPONDING) for _ in range(PER_ADDRESS)
        ]
        self.connections[3] = Open("10.0.0.1", ConnectionPhase.SILENT, since=5)
        self.connections[4] = Open("10.0.0.1", ConnectionPhase.CLOSING, since=1)
        self.connections[5] = Open("10.0.0.1", ConnectionPhase.READING, since=4)
        self.connections[7] = Open("10.0.0.1", ConnectionPhase.IDLE, since=3)
        self.connections.append(Open("10.0.0.2", ConnectionPhase.IDLE, since=1))
        self.assertEqual(self.refused("10.0.0.1"), "")
        self.assertEqual([each for each in self.connections if each.ended], [self.connections[7]])


class RefusedTests(PortTestCase):
    """What a port does with clients that are refused."""

    def test_reset_without_a_place(self) -> None:
        """Refused clients are reset at once, and the next client is served."""
        seen: list[str] = []
        refusing = [True, False]
        self.port = self.listen(
            refuses=lambda client: bool(seen.append(client.host)) or refusing.pop(0)
        )
        refused, served = self.connect(), self.connect()
        served.setblocking(False)
        self.port.doRead()
        self.port.doRead()
        self.assertRaises(ConnectionResetError, refused.recv, 1)
        self.assertRaises(BlockingIOError, served.recv, 1)
        self.assertEqual((seen, self.limit.free, len(self.factory.made)), (["127.0.0.1"] * 2, 1, 1))


class FloodTests(RealReactorTestCase):
    """Clients that are allowed and too many."""

    async def test_a_probe_comes_through(self) -> None:
        """Incomplete requests, more than there are places, keep no probe from its answer."""
        service = GracefulService(new("127.0.0.1:0", Echo()), upgradable=False)
        admin = AdminServer(["127.0.0.1:0"], service)
        self.addCleanup(service.stopService)
        ready = admin.ready()
        service.startService()
        await ready
        port = admin.bound[0][1]
        for number in range(4 * PER_ADDRESS):
            client = await connect(port)
            client.transport.write(GET[: number % 9])
        self.assertEqual(await fetch(f"http://127.0.0.1:{port}/healthz"), b"alive\n")
        self.assertLessEqual(admin.connected, PER_ADDRESS + 1)
