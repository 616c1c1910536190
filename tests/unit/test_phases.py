"""The table of the phases of connections, which all unit tests hold connections to."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_graceful.http.phases import FOLLOWS, ConnectionPhase
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .checked_phase import CHANGES, IllegalPhase
from .http2_client import Http2Client, http2_server
from .secure import SecureServer
from .web import GET, Echo
from .websockets import HANDSHAKE

HALF = GET[:9]
CLOSE_FRAME = b"\x88\x80\0\0\0\0"


class Upgrade(Resource):
    """Answers with 101, and lets a protocol that says nothing have the connection."""

    isLeaf = True

    def render(self, request: Any) -> int:
        """Upgrade."""
        protocol, transport = Protocol(), request.transport
        transport.protocol = protocol
        protocol.makeConnection(transport)
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        return NOT_DONE_YET


class PhaseTests(SynchronousTestCase):
    """`FOLLOWS`."""

    def test_every_phase(self) -> None:
        """Each phase has a row."""
        self.assertEqual(set(FOLLOWS), set(ConnectionPhase))

    def test_illegal(self) -> None:
        """An illegal change raises, and changes nothing."""
        server = MemoryServer(Echo())
        server.connect()
        [connection] = server.connections
        with self.assertRaises(IllegalPhase):
            connection.phase = ConnectionPhase.WEBSOCKET
        self.assertIs(connection.phase, ConnectionPhase.SILENT)

    def test_all_ways(self) -> None:
        """Connections go each way of the table."""
        CHANGES.clear()
        self.requests()
        self.closed_while_waiting()
        self.tls()
        Http2Client(http2_server(Echo())).get()
        self.web_sockets()
        self.taken_back()
        ways = {(before, after) for before, row in FOLLOWS.items() for after in row.values()}
        # When a handshake is complete, another object takes its place.
        ways.remove((ConnectionPhase.HANDSHAKING, ConnectionPhase.SILENT))
        self.assertEqual(ways - CHANGES, set())

    def requests(self) -> None:
        """Requests that arrive at once and in pieces, first and later ones, and the last one."""
        client = MemoryServer(Echo()).connect()
        for each in (
            GET,
            GET,
            HALF,
            GET[9:],
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        ):
            client.send(each)
        server = MemoryServer(Echo())
        server.connect().send(HALF)
        server.advance(server.settings.read_header_timeout + 1)

    def closed_while_waiting(self) -> None:
        """Connections whose time is over, before and after the first request."""
        server = MemoryServer(Echo())
        server.connect()
        server.connect().send(GET)
        server.advance(server.settings.read_header_timeout + server.settings.idle_timeout + 1)

    def tls(self) -> None:
        """A handshake that is not completed."""
        server = SecureServer(self, Echo())
        server.connect().send(b"\x16\x03\x01")
        server.advance(server.settings.tls_handshake_timeout + 1)

    def web_sockets(self) -> None:
        """One WebSocket whose client closes it, and one that is reset."""
        server = MemoryServer(Upgrade())
        closing, resetting = server.connect(), server.connect()
        for client in (closing, resetting):
            client.request("GET", "/", HANDSHAKE)
        closing.send(CLOSE_FRAME)
        server.advance(server.settings.linger_timeout + 1)
        resetting.abort()

    def taken_back(self) -> None:
        """Connections that are offered to another process, which does not take them."""
        server = MemoryServer(Echo())
        client = server.connect()
        [connection] = server.connections
        for more in (b"", GET, HALF):
            client.send(more)
            departure = connection.detach()
            assert departure is not None
            departure.take_back()
