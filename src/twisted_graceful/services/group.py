"""Servers that are opened, loaded, handed over and drained together."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import GracefulError
from ..handover_interface import Carrier, HandedConnection
from ..http.io.port import ConnectionLimit
from ..http.log.drain_report import DrainReport
from ..process.host.log_file import LogFiles, lost_lines
from ..process.host.process_status import Status, resident_size
from ..process.listeners.listener import Listener
from ..process.listeners.listener_registry import ListenerRegistry
from ..process.workers.balance import WorkerBalance
from .server import Server


class ServerGroup(MultiService):
    """Servers that share listeners, logs and room, and services beside them.

    It knows nothing of other processes but what they say through a `Carrier`.

    Args:
        reactor: runs everything.
        listeners: where the listeners come from.
        share: of the connections of all processes that accept on these addresses at the same time;
            None if no other does.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, listeners: ListenerRegistry, share: WorkerBalance | None = None
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._listeners = listeners
        self._share = share
        self._logs = LogFiles(reactor)
        self._room = ConnectionLimit(reactor)
        self._apart: list[Server] = []
        self._accepting = False
        self._at_once = False
        self._makes_way = False
        self._stopping: Deferred[Any] | None = None

    @property
    def servers(self) -> list[Server]:
        """The servers among the services."""
        return [each for each in self._all_servers if each not in self._apart]

    @property
    def _all_servers(self) -> list[Server]:
        return [each for each in self if isinstance(each, Server)]

    @property
    def listening(self) -> list[tuple[str, list[str]]]:
        """The listeners, by their names, and where each is bound."""
        return [(each.name, list(each.addresses)) for each in self._listeners.in_use]

    @property
    def is_ready(self) -> bool:
        """Whether who connects now is served for the time being, by every server.

        From the moment that this process accepts to the first moment of a stop; in an upgrade
        the successor serves.
        """
        return bool(self.servers) and all(each.is_ready for each in self.servers)

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return sum(each.connected for each in self.servers)

    @property
    def status(self) -> Status:
        """What this process has done and does, in numbers."""
        own = Status({"log_lines_lost": lost_lines()}, {"rss": resident_size()})
        return sum((each.status for each in self.servers), own)

    def addService(self, service: IService) -> None:
        """Add a server, or a service that runs beside the servers.

        Raises:
            RuntimeError: a server was added after the start.
        """
        if isinstance(service, Server):
            if self.running:
                raise RuntimeError("add a server before the service is started")
            service.listening.listeners = self._listeners
            service.logs = self._logs
            service.coordinated = True
            service.listening.share = self._share
            if not service.settings.max_connections:
                service.listening.room = self._room
        super().addService(service)

    def add_apart(self, server: Server) -> None:
        """Add a server that serves no application, but those who look after this service.

        It accepts before the others are loaded, in the first generation, and drains when they have:
        at a stop, last. It has no part in readiness and in reports.

        Raises:
            RuntimeError: the service has been started.
        """
        self._apart.append(server)
        server.setServiceParent(self)

    def open(self) -> None:
        """Bind all addresses.

        Raises:
            BindError: the system refused an address.
            CertificateError: there is no certificate that can be used; nothing was bound.
            LogFileError: an access log cannot be opened.
        """
        for server in self._all_servers:
            server.listening.read_certificate()
        try:
            for server in self._all_servers:
                server.open()
        except GracefulError:
            for server in self._all_servers:
                server.close()
            raise

    def _load(self) -> Deferred[Any]:
        """Load all that is served; fails with the first that cannot be."""
        loads = gatherResults([server.load() for server in self.servers], consumeErrors=True)
        return loads.addErrback(_first)

    def _serve_apart(self, server: Server, *, at_once: bool) -> None:
        loads = server.load()
        if at_once:
            loads.addCallback(lambda _: server.accept())
        loads.addErrback(lambda failure: self._log.failure("Not served", failure))

    # What a generation asks of it

    def listeners(self) -> Sequence[Listener]:
        """What a successor inherits."""
        return self._listeners.in_use

    def close_unused(self) -> None:
        """Close the inherited listeners that no server has."""
        self._listeners.close_unused()

    def alone(self) -> None:
        """Be the only generation: own the listeners, and close those that are not served."""
        self._listeners.take_over()
        self._listeners.close_unused()

    def accept(self) -> None:
        """Let every server accept."""
        self._accepting = True
        self._listeners.take_over()
        if self._share is not None:
            self._share.begin()
        for server in self._all_servers:
            server.accept()

    def logs_moved(self) -> None:
        """Go on in new log files."""
        for server in self.servers:
            server.flush_log()
        self._logs.reopen()

    def hand_over(
        self, carrier: Carrier, removed: Collection[Listener] = ()
    ) -> Deferred[list[DrainReport]]:
        """Let every server stop accepting, give away what can move, and drain."""
        self._accepting = False
        self._end_share()
        self._listeners.hand_over(removed)
        self._drain_apart(carrier, removed)
        return gatherResults([server.drain(carrier, removed) for server in self.servers])

    def _end_share(self) -> None:
        if self._share is not None:
            self._share.end()

    def _drain_apart(self, carrier: Carrier, removed: Collection[Listener]) -> None:
        for server in self._apart:
            # Nobody waits for its end: it tells how the drain of the others goes.
            server.drain(carrier, removed)

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a server has the listener of a connection, and would serve it."""
        return any(server.can_take_up(handed) for server in self._all_servers)

    def take_up(self, handed: HandedConnection) -> None:
        """Let the server that has its listener serve a connection."""
        server = next((each for each in self._all_servers if each.listens_on(handed)), None)
        if server is None:  # it has stopped meanwhile, and could not wait for this one
            os.close(handed.descriptor)
        else:
            server.take_up(handed)

    def make_way(self) -> None:
        """Stop to accept as soon as a stop begins, or now: whoever starts anew binds the same."""
        self._makes_way = True
        for server in self.servers:
            server.end_delay()

    def cut(self) -> None:
        """End what is still being answered, now or as soon as the drain begins."""
        self._at_once = True
        for server in self._all_servers:
            server.cut()
        if self._stopping is not None:
            self._stopping.cancel()

    # The steps of a stop

    async def _lame_duck(self) -> None:
        """Tell all first, of every server, and then go on accepting for a while."""
        for server in self.servers:
            server.announce()
        delay = 0 if self._at_once or self._makes_way else self._longest_delay()
        await gatherResults([server.lame_duck(delay) for server in self.servers])

    def _drain_servers(self) -> Deferred[list[DrainReport]]:
        """Drain and stop every server."""
        self._end_share()
        drains = gatherResults([server.stopService() for server in self.servers])
        if self._at_once:
            self.cut()
        return drains

    async def _stop_others(self) -> None:
        """Stop the services beside the servers; they have as long as a drain has."""
        for other in self._others():
            self._stopping = maybeDeferred(other.stopService)
            if self._at_once:
                self._stopping.cancel()
            try:
                await self._stopping.addTimeout(self._longest_drain(), self._reactor)
            except Exception as error:
                self._log.failure("{other!r} did not stop: {error!r}", other=other, error=error)

    def _others(self) -> list[IService]:
        return [each for each in reversed(list(self)) if not isinstance(each, Server)]

    def _longest_delay(self) -> float:
        return max((each.settings.shutdown_delay for each in self.servers), default=0.0)

    def _longest_drain(self) -> float:
        return max((each.settings.drain_timeout for each in self.servers), default=0.0)


def _first(failure: Failure) -> Failure:
    failure.trap(FirstError)
    first: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return first
