"""The addresses of a server, with their listeners and ports.

A successor with another configuration may not serve all listeners. At the handover the predecessor,
the only process that still has such a listener, serves its backlog and closes it: kept open through
the probation, it would let clients wait for nobody. If the successor dies, the predecessor binds
the address again, on the port that it had. That may fail, for want of privileges or because another
program has the address by then; it is the one step of a handover that cannot always be undone. A
listener of a service manager is kept: its address is never free, and closing it would turn no
client away."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.logger import Logger

from ..address import ListenAddress, UnixAddress
from ..config.server_settings import ServerSettings
from ..errors import BindError
from ..handover_interface import HandedConnection
from ..http.io.connection_limit import ConnectionLimit
from ..http.io.port import Port
from ..http.io.transport_factory import TransportFactory, of_family
from ..http.proxy_header_reader import behind_proxies
from ..http.registry import ConnectionRegistry
from ..http.site import Site
from ..process.listeners.listener import Listener, has_pending_connection
from ..reactors import IServerReactor
from .server_certificate import ServerCertificate
from .shared_resources import SharedResources

Admission: TypeAlias = Callable[[IAddress, ConnectionRegistry], str]
"""Why a client, given its address and the open connections, may not connect; empty if it may."""


class Listening:
    """The addresses of a server, with their listeners and ports.

    Args:
        addresses: where to listen.
        settings: backlog, permissions and the like.
        certificate: of the addresses where TLS is spoken.
        reactor: what the ports listen with.
        transport: of the connections that come in.
        log: of the server, so that the lines of one are told apart from those of another.
        shared: what the servers of this process share.
        admission: says why a client that connects is refused, given its address and the open
            connections; None if all may connect.

    Attributes:
        addresses: where to listen.
        limit: how many connections may be open.
    """

    def __init__(
        self,
        addresses: Sequence[ListenAddress],
        settings: ServerSettings,
        certificate: ServerCertificate,
        reactor: IServerReactor,
        transport: TransportFactory,
        log: Logger,
        shared: SharedResources,
        admission: Admission | None = None,
    ) -> None:
        self.addresses = addresses
        self.limit = shared.limit
        if settings.max_connections:
            self.limit = ConnectionLimit(reactor, settings.max_connections, shared.limit.balance)
        self._listeners = shared.listeners
        self._admission = admission
        self._settings = settings
        self._reactor = reactor
        self._transport = transport
        self._log = log
        self._certificate = certificate
        self._endpoints = [_Endpoint(each, certificate.is_needed_at(each)) for each in addresses]

    def __str__(self) -> str:
        return ", ".join(map(str, self.addresses))

    @property
    def listeners_in_use(self) -> list[Listener]:
        """The listeners that are open, in the order of the addresses."""
        return [each.listener for each in self._endpoints if each.listener is not None]

    @property
    def sockets(self) -> list[socket.socket]:
        """What is bound, in the order of the addresses."""
        return [sock for each in self.listeners_in_use for sock in each.sockets]

    @property
    def urls(self) -> list[str]:
        """The root of what is served on each socket; for a UNIX socket its address."""
        return [url for each in self._endpoints for url in each.urls]

    @property
    def given_up(self) -> list[str]:
        """The addresses that were closed for a successor, and have not been bound again."""
        return [str(each.address) for each in self._endpoints if each.lost_port is not None]

    @property
    def is_bound(self) -> bool:
        """Whether a listener is open."""
        return bool(self.listeners_in_use)

    @property
    def is_shared(self) -> bool:
        """Whether other workers accept here too; then the master logs for all of them."""
        return self.limit.balance is not None

    @property
    def is_accepting(self) -> bool:
        """Whether a port is open."""
        return any(each.ports for each in self._endpoints)

    # Listeners

    def bind(self) -> None:
        """Bind what is not bound; connections queue in the kernel until `accept`.

        Raises:
            BindError: the system refused an address.
        """
        for each in self._endpoints:
            if each.listener is None:
                self._bind(each)

    def _bind(self, endpoint: _Endpoint) -> None:
        endpoint.listener = self._listeners.open(
            endpoint.address,
            self._settings.backlog,
            self._settings.unix_mode,
            endpoint.lost_port or 0,
        )
        endpoint.lost_port = None

    def close(self) -> None:
        """Close all listeners; other processes that have them go on listening."""
        for each in self._endpoints:
            listener, each.listener, each.lost_port = each.listener, None, None
            if listener is not None:
                self._listeners.close(listener)

    def bind_again(self) -> None:
        """Bind what was closed for a successor; what cannot be bound is logged."""
        for each in self._endpoints:
            if each.lost_port is None:
                continue
            try:
                self._bind(each)
            except BindError as error:
                self._log.error(
                    "{error}. The successor that has ended did not serve there, so that was closed "
                    "for it. All other addresses are served; an upgrade binds this one anew, once "
                    "that is possible",
                    error=error,
                )

    def _close_for_successor(self, endpoint: _Endpoint, listener: Listener) -> None:
        """Close a listener that no successor serves; it is bound again if we have to serve again.

        A worker leaves that to its master.
        """
        for url in endpoint.urls:
            self._log.info("No longer listening on {url}", url=url)
        if not self.is_shared:
            endpoint.lost_port = _port(listener.sockets[0])
        endpoint.listener = None
        self._listeners.close(listener)

    # Ports

    def accept(self, site: Site) -> None:
        """Accept connections. Addresses that were closed for a successor are bound again first.

        Those that cannot be bound are logged.

        Args:
            site: makes what goes on with them.

        Raises:
            OSError: the system refuses; it can be asked again.
        """
        self.limit.check()
        self.bind_again()
        for endpoint in self._endpoints:
            listener = endpoint.listener
            if listener is None or len(endpoint.ports) == len(listener.sockets):
                continue
            # If the system refuses one, the next call makes those that are missing.
            for number in range(len(endpoint.ports), len(listener.sockets)):
                sock, address = listener.sockets[number], listener.addresses[number]
                endpoint.ports.append(self._port(sock, address, endpoint.is_secure, site))
            if not self.is_shared:  # else the master says so, once for all
                for url in endpoint.urls:
                    self._log.info("Listening on {url}", url=url)

    def _port(self, sock: socket.socket, address: str, is_secure: bool, site: Site) -> Port:
        kind, transport = of_family(sock.family, self._transport)
        factory, transport = self._connections_of(is_secure, site, transport)
        port = kind(
            self._reactor,
            sock,
            factory,
            transport=transport,
            limit=self.limit,
            bound_address=address,
            on_limit=site.connections.count_limit,
            refuses=None
            if self._admission is None
            else partial(_refuses, self._admission, site.connections),
        )
        port.startListening()
        return port

    def _connections_of(
        self, is_secure: bool, site: Site, transport: TransportFactory
    ) -> tuple[IProtocolFactory, TransportFactory]:
        """What makes the connections of a port, and the transport for what is spoken there."""
        factory: IProtocolFactory = site
        if self._certificate.context is not None and is_secure:
            from ..http.tls_handshake import over_tls

            factory, transport = over_tls(site, transport, self._certificate.context)
        return behind_proxies(site, factory, transport)

    def end(self, removed: Collection[Listener] | None = None) -> None:
        """Stop accepting.

        Args:
            removed: the listeners that no other process takes over; None for all of them. They are
                closed, and their files removed, when the connections in their backlogs have been
                accepted. One that cannot be bound again is kept open if we might serve again.
        """
        ends = {
            each: each.listener
            for each in self._endpoints
            if each.listener is not None and (removed is None or each.listener in removed)
        }
        for listener in ends.values():
            listener.remove_file()
        for endpoint in self._endpoints:
            ports, endpoint.ports = endpoint.ports, []
            for port in ports:
                if endpoint in ends:
                    self._accept_queued(port)
                port.close()
        if removed is None:
            self.close()
            return
        for endpoint, listener in ends.items():
            if listener.can_be_bound_again:
                self._close_for_successor(endpoint, listener)

    def _accept_queued(self, port: Port) -> None:
        # A close would reset what the kernel has queued. Bounded, for under a flood of new
        # connections the queue is never empty; and by the room that there is.
        for _ in range(self._settings.backlog):
            if port.is_waiting or not has_pending_connection(port.socket):
                break
            port.doRead()

    def port_of(self, handed: HandedConnection) -> Port | None:
        """The port of the listener that a connection of another process came in by, if any."""
        ports = (port for each in self._endpoints for port in each.ports)
        return next((each for each in ports if each.bound_address == handed.listener), None)


class _Endpoint:
    """One address of a server.

    Attributes:
        listener: while it is bound; None before that, and when it was closed for a successor.
        ports: what accepts from the sockets of the listener.
        lost_port: the port of a listener that was closed for a successor, and is to be bound again
            if that dies (0 for a UNIX socket); None if none was.
    """

    def __init__(self, address: ListenAddress, is_secure: bool) -> None:
        self.address = address
        self.is_secure = is_secure
        self.listener: Listener | None = None
        self.ports: list[Port] = []
        self.lost_port: int | None = None

    @property
    def urls(self) -> list[str]:
        """The root of what is served on each socket; for a UNIX socket its address."""
        listener = self.listener
        return [] if listener is None else [self._url(each) for each in listener.addresses]

    def _url(self, bound: str) -> str:
        if isinstance(self.address, UnixAddress):
            return f"{'https:' if self.is_secure else ''}{bound}"
        return f"{'https' if self.is_secure else 'http'}://{bound}"


def _port(sock: socket.socket) -> int:
    where = sock.getsockname()
    return 0 if sock.family == socket.AF_UNIX else int(where[1])


def _refuses(admission: Admission, connections: ConnectionRegistry, client: IAddress) -> bool:
    reason = admission(client, connections)
    if reason:
        connections.client_log.write(
            client, "Refused a connection from {peer}: {reason}", reason=reason
        )
    return bool(reason)
