"""Transports that begin with the header of the PROXY protocol.

The header is read from the socket below the transport, and not a byte more: it is looked at with
MSG_PEEK first. So what follows, TLS too, finds the connection as if it had just been accepted.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from .proxy_protocol import LONGEST_V2, ConnectionFacts, Header, Proxied
from .transport import GatheringServer
from .unix_port import UnixServer


class ProxyHeaderProtocol(Protocol):
    """What the transport asks of its first protocol.

    Attributes:
        header: the header, when all of it has arrived.
    """

    header: Header | None

    def feed(self, data: bytes) -> int:
        """Bytes have arrived; return how many of them belong to the header."""

    def hand_to_protocol(self) -> None:
        """The header has been read: replace yourself with what comes after it."""


class ProxyHeaderServer(GatheringServer):
    """A transport that begins with a PROXY header, and has the addresses that it says.

    Its protocol is first a `ProxyHeaderProtocol`, and then what that has put in its place.

    Attributes:
        proxied: what the header says; None before it, and if it says nothing.
    """

    proxied: Proxied | None = None
    protocol: Any
    _begun = False

    @property
    def is_secure(self) -> bool:
        """Whether the client speaks TLS, with us or with the proxy."""
        return super().is_secure or (self.proxied is not None and self.proxied.secure)

    def getPeer(self) -> IAddress:
        """The address of the client."""
        return super().getPeer() if self.proxied is None else self.proxied.source

    def getHost(self) -> IAddress:
        """The address that the client connected to."""
        return super().getHost() if self.proxied is None else self.proxied.destination

    def facts(self) -> ConnectionFacts:
        """What another process must know to go on with this connection."""
        return {"proxied": None if self.proxied is None else self.proxied.as_facts()}

    @classmethod
    def can_restore(cls, facts: ConnectionFacts) -> bool:
        """Whether it can go on with a connection of which these are the facts."""
        return cls.movable and "proxied" in facts

    def restore(self, facts: ConnectionFacts) -> None:
        """Go on with it: its header was read."""
        super().restore(facts)
        self._begun = True
        if facts["proxied"] is not None:
            self.proxied = Proxied.of_facts(facts["proxied"])

    def doRead(self) -> Any:
        """Read once; called by the reactor."""
        if self._begun:
            return super().doRead()
        reader: ProxyHeaderProtocol = self.protocol
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


class UnixProxyHeaderServer(ProxyHeaderServer, UnixServer):
    """The same for a UNIX socket."""
