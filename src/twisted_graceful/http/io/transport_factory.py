"""Chooses the transport of a connection, by the layers below HTTP on its port."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocol

from .port import Port
from .proxy_header import ProxyHeaderServer, UnixProxyHeaderServer
from .proxy_protocol import ConnectionFacts
from .transport import Flusher, GatheringServer, send_queue
from .unix_port import UnixPort, UnixServer

if TYPE_CHECKING:
    import ssl

_CLASSES = {
    # UNIX, PROXY header
    (False, False): GatheringServer,
    (False, True): ProxyHeaderServer,
    (True, False): UnixServer,
    (True, True): UnixProxyHeaderServer,
}


@dataclass(frozen=True)
class TransportFactory:
    """Makes the transports of a port.

    Args:
        flusher: sends, at the end of a turn of the reactor, what was written in it.
        poller: waits for the sockets; None if the reactor of the port does.
        send_queue: how many bytes of a socket the other side has not acknowledged.
        unix: whether it is a port of a UNIX socket.
        proxy_header: whether each connection begins with a PROXY header.
        tls: certificate and key; None without TLS.
    """

    flusher: Flusher
    poller: object = None
    send_queue: Callable[[Any], int] = send_queue
    unix: bool = False
    proxy_header: bool = False
    tls: ssl.SSLContext | None = None

    def __call__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        port: object,
        number: int,
        reactor: object,
    ) -> GatheringServer:
        """The transport of a connection; the arguments are those of a `GatheringServer`."""
        made = partial(self._class, sock, protocol, client, port, number)
        layers: dict[str, ssl.SSLContext] = {} if self.tls is None else {"context": self.tls}
        return made(self.poller or reactor, self.flusher, self.send_queue, **layers)

    @property
    def _class(self) -> type[GatheringServer]:
        if self.tls is None:
            return _CLASSES[self.unix, self.proxy_header]
        from .tls import TLS_CLASSES  # some Pythons are built without OpenSSL

        return TLS_CLASSES[self.unix, self.proxy_header]

    def can_restore(self, facts: ConnectionFacts) -> bool:
        """Whether a connection of which these are the facts can continue on such a transport."""
        return self._class.can_restore(facts)

    def behind_proxy_header(self) -> TransportFactory:
        """The same for connections that begin with a PROXY header."""
        return replace(self, proxy_header=True)

    def over_tls(self, context: ssl.SSLContext) -> TransportFactory:
        """The same over TLS."""
        return replace(self, tls=context)


def of_family(family: int, transport: TransportFactory) -> tuple[type[Port], TransportFactory]:
    """The class of a port, and what makes the transports of its connections.

    Args:
        family: of the listener.
        transport: makes those of other families.
    """
    if family == socket.AF_UNIX:
        return UnixPort, replace(transport, unix=True)
    return Port, transport
