"""What comes on a connection before anything else: the header of the PROXY protocol.

It is read from the socket below the transport, and no byte more than it has: so whatever is
spoken after it, TLS too, finds the connection as if it had just been accepted.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Factory

from ...networks import Networks
from ..base_connection import PreRequestConnection
from ..phases import ConnectionPhase
from ..proxy import Proxies
from ..site import Site
from .proxy_protocol import LONGEST_V2, Header, Proxied, ProxyProtocolError, parse
from .transport import GatheringServer


def behind_proxies(
    site: Site, factory: IProtocolFactory, transport: type[GatheringServer]
) -> tuple[IProtocolFactory, type[GatheringServer]]:
    """What makes the connections of a port.

    Args:
        site: whose connections they are; its setting ``proxy_protocol`` counts.
        factory: makes what comes after the header, if there is to be one.
        transport: of the connections without it.

    Returns:
        A factory of protocols, and the transport for them.
    """
    if not site.connections.settings.proxy_protocol:
        return factory, transport
    return _ProxyHeaderReaders(site, factory), type(
        "PrefacedServer", (ProxyHeaderServer, transport), {}
    )


class _ProxyHeaderReaders(Factory):
    noisy = False

    def __init__(self, site: Site, factory: IProtocolFactory) -> None:
        self._site = site
        self._factory = factory
        self._allowed = Proxies(Networks.parse(site.connections.settings.forwarded_allow_ips))

    def buildProtocol(self, addr: IAddress | None) -> ProxyHeaderReader:  # type: ignore[override]
        reader = ProxyHeaderReader(self._factory, self._allowed)
        reader.factory = reader.site = self._site
        return reader


class ProxyHeaderServer(GatheringServer):
    """A transport that begins with a PROXY header, and has the addresses that it says.

    Its protocol is first a `ProxyHeaderReader`, and then what that has put in its place.

    Attributes:
        proxied: what the header says; None before it, and if it says nothing.
    """

    proxied: Proxied | None = None
    protocol: Any
    _begun = False

    @property
    def client_is_secure(self) -> bool:
        """Whether the client speaks TLS with the proxy."""
        return self.proxied is not None and self.proxied.secure

    def getPeer(self) -> Any:
        """The address of the client."""
        return super().getPeer() if self.proxied is None else self.proxied.source

    def getHost(self) -> Any:
        """The address that the client connected to."""
        return super().getHost() if self.proxied is None else self.proxied.destination

    def facts(self) -> dict[str, Any]:
        """What another process must know to go on with this connection."""
        return {"proxied": None if self.proxied is None else self.proxied.as_facts()}

    @classmethod
    def can_restore(cls, facts: Mapping[str, Any]) -> bool:
        """Whether it can go on with a connection of which these are the facts."""
        return cls.movable and "proxied" in facts

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Go on with it: its header was read."""
        super().restore(facts)
        self._begun = True
        if facts["proxied"] is not None:
            self.proxied = Proxied.of_facts(facts["proxied"])

    def doRead(self) -> Any:
        """Read once; called by the reactor."""
        if self._begun:
            return super().doRead()
        reader: ProxyHeaderReader = self.protocol
        kernel: socket.socket = self.getHandle()
        try:
            data = kernel.recv(LONGEST_V2, socket.MSG_PEEK)
            if not data:
                return CONNECTION_DONE
            kernel.recv(reader.feed(data))
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if reader.header is None:
            return None
        self._begun = True
        self.proxied = reader.header.proxied
        reader.hand_to_protocol()
        return super().doRead()


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
