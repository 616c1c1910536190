"""Accepting connections, as many as are allowed; the backlog of the kernel holds the rest."""

from __future__ import annotations

import errno
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...handover_interface import HandedConnection
from ...reactors import IServerReactor
from .accept_balance import AcceptPacer
from .connection_limit import ConnectionLimit
from .proxy_protocol import ConnectionFacts

_THAT_ONE = (errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH)
"""What accept(2) says of the one connection, which has failed meanwhile."""


class Port(tcp.Port):
    """A port that accepts within a limit, and shares connections fairly with other processes.

    Twisted's own has no limit. When it is out of descriptors, it accepts clients and closes them;
    this one leaves them in the backlog.

    Args:
        reactor: waits for connections.
        listener: a listening socket that does not block. It is duplicated, and stays the caller's
            to close.
        factory: makes the protocols.
        transport: makes the transport of each connection.
        limit: how many connections may be open.
        bound_address: where it listens, for a process that takes over its connections.
        on_limit: called with the name of a limit that keeps it from accepting.
        refuses: whether to refuse a client, given its address, when it is accepted; None if none
            is refused.
    """

    transport: Any
    _log = Logger()

    def __init__(
        self,
        reactor: IServerReactor,
        listener: socket.socket,
        factory: IProtocolFactory,
        *,
        transport: Any,
        limit: ConnectionLimit,
        bound_address: str = "",
        on_limit: Callable[[str], None] = lambda name: None,
        refuses: Callable[[IAddress], bool] | None = None,
    ) -> None:
        interface = "" if listener.family == socket.AF_UNIX else listener.getsockname()[0]
        super().__init__(0, factory, interface=interface, reactor=reactor)
        self._preexistingSocket = listener.dup()
        self.transport = transport
        self.limit = limit
        self.bound_address = bound_address
        self._on_limit = on_limit
        self._refuses = refuses
        self._pacer = AcceptPacer(reactor, self.stopReading, self.startReading)

    @property
    def is_waiting(self) -> bool:
        """Whether it accepts nothing until a connection ends."""
        return self in self.limit

    def startListening(self) -> None:
        """Accept from the socket that it was made with.

        Twisted's own method logs "Site starting on 8080", but the server has logged the URL.
        """
        listener, self._preexistingSocket = self._preexistingSocket, None
        assert listener is not None
        self._shouldShutdown = False
        self._realPortNumber = listener.getsockname()[1]
        self.factory.doStart()  # type: ignore[union-attr]
        self.connected = True
        self.socket = listener
        self.fileno = listener.fileno  # type: ignore[method-assign]
        self.numberAccepts = 100
        self.startReading()

    def _logConnectionLostMsg(self) -> None:
        """Log nothing: "(TCP Port 8080 Closed)" reads like an outage during an upgrade."""

    def doRead(self) -> None:
        """Accept what the kernel has queued, within the limit."""
        limit = self.limit
        free = limit.free
        if not free:
            self._on_limit("max_connections")
            limit.wait(self)
            return
        accepted = 0
        balance = limit.balance
        for _ in range(min(self.numberAccepts, free)):
            if balance is not None and balance.is_ahead and self._pacer.must_pause():
                return
            try:
                client, where = self.socket.accept()
            except BlockingIOError:
                self._pacer.burst_over()
                break
            except OSError as error:
                if error.errno in _THAT_ONE:
                    continue
                self._on_limit(errno.errorcode.get(error.errno or 0, "accept"))
                limit.wait(self, error)
                return
            accepted += 1
            self._begin(client, where, self.factory)
        # As Twisted has it: where there were many, look for more; where there was one, for one.
        many = accepted == self.numberAccepts
        self.numberAccepts = accepted + 20 if many else max(1, accepted)

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a connection that came in elsewhere would be served as if it were ours."""
        return self.limit.free > 0 and self.transport.can_restore(json.loads(handed.facts))

    def take_up(self, handed: HandedConnection, factory: IProtocolFactory) -> None:
        """Serve a connection that another process has begun.

        Args:
            handed: what came with it; the descriptor is ours.
            factory: makes what goes on with it.
        """
        client = socket.socket(fileno=handed.descriptor)
        try:
            where = client.getpeername()
        except OSError:  # it has ended on its way
            client.close()
            return
        protocol: Any = self._begin(client, where, factory, json.loads(handed.facts))
        if protocol is not None:
            protocol.attach(handed)

    def _begin(
        self,
        client: socket.socket,
        where: tuple[Any, ...],
        factory: Any,
        facts: ConnectionFacts | None = None,
    ) -> IProtocol | None:
        transport = None
        try:
            if len(where) == 4:  # IPv6: the host with its scope
                flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
                host = socket.getnameinfo(where, flags)[0]
                # A client with IPv4, at a socket for both: one that systemd has bound.
                host = host.removeprefix("::ffff:") if "." in host else host
                where = (host, *where[1:])
            address = self._buildAddr(where)
            if facts is None and self._refuses is not None and self._refuses(address):
                _reset(client)
                return None
            protocol: IProtocol | None = factory.buildProtocol(address)
            if protocol is None:
                client.close()
                return None
            number = self.sessionno
            self.sessionno = number + 1
            transport = self.transport(client, protocol, where, self, number, self.reactor)
            transport.room = self.limit
            transport.listener = self.bound_address
            self.limit.enter()
            if facts is not None:
                transport.restore(facts)
            protocol.makeConnection(transport)
            return protocol
        except Exception:
            self._log.failure("A connection could not be begun: it is closed")
            if transport is None:
                client.close()
            else:
                transport.abortConnection()
            return None

    def close(self) -> None:
        """Stop listening now.

        `stopListening` closes in the next turn of the reactor. Until then clients can connect, and
        are then cut, and nobody can bind the address again.
        """
        self.connectionLost(Failure(CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        """The port is closed."""
        self._pacer.stop()
        self.limit.forget(self)
        super().connectionLost(reason)


def _reset(client: socket.socket) -> None:
    """Close a connection with a reset, so that the kernel keeps nothing of it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
