"""Ports and connections of UNIX sockets.

Twisted's own port sets the mode of the path to 0666 when it starts, and when it stops it removes
the path and shuts the socket down, though other processes share it. So these are its TCP ports
and connections, with other addresses.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocol

from .port import Port
from .proxy_protocol import ConnectionFacts
from .transport import GatheringServer


class LocalAddress(UNIXAddress):
    """The address of a UNIX socket, with what else web code asks an address for.

    Args:
        name: the path, or a NUL byte and the name of an abstract socket; None for an end without
            a name, as most clients are.
        host: instead of an IP address.
        port: instead of a TCP port.
    """

    def __init__(self, name: str | bytes | None, host: str = "", port: int = 0) -> None:
        super().__init__(name)
        self.host = host
        self.port = port


class UnixPort(Port):
    """A port of a UNIX socket that was bound by hand."""

    _type = "UNIX"
    _listens = False

    @property
    def _realPortNumber(self) -> Any:
        """What logs show instead of a port; None if it does not listen."""
        return self.bound_address if self._listens else None

    @_realPortNumber.setter
    def _realPortNumber(self, value: object) -> None:
        self._listens = value is not None  # the value itself is a character of the name

    def _begin(
        self,
        client: socket.socket,
        where: Any,
        factory: Any,
        facts: ConnectionFacts | None = None,
    ) -> IProtocol | None:
        # A name and a port, as Twisted has it in other places.
        return super()._begin(client, (where, 0), factory, facts)

    def _buildAddr(self, address: tuple[str | bytes, int]) -> LocalAddress:
        return LocalAddress(address[0] or None)

    def getHost(self) -> LocalAddress:
        """Where it listens."""
        return LocalAddress(self.socket.getsockname())


class UnixServer(GatheringServer):
    """The server's end of a connection of a UNIX socket."""

    def getHost(self) -> IAddress:
        """Our end: the address of the port."""
        return LocalAddress(self.socket.getsockname())

    def getPeer(self) -> IAddress:
        """The client's end, which in general has no name."""
        name: Any = self.client[0]
        return LocalAddress(name or None)

    # There is no TCP, and nothing that it could wait for

    def getTcpNoDelay(self) -> bool:
        """Whether what is sent is sent at once."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It always is."""

    def getTcpKeepAlive(self) -> bool:
        """Whether the system looks if the peer is still there."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """It knows."""
