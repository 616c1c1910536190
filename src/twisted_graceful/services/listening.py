"""Where a server listens: its addresses, the sockets that are bound to them, and their ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.logger import Logger

from .. import address as addresses
from .. import twisted_internals
from ..clock import time_of_day
from ..config.settings import Settings
from ..errors import BindError, CertificateError
from ..handover_interface import HandedConnection
from ..http.io.port import AcceptBalance, ConnectionLimit, Port
from ..http.io.proxy_header import behind_proxies
from ..http.io.transport import GatheringServer
from ..http.io.unix_port import of_family
from ..http.registry import ConnectionRegistry
from ..http.site import Site
from ..process.listeners import sockets
from ..process.upgrade.launch import working_directory

if TYPE_CHECKING:
    import ssl

    from ..http.io.certificates import CertificateFacts


Admission: TypeAlias = Callable[[Any, ConnectionRegistry], str]
"""Why a client, given its address and the open connections, may not connect; empty if it may."""


class Listening:
    """The addresses of a server.

    Args:
        written: the addresses; `twisted_graceful.address.parse` says how.
        settings: backlog, certificate and the like.
        reactor: what the ports listen with.
        transport: of the connections that come in.
        log: of the server, so that the lines of one are told apart from those of another.

    Attributes:
        addresses: what was written.
        listeners: where the sockets come from; replaced by whoever has inherited some.
        room: what the connections share; replaced by whoever has several servers.
        admission: says of a client that connects why it is refused, or nothing; given its address
            and the open connections. None if all may connect.
        share: of the connections of all processes that accept on these addresses at the same time;
            None if no other does.

    Raises:
        AddressError: an address is none.
    """

    def __init__(
        self,
        written: Sequence[str | int],
        settings: Settings,
        reactor: Any,
        transport: type[GatheringServer],
        log: Logger,
    ) -> None:
        here = working_directory(os.environ)
        self.addresses = [addresses.parse(each).within(here) for each in written]
        self.listeners = sockets.Listeners()
        self.room = ConnectionLimit(reactor, settings.max_connections)
        self.admission: Admission | None = None
        self.share: AcceptBalance | None = None
        self._settings = settings
        self._reactor = reactor
        self._transport = transport
        self._log = log
        # By the place of their address among all; and the port of each that was given up.
        self._opened: dict[int, list[socket.socket]] = {}
        self._given_up: dict[int, int] = {}
        self._secure: set[socket.socket] = set()
        self._certificate: ssl.SSLContext | None = None
        self._certificate_facts: CertificateFacts | None = None
        self._ports: dict[socket.socket, Port] = {}

    def __str__(self) -> str:
        return ", ".join(map(str, self.addresses))

    @property
    def sockets(self) -> list[socket.socket]:
        """What is bound, in the order of the addresses."""
        return [each for _, opened in sorted(self._opened.items()) for each in opened]

    @property
    def given_up(self) -> list[str]:
        """The addresses that were closed for a successor, and are not bound anew."""
        return [str(self.addresses[place]) for place in sorted(self._given_up)]

    @property
    def is_accepting(self) -> bool:
        """Whether a port is open."""
        return bool(self._ports)

    @property
    def all_secure(self) -> bool:
        """Whether TLS is spoken on each address."""
        return all(map(self._is_secure, self.addresses))

    def url(self, listener: socket.socket) -> str:
        """The root of what is served there; for a UNIX socket its address."""
        secure = listener in self._secure
        if listener.family == socket.AF_UNIX:
            return f"{'https:' if secure else ''}{sockets.text(listener)}"
        return f"{'https' if secure else 'http'}://{sockets.text(listener)}"

    def _is_secure(self, address: addresses.ListenAddress) -> bool:
        return address.scheme == "https" or (not address.scheme and bool(self._settings.tls_cert))

    def read_certificate(self) -> None:
        """Read the certificate and its key, if an address needs them.

        Raises:
            CertificateError: there is none that can be used.
        """
        secure = [each for each in self.addresses if self._is_secure(each)]
        if not secure:
            return
        if not self._settings.tls_cert:
            raise CertificateError(
                f"{str(secure[0])!r} needs a certificate: name its file with tls_cert (--tls-cert)"
            )
        try:
            from ..http.io import certificates
        except ImportError as error:
            raise CertificateError(
                f"this Python was built without OpenSSL, and cannot speak TLS: {error}"
            ) from error
        self._certificate = certificates.load(self._settings.tls_cert, self._settings.tls_key)
        self._certificate_facts = None

    @property
    def certificate_facts(self) -> CertificateFacts | None:
        """What the certificate says; None if there is none, or it was not read."""
        if self._certificate is not None and self._certificate_facts is None:
            from ..http.io import certificates

            hosts = {
                each.domain
                for each in self.addresses
                if isinstance(each, addresses.Address) and self._is_secure(each) and each.domain
            }
            try:
                self._certificate_facts = certificates.facts(
                    self._certificate, self._settings.tls_cert, tuple(sorted(hosts))
                )
            except (OSError, ValueError) as error:  # OpenSSL can use it, which is what counts
                self._certificate_facts = certificates.CertificateFacts(
                    None, None, faults=(f"it could not be examined: {error}",)
                )
        return self._certificate_facts

    @property
    def certificate_ends(self) -> dict[str, float]:
        """When the certificate expires, in seconds since the epoch, by the names of listeners."""
        known = self.certificate_facts
        if known is None or known.ends is None:
            return {}
        return {each.name: known.ends for each in self.addresses if self._is_secure(each)}

    @property
    def certificate_warnings(self) -> list[str]:
        """What an operator should do something about; each sentence names the file."""
        known = self.certificate_facts
        if known is None:
            return []
        found = known.warnings(time_of_day(self._reactor)())
        return [f"The certificate in {self._settings.tls_cert!r}: {each}" for each in found]

    def warn_of_certificate(self) -> None:
        """Log these warnings."""
        for warning in self.certificate_warnings:
            self._log.warn("{warning}", warning=warning)

    # Sockets

    def bind(self) -> None:
        """Bind what is not bound; connections queue in the kernel until `accept`.

        Raises:
            BindError: the system refused an address.
        """
        for place in range(len(self.addresses)):
            if place not in self._opened:
                self._bind(place)

    def _bind(self, place: int, port: int = 0) -> None:
        address, settings = self.addresses[place], self._settings
        opened = self.listeners.open(address, settings.backlog, settings.unix_mode, port)
        self._opened[place] = opened
        if self._is_secure(address):
            self._secure.update(opened)

    def close(self) -> None:
        """Close all sockets; other processes that share them go on."""
        self.listeners.close(self.sockets)
        self._opened.clear()
        self._given_up.clear()
        self._secure.clear()

    def bind_anew(self) -> None:
        """Bind what was given up for a successor; what cannot be bound is told in the log."""
        for place, port in list(self._given_up.items()):
            try:
                self._bind(place, port)
            except BindError as error:
                self._log.error(
                    "{error}. The successor that has ended did not serve there, so that was closed "
                    "for it. All other addresses are served; an upgrade binds this one anew, once "
                    "that is possible",
                    error=error,
                )
            else:
                del self._given_up[place]

    def _give_up(self, gone: Collection[socket.socket]) -> None:
        """Close what no successor serves; should we have to serve again, it is bound anew.

        If it is shared that is done by whoever shares it out.
        """
        for place, opened in list(self._opened.items()):
            # What cannot be bound anew is kept, though its clients wait.
            if set(gone).issuperset(opened) and all(map(sockets.can_be_bound_anew, opened)):
                for each in opened:
                    self._log.info("No longer listening on {url}", url=self.url(each))
                where = opened[0].getsockname()
                if self.share is None:
                    self._given_up[place] = 0 if opened[0].family == socket.AF_UNIX else where[1]
                self._secure.difference_update(opened)
                del self._opened[place]
                self.listeners.close(opened)

    # Ports

    def accept(self, site: Site) -> None:
        """Accept connections, where that is not done; what was given up is bound anew before.

        What cannot be bound is told in the log.

        Args:
            site: makes what goes on with them.

        Raises:
            OSError: the system refuses; it can be asked again.
        """
        self.room.check()
        self.room.share = self.share
        self.bind_anew()
        for listener in self.sockets:
            if listener in self._ports:
                continue
            kind, transport = of_family(listener.family, self._transport)
            factory, transport = self._connections_of(listener, site, transport)
            port = twisted_internals.port(kind, self._reactor, listener, factory)
            port.transport = transport
            port.room = self.room
            port.hit = site.connections.count_limit
            port.name = sockets.text(listener)
            if self.admission is not None:
                port.refuses = partial(_refuses, self.admission, site.connections)
            port.startListening()
            self._ports[listener] = port
            if self.share is None:  # else the master says so, once for all
                self._log.info("Listening on {url}", url=self.url(listener))

    def _connections_of(
        self, listener: socket.socket, site: Site, transport: type[GatheringServer]
    ) -> tuple[Any, type[GatheringServer]]:
        """What makes the connections of a listener, and the transport for what is spoken there."""
        factory: Any = site
        if self._certificate is not None and listener in self._secure:
            from ..http.io.tls import over_tls

            factory, transport = over_tls(site, transport, self._certificate)
        return behind_proxies(site, factory, transport)

    def end(self, gone: Collection[socket.socket] | None = None) -> None:
        """Accept no more.

        Args:
            gone: the sockets with which no other process goes on; None for all of them. They are
                closed, and their files removed, when what waits in their queues is accepted.
        """
        ends = set(self.sockets if gone is None else gone)
        ports, self._ports = self._ports, {}
        self.listeners.remove_files(ends.intersection(self.sockets))
        for listener, port in ports.items():
            if listener in ends:
                self._accept_queued(port, listener)
            port.close()
        if gone is None:
            self.close()
        else:
            self._give_up(ends)

    def _accept_queued(self, port: Port, listener: socket.socket) -> None:
        # A close would reset what the kernel has queued. Bounded, for under a flood of new
        # connections the queue is never empty; and by the room that there is.
        for _ in range(self._settings.backlog):
            if port.waits or not sockets.pending(listener):
                break
            port.doRead()

    def port_of(self, handed: HandedConnection) -> Port | None:
        """The port of the listener that a connection of another process came in by, if any."""
        return next((each for each in self._ports.values() if each.name == handed.listener), None)


def _refuses(admission: Admission, connections: ConnectionRegistry, client: Any) -> bool:
    reason = admission(client, connections)
    if reason:
        connections.client_log.write(
            client, "Refused a connection from {peer}: {reason}", reason=reason
        )
    return bool(reason)
