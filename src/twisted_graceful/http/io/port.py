"""Accepting connections: as many as there is room for; the kernel's queue holds the rest."""

from __future__ import annotations

import errno
import json
import resource
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...handover_interface import HandedConnection

_THAT_ONE = (errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH)
"""What accept(2) says of the one connection, which has failed meanwhile."""

_RETRY = 1.0
"""Seconds until we try again what the system refused: nobody tells us when it is better."""

_QUIET = 60.0
"""Seconds for which a matter is not told again."""

_RELIEVED = 0.9
"""The part of the limit below which it counts as left; not so near that it is told all the time."""


TURN = 0.001
"""Seconds for which a connection is left to processes that have fewer."""

_RECENT = 0.05
"""Seconds after such a wait for which it counts; more than a turn of a busy reactor takes."""

_LARGEST = 64
"""Connections that are accepted at most between two such waits."""


class AcceptBalance(Protocol):
    """The connections of this process, where several accept from the same sockets."""

    @property
    def workers(self) -> int:
        """How many processes accept; 0 if that is unknown."""

    def entered(self) -> None:
        """One has begun."""

    def left(self) -> None:
        """One has ended."""

    @property
    def is_ahead(self) -> bool:
        """Whether another process has so many fewer that it should have the next."""


def limit_of_descriptors() -> int:
    """How many connections the descriptors of this process are enough for.

    Three quarters of the soft RLIMIT_NOFILE. The rest is for listeners, logs and upgrades, some
    twenty, and for what applications open: so each third connection may have a file of its own,
    be it a body that is spooled, a file that is sent, or a database's socket.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft * 3 // 4)


class ConnectionLimit:
    """The room that connections of one or more ports share.

    Args:
        clock: says when to try again, and when to tell again.
        limit: how many connections may be open; 0 for as many as the descriptors of this
            process are enough for, which is looked up whenever one is accepted.

    Attributes:
        share: counts them among those of all processes that accept; None if no other does.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, limit: int = 0) -> None:
        self._clock = clock
        self.share: AcceptBalance | None = None
        self._limit = limit
        self._taken = 0
        self._waiting: dict[Port, None] = {}
        self._retry: IDelayedCall | None = None
        self._told_at: dict[str, float] = {}
        self._is_full = False

    @property
    def limit(self) -> int:
        """How many connections may be open."""
        return self._limit or limit_of_descriptors()

    def check(self) -> None:
        """Warn of a limit for which there are not enough descriptors."""
        if self._limit > limit_of_descriptors():
            self._log.warn(
                "max_connections is {limit}, for which RLIMIT_NOFILE should be {descriptors}; "
                "it is {soft} (`ulimit -n`, systemd's LimitNOFILE)",
                limit=self._limit,
                descriptors=-(-self._limit * 4 // 3),
                soft=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )

    @property
    def free(self) -> int:
        """How many more there is room for."""
        return max(0, self.limit - self._taken)

    @property
    def is_waited_for(self) -> bool:
        """Whether a connection has come that there is no room for."""
        return bool(self._waiting)

    def enter(self) -> None:
        """A connection has begun."""
        self._taken += 1
        if self.share is not None:
            self.share.entered()

    def leave(self) -> None:
        """A connection has ended."""
        self._taken -= 1
        if self.share is not None:
            self.share.left()
        if self._waiting:
            self._wake()
        if self._is_full and self._taken <= self.limit * _RELIEVED:
            self._is_full = False
            self._log.info("{taken} connections are open: there is room again", taken=self._taken)

    def wait(self, port: Port, error: OSError | None = None) -> None:
        """Let a port accept nothing until there is room.

        Args:
            port: which, or what.
            error: what the system said, if it is the system that has no room.
        """
        self._waiting[port] = None
        port.stopReading()
        if error is not None:
            if self._retry is None:
                self._retry = self._clock.callLater(_RETRY, self._wake)
            self._tell(
                "No connection can be accepted: {error}. Trying again; the kernel queues them. "
                "RLIMIT_NOFILE is {descriptors} (`ulimit -n`, systemd's LimitNOFILE)",
                error=error.strerror,
                descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )
        elif not self._is_full:
            self._is_full = self._tell(
                "{limit} connections are open, as many as {reason}: "
                "the kernel queues the next until one ends",
                limit=self.limit,
                reason="max_connections allows"
                if self._limit
                else "three quarters of RLIMIT_NOFILE (`ulimit -n`, systemd's LimitNOFILE)",
            )

    def __contains__(self, port: Port) -> bool:
        """Whether a port waits."""
        return port in self._waiting

    def forget(self, port: Port) -> None:
        """A port has been closed."""
        self._waiting.pop(port, None)
        if not self._waiting and self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _wake(self) -> None:
        retry, self._retry = self._retry, None
        if retry is not None and retry.active():
            retry.cancel()
        waiting, self._waiting = self._waiting, {}
        for port in waiting:
            port.startReading()

    def _tell(self, text: str, **values: Any) -> bool:
        """Say something in the log, but not all the time; whether it was said."""
        now = self._clock.seconds()
        if now < self._told_at.get(text, now):
            return False
        self._told_at[text] = now + _QUIET
        self._log.warn(text, **values)
        return True


class Port(tcp.Port):
    """A port that accepts while there is room, and leaves others their share.

    Twisted's own accepts whatever comes; out of descriptors it closes, one by one, what
    the kernel has queued.

    Who is ahead of another process leaves what has come to that one, for a moment. What is
    still there then, nobody else has the time for: so more is accepted from wait to wait, as long
    as that goes on.

    Attributes:
        room: what its connections need; to be set before it listens.
        name: where it listens, for a process that takes its connections over.
        hit: is called with the name of a limit that keeps it from accepting.
        refuses: whether a client, by its address, is refused when it is accepted; None if none
            is.
    """

    _log = Logger()

    room: ConnectionLimit
    name = ""
    hit: Callable[[str], None] = staticmethod(lambda limit: None)
    refuses: Callable[[Any], bool] | None = None

    _pause: IDelayedCall | None = None
    _waited_until = float("-inf")
    _grant = 1
    _granted = 0
    """What may be accepted though this process is ahead, of what the last wait granted."""

    @property
    def waits(self) -> bool:
        """Whether it accepts nothing until there is room."""
        return self in self.room

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
        """Accept what the kernel has queued, within the room."""
        room = self.room
        free = room.free
        if not free:
            self.hit("max_connections")
            room.wait(self)
            return
        accepted = 0
        share = room.share
        for _ in range(min(self.numberAccepts, free)):
            if share is not None and share.is_ahead and not self._may_go_ahead():
                self._wait_for_others()
                return
            try:
                client, where = self.socket.accept()
            except BlockingIOError:
                self._granted = 0
                break
            except OSError as error:
                if error.errno in _THAT_ONE:
                    continue
                self.hit(errno.errorcode.get(error.errno or 0, "accept"))
                room.wait(self, error)
                return
            accepted += 1
            self._begin(client, where, self.factory)
        # As Twisted has it: where there were many, look for more; where there was one, for one.
        many = accepted == self.numberAccepts
        self.numberAccepts = accepted + 20 if many else max(1, accepted)

    def _may_go_ahead(self) -> bool:
        if not self._granted or not self._has_waited():
            return False
        self._granted -= 1
        return True

    def _has_waited(self) -> bool:
        """Whether that was just now, so that what comes is still the same burst."""
        clock: Any = self.reactor
        return bool(clock.seconds() - self._waited_until < _RECENT)

    def _wait_for_others(self) -> None:
        self._grant = min(2 * self._grant, _LARGEST) if self._has_waited() else 1
        self.stopReading()
        clock: Any = self.reactor
        self._pause = clock.callLater(TURN, self._go_on)

    def _go_on(self) -> None:
        clock: Any = self.reactor
        self._pause, self._waited_until = None, clock.seconds()
        self._granted = self._grant
        self.startReading()

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a connection that came in elsewhere would be served as if it were ours."""
        transport: Any = self.transport
        return self.room.free > 0 and transport.can_restore(json.loads(handed.facts))

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
        facts: Mapping[str, Any] | None = None,
    ) -> Any:
        transport: Any = None
        try:
            if len(where) == 4:  # IPv6: the host with its scope
                flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
                host = socket.getnameinfo(where, flags)[0]
                # A client with IPv4, at a socket for both: one that systemd has bound.
                host = host.removeprefix("::ffff:") if "." in host else host
                where = (host, *where[1:])
            address = self._buildAddr(where)
            if facts is None and self.refuses is not None and self.refuses(address):
                _reset(client)
                return None
            protocol = factory.buildProtocol(address)
            if protocol is None:
                client.close()
                return None
            number = self.sessionno
            self.sessionno = number + 1
            transport = self.transport(client, protocol, where, self, number, self.reactor)
            transport.room = self.room
            transport.listener = self.name
            self.room.enter()
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
        """Stop to listen now.

        `stopListening` closes in the next turn of the reactor: until then clients come, who are
        then cut, and nobody can bind the address anew.
        """
        self.connectionLost(Failure(CONNECTION_DONE))

    def connectionLost(self, reason: Any) -> None:
        """The port is closed."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()
        self.room.forget(self)
        super().connectionLost(reason)


def _reset(client: socket.socket) -> None:
    """Close a connection with a reset, so that the kernel keeps nothing of it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
