"""The connection until its PROXY header has been read; then another takes its place."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory

from ..networks import Networks
from .base_connection import PreRequestConnection
from .interfaces import ConnectionSite
from .io.proxy_protocol import Header, ProxyProtocolError, parse
from .io.transport_factory import TransportFactory
from .phases import ConnectionPhase
from .proxies import Proxies


def behind_proxies(
    site: ConnectionSite, factory: IProtocolFactory, transport: TransportFactory
) -> tuple[IProtocolFactory, TransportFactory]:
    """What makes the connections of a port.

    Args:
        site: whose connections they are; its setting ``proxy_protocol`` counts.
        factory: makes what comes after the header, if there is to be one.
        transport: makes the transports of connections without it.

    Returns:
        A factory of protocols, and one of their transports.
    """
    if not site.connections.settings.proxy_protocol:
        return factory, transport
    return _ProxyHeaderReaders(site, factory), transport.behind_proxy_header()


class _ProxyHeaderReaders(Factory):
    noisy = False

    def __init__(self, site: ConnectionSite, factory: IProtocolFactory) -> None:
        self._site = site
        self._factory = factory
        self._allowed = Proxies(Networks.parse(site.connections.settings.forwarded_allow_ips))

    def buildProtocol(self, addr: IAddress | None) -> ProxyHeaderReader:  # type: ignore[override]
        reader = ProxyHeaderReader(self._factory, self._allowed)
        reader.factory = reader.site = self._site
        return reader


class ProxyHeaderReader(PreRequestConnection):
    """A connection until its PROXY header has been read; it counts as silent.

    The header has ``read_header_timeout`` to arrive.

    Args:
        following: makes the protocol that comes after it.
        allowed: who may connect.

    Attributes:
        header: what has been read.
    """

    header: Header | None = None
    _received = b""

    def __init__(self, following: IProtocolFactory, allowed: Proxies) -> None:
        super().__init__()
        self._following = following
        self._allowed = allowed

    def connectionMade(self) -> None:
        """A peer connected; it must be a proxy of ours."""
        super().connectionMade()
        # gunicorn closes too; nginx reads on, and only does not believe the header. But who is
        # no proxy has no business on such a port (section 2: no sharing of public and private).
        if not self._allowed.trusts(self.client):
            self._reject("it is not in forwarded_allow_ips")

    def feed(self, data: bytes) -> int:
        """Bytes have arrived.

        Returns:
            How many of them are to be taken from the socket; the rest is for others.
        """
        if self.phase is ConnectionPhase.CLOSING:
            return len(data)
        known = len(self._received)
        self._received += data
        try:
            self.header = parse(self._received)
        except ProxyProtocolError as error:
            self._reject(f"it sent no PROXY header: {error}")
        return len(data) if self.header is None else self.header.length - known

    def hand_to_protocol(self) -> None:
        """Let what follows have the transport."""
        transport = self.transport
        transport.unregisterProducer()
        protocol: Any = self._following.buildProtocol(transport.getPeer())
        transport.protocol = protocol
        protocol.makeConnection(transport)
        # Only now, so that a drain does not take the one for gone before it sees the other.
        self._connections.remove(self)

    def has_unread(self) -> bool:
        """Whether a header has been begun."""
        return bool(self._received) or super().has_unread()

    def _reject(self, reason: str) -> None:
        self._connections.client_log.write(
            self.client, "Closed the connection of {peer}: {reason}", reason=reason
        )
        self.end()

    def _timed_out(self) -> None:
        self._connections.count_limit("read_header_timeout")
        if self._received:
            self._reject(f"of its PROXY header only {self._received[:16]!r} came in time")
        else:
            self.end()
