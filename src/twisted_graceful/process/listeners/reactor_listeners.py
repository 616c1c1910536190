"""The listeners that a program opens through the reactor, which a successor inherits as well.

A program opens them with ``listenTCP``, ``listenUNIX``, ``listenSSL`` and ``listenUDP``: itself, or
through ``TCPServer``, ``strports.service`` and endpoints. In a process that is ours these methods
of the reactor make ports whose sockets are shared with other generations:

- A socket is inherited by its name: the protocol and the address that the program asked for.
- Exactly one generation reads from it, the one that serves. The successor begins when it may serve;
  the predecessor pauses at the handover, and resumes if the successor dies in its probation.
- The end of a port never shuts down the socket, as that of Twisted's own ports does: that would end
  it for all processes.

In a worker, a listener of its master is open but not read from: the master serves it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from typing import Any, TypeVar

from twisted.internet import tcp, udp, unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

from ...address import UnixAddress, authority
from ...errors import BindError, UpgradeRefused
from ...timer import Timer
from .listener import Listener, bound_address, inode
from .listener_registry import ListenerRegistry


class ReactorListeners:
    """The listeners that the program opens through the reactor.

    Args:
        reactor: its methods are replaced by `take_over`. Only one that polls descriptors is
            changed; every reactor of Twisted for POSIX does.
        registry: where the sockets come from, and where a successor gets them.
        has_predecessor: whether another generation serves until `accept` is called.
        is_worker: whether a master serves the listeners that this process inherits.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, registry: ListenerRegistry, *, has_predecessor: bool, is_worker: bool
    ) -> None:
        self._reactor = reactor
        self._registry = registry
        self._is_worker = is_worker
        self._is_accepting = not (has_predecessor or is_worker)
        self._is_loaded = False
        self._ports: dict[_SharedPort, Listener | None] = {}
        self._connections: set[_CountedConnection] = set()
        self._drained: Deferred[None] | None = None
        self._drain_deadline = Timer(reactor)

    def take_over(self) -> None:
        """Replace the methods of the reactor, on this instance."""
        if isinstance(self._reactor, PosixReactorBase):
            reactor: Any = self._reactor
            reactor.listenTCP = self.listenTCP  # which listenSSL calls, too
            reactor.listenUNIX = self.listenUNIX
            reactor.listenUDP = self.listenUDP

    # What the program calls

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Listen on a TCP port; see `twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        name = f"tcp:{authority(interface, port)}"
        if self._is_private(name, is_temporary=port == 0 and self._is_loaded):
            made = tcp.Port(port, factory, backlog, interface, self._reactor)
            made.startListening()
            return made
        shared = _TCPPort(port, factory, backlog, interface, self._reactor)
        return self._listen(shared, self._registry.inherit(name), name)

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> Any:
        """Receive datagrams; see `twisted.internet.interfaces.IReactorUDP.listenUDP`.

        A socket without a fixed port is that of a client, such as a resolver, and is not inherited.
        """
        name = f"udp:{authority(interface, port)}"
        if self._is_private(name, is_temporary=port == 0):
            made = udp.Port(port, protocol, interface, maxPacketSize, self._reactor)
            made.startListening()
            return made
        shared = _UDPPort(port, protocol, interface, maxPacketSize, self._reactor)
        return self._listen(shared, self._registry.inherit(name), name)

    def listenUNIX(
        self,
        address: str | bytes,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: int = 0,
    ) -> Any:
        """Listen on a UNIX socket; see `twisted.internet.interfaces.IReactorUNIX.listenUNIX`.

        Args:
            wantPID: ignored. Twisted replaces a stale socket file only with such a lock, which the
                predecessor would hold; we do in any case.
        """
        path = os.fsdecode(address)
        local = UnixAddress.of(path.encode() if path.startswith("\0") else path)
        local = local.within(os.getcwd())
        if self._is_private(local.name):
            made = unix.Port(address, factory, backlog, mode, self._reactor, wantPID)  # type: ignore[arg-type]
            made.startListening()
            return made
        try:
            listener = self._registry.open(local, backlog, mode)
        except BindError as error:
            reason = error.__cause__ or error
            raise CannotListenError(None, local.path, reason) from error
        shared = _UNIXPort(local.sockaddr, factory, backlog, mode, self._reactor)  # type: ignore[arg-type]
        return self._listen(shared, listener, local.name)

    def _is_private(self, name: str, *, is_temporary: bool = False) -> bool:
        """Whether no other process gets or has the socket.

        A port of any number that is opened in the middle of the work, such as one for a transfer
        of FTP, would mean nothing to a successor. What only a worker opens is not its master's.
        """
        return is_temporary or (self._is_worker and not self._registry.inherits(name))

    def _listen(self, port: _Port, listener: Listener | None, name: str) -> _Port:
        if listener is not None:
            port.adopt(listener.sockets[0])
            if self._is_worker:
                self._registry.close(listener)
                listener = None
        port.join(self, is_paused=not self._is_accepting)
        try:
            port.startListening()
        except BaseException:
            if listener is not None:
                self._registry.close(listener)
            raise
        if listener is None and not self._is_worker:
            listener = Listener(name, [port.socket.dup()])
            self._registry.add(listener)
        self._ports[port] = listener
        return port

    # What the process does

    def accept(self) -> None:
        """Read from all ports, now that this process serves; again, after a `hand_over`."""
        self._drain_deadline.cancel()
        self._drained = None
        self._is_loaded = True
        if self._is_worker:
            self._registry.leave_unused()  # to the master
            return
        self._is_accepting = True
        for port in self._ports:
            port.resume()

    def hand_over(self, removed: Collection[Listener], timeout: float) -> Deferred[None]:
        """Leave the ports to the successor, and let the connections end.

        Args:
            removed: the listeners that it does not have. They are served here to the end.
            timeout: seconds that connections may take to end; the end of the process cuts them.

        Returns:
            A Deferred that fires when no connection is left, or after the timeout.
        """
        if self._is_worker:
            return succeed(None)
        self._is_accepting = False
        for port, listener in self._ports.items():
            if listener not in removed:
                port.pause()
        self._drained = drained = Deferred[None]()
        self._drain_deadline.start(timeout, self._drain_over)
        self._check_drained()
        return drained

    def _check_drained(self) -> None:
        if self._drained is not None and not self._connections:
            self._drain_over()

    def _drain_over(self) -> None:
        self._drain_deadline.cancel()
        drained, self._drained = self._drained, None
        if self._connections:
            self._log.warn(
                "{count} connections of listeners beside the servers did not end within the drain "
                "timeout; the end of the process closes them",
                count=len(self._connections),
            )
        if drained is not None:
            drained.callback(None)

    def require_inheritable(self) -> None:
        """Make sure that a successor can listen wherever the program does.

        Raises:
            UpgradeRefused: it opened one before `take_over`, or by another method.
        """
        if not isinstance(self._reactor, PosixReactorBase):
            return
        known = {number for each in self._registry.in_use for number in each.inodes}
        others = [
            bound_address(each.socket)
            for each in self._reactor.getReaders()
            if isinstance(each, (tcp.Port, udp.Port)) and _is_exclusive(each.socket, each)
            if inode(each.fileno()) not in known
        ]
        if others:
            raise UpgradeRefused(
                f"this program listens on {', '.join(sorted(others))}, which a successor cannot "
                "inherit. It inherits what is opened with listenTCP, listenUNIX, listenSSL or "
                "listenUDP after the GracefulService was given its parent: in a service that is "
                "started with it, or in the function that is served as the application"
            )

    # What the ports tell

    def closed(self, port: _SharedPort) -> None:
        """A port has been closed."""
        listener = self._ports.pop(port, None)
        if listener is not None:
            self._registry.close(listener)

    def connected(self, connection: _CountedConnection) -> None:
        """A port has accepted a connection."""
        self._connections.add(connection)

    def disconnected(self, connection: _CountedConnection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self._check_drained()


def _is_exclusive(sock: socket.socket, port: Any) -> bool:
    """Whether a port has an address of its own, which no other socket can be bound to."""
    if sock.family == socket.AF_UNIX:
        return True
    is_fixed = bool(port.port)  # else any free one, or a socket that somebody else has bound
    return is_fixed and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


class _SharedPort:
    """A port whose socket other generations have, too; a mixin for those of Twisted."""

    _preexistingSocket: socket.socket | None
    _shouldShutdown = False
    listeners: ReactorListeners
    _is_paused = False
    _wants_to_read = False

    def adopt(self, sock: socket.socket) -> None:
        """Use a copy of a socket instead of a new one."""
        self._preexistingSocket = sock.dup()

    def join(self, listeners: ReactorListeners, *, is_paused: bool) -> None:
        """Become one of the listeners, before it listens."""
        self.listeners = listeners
        self._is_paused = is_paused

    def pause(self) -> None:
        """Leave the socket to another process."""
        self._is_paused = True
        super().stopReading()  # type: ignore[misc]

    def resume(self) -> None:
        """Read again, if the program wants that."""
        self._is_paused = False
        if self._wants_to_read:
            super().startReading()  # type: ignore[misc]

    def startReading(self) -> None:
        """The program wants to read."""
        self._wants_to_read = True
        if not self._is_paused:
            super().startReading()  # type: ignore[misc]

    def stopReading(self) -> None:
        """The program does not want to read."""
        self._wants_to_read = False
        super().stopReading()  # type: ignore[misc]

    def connectionLost(self, reason: Any = None) -> None:
        """The port is closed."""
        super().connectionLost(reason)  # type: ignore[misc]
        self.listeners.closed(self)


_Port = TypeVar("_Port", bound=Any)


class _CountedConnection:
    """A connection that a drain waits for; a mixin for the transports of Twisted."""

    server: Any

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.server.listeners.connected(self)

    def connectionLost(self, reason: Any) -> None:
        """The connection has ended."""
        super().connectionLost(reason)  # type: ignore[misc]
        self.server.listeners.disconnected(self)


class _TCPServer(_CountedConnection, tcp.Server):
    """A TCP connection."""


class _UNIXServer(_CountedConnection, unix.Server):
    """A connection of a UNIX socket."""


class _TCPPort(_SharedPort, tcp.Port):
    """A TCP port."""

    transport: Any = _TCPServer


class _UDPPort(_SharedPort, udp.Port):  # type: ignore[misc]
    """A UDP port."""


class _UNIXPort(_SharedPort, unix.Port):
    """A port of a UNIX socket, whose file its `Listener` removes."""

    transport: Any = _UNIXServer

    def connectionLost(self, reason: Any = None) -> None:
        """The port is closed; Twisted's own method would remove the file."""
        tcp.Port.connectionLost(self, reason)
        self.listeners.closed(self)
