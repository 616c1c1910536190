"""The servers of a process, opened, loaded, handed over and drained together."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..config.process_settings import ProcessSettings
from ..errors import GracefulError, SettingsError
from ..handover_interface import Carrier, HandedConnection
from ..http.io.connection_limit import ConnectionLimit
from ..http.log.drain_report import DrainReport
from ..process.host.log_file import LogFiles
from ..process.host.process_status import Status, resident_size
from ..process.host.supervisors import ParentSupervisor
from ..process.interfaces import Lifecycle
from ..process.listeners.listener import Listener
from ..process.listeners.listener_registry import ListenerRegistry
from ..process.upgrade.upgrade_events import Watcher
from ..process.workers.balance import WorkerBalance
from ..process.workers.heartbeat import Heartbeat
from ..process.workers.recycling import Recycling
from ..reactors import IServerReactor
from .server import Server
from .shared_resources import SharedResources
from .workload import ServiceWorkload


class ServerGroup(ServiceWorkload):
    """The workload of a process that serves itself.

    Of other processes it knows only what it gets through a `Carrier`.

    Args:
        reactor: runs everything.
        listeners: where the listeners come from.
        settings: the settings of the process that were given to it, by name.
        share: of the connections of all processes that accept on these addresses at the same time;
            None if no other does.

    Attributes:
        servers: those that serve applications.
        auxiliary: those that serve information about the others, such as the admin endpoints; see
            `GracefulService.add_auxiliary`.
        is_immediate: whether requests in flight are cut, now or as soon as the drain begins.
    """

    _log = Logger()
    role = ""
    has_processes = False
    signals: Mapping[int, Callable[[], object]] = {}
    is_clean = True
    can_reload = False
    patience = 0.0

    def __init__(
        self,
        reactor: IServerReactor,
        listeners: ListenerRegistry,
        settings: Mapping[str, object],
        share: WorkerBalance | None = None,
    ) -> None:
        self._reactor = reactor
        self._listeners = listeners
        self._given = settings
        self._share = share
        self._logs = LogFiles(reactor)
        self._shared = SharedResources(
            listeners, self._logs, ConnectionLimit(reactor, balance=share)
        )
        self.servers: list[Server] = []
        self.auxiliary: list[Server] = []
        self.is_accepting = False
        self.is_immediate = False
        self._skips_shutdown_delay = False
        self._recycling = Recycling(reactor)
        self._recycling_check = Heartbeat(reactor, self._check_recycling)
        self._retire: Callable[[str], None] = lambda reason: None

    @property
    def all_servers(self) -> list[Server]:
        """The servers, including the auxiliary ones."""
        return [*self.servers, *self.auxiliary]

    @property
    def listening(self) -> list[tuple[str, list[str]]]:
        """The listeners, by their names, and where each is bound."""
        return [(each.name, list(each.addresses)) for each in self._listeners.in_use]

    @property
    def is_ready(self) -> bool:
        """Whether every server serves the clients that connect now.

        From when this process accepts until a stop begins. After an upgrade the successor serves.
        """
        return bool(self.servers) and all(each.is_ready for each in self.servers)

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return sum(each.connected for each in self.servers)

    @property
    def status(self) -> Status:
        """What the servers have done and do, in numbers."""
        return sum((each.status for each in self.servers), Status())

    def add(self, server: Server, *, auxiliary: bool = False) -> None:
        """Add a server that has not been started."""
        (self.auxiliary if auxiliary else self.servers).append(server)
        server.join(self._shared)

    def remove(self, server: Server) -> None:
        """Remove a server."""
        (self.auxiliary if server in self.auxiliary else self.servers).remove(server)

    def open(self) -> None:
        """Bind all addresses.

        Raises:
            BindError: the system refused an address.
            CertificateError: there is no certificate that can be used; nothing was bound.
            LogFileError: an access log cannot be opened.
        """
        for server in self.all_servers:
            server.certificate.read()
        try:
            for server in self.all_servers:
                server.open()
        except GracefulError:
            for server in self.all_servers:
                server.close()
            raise

    def require_recyclable(self, supervisor: ParentSupervisor | None) -> None:
        """Make sure that this process is started again when it ends because of a limit.

        Args:
            supervisor: what watches this process; None if nothing does.

        Raises:
            SettingsError: there is a limit, and the supervisor may not restart the process.
        """
        for name in ("max_requests", "max_rss"):
            limit = getattr(self.settings, name)
            if limit and supervisor is not None and not supervisor.restarts:
                raise SettingsError(
                    name,
                    limit,
                    f"0: {supervisor.watches}, and may not be started again when it ends. "
                    "With --workers 1 or more the workers are replaced instead",
                )

    def load(self, lifecycle: Lifecycle, watcher: Watcher) -> Deferred[Any]:
        """Load the application of every server; fails with the first error."""
        self.is_immediate = False
        self._retire = lifecycle.retire
        limits = self.settings
        self._recycling = Recycling(
            self._reactor, limits.max_requests, limits.max_requests_jitter, limits.max_rss
        )
        loads = gatherResults([server.load() for server in self.servers], consumeErrors=True)
        return loads.addErrback(_first)

    def start_auxiliary(self, *, at_once: bool) -> None:
        """Load the auxiliary servers.

        Args:
            at_once: whether they accept before the others do.
        """
        for server in self.auxiliary:
            self._start_auxiliary(server, at_once)

    def _start_auxiliary(self, server: Server, at_once: bool) -> None:
        loads = server.load()
        if at_once:
            loads.addCallback(lambda _: server.accept())
        loads.addErrback(lambda failure: self._log.failure("Not served", failure))

    # The listeners

    def listeners(self) -> Sequence[Listener]:
        """The open listeners, which a successor inherits."""
        return self._listeners.in_use

    def close_unused(self) -> None:
        """Close the inherited listeners that no server has."""
        self._listeners.close_unused()

    def own_listeners(self) -> None:
        """Take responsibility for the listeners: no other process would serve on them."""
        self._listeners.take_over()

    def hand_back_listeners(self) -> None:
        """Leave the listeners to the predecessor, which serves on them again."""
        self._listeners.hand_back()

    def unclaimed(self) -> Sequence[Listener]:
        """The listeners of a service manager that no server has."""
        return self._listeners.unclaimed

    def skip_shutdown_delay(self) -> None:
        """Skip the shutdown delay, since another process may need the addresses."""
        self._skips_shutdown_delay = True
        for server in self.servers:
            server.end_delay()

    # Workload

    def accept(self) -> None:
        """Let every server accept."""
        self.is_accepting = True
        self.own_listeners()
        if self._share is not None:
            self._share.begin()
        for server in self.all_servers:
            server.accept()
        if self._recycling:
            self._recycling_check.start()

    def logs_moved(self) -> None:
        """Reopen the log files, which have been moved."""
        for server in self.servers:
            server.flush_log()
        self._logs.reopen()

    def hand_over(
        self, carrier: Carrier, removed: Collection[Listener] = ()
    ) -> Deferred[list[DrainReport]]:
        """Let every server stop accepting, hand over what can move, and drain."""
        self.is_accepting = False
        self._end_share()
        self.hand_over_auxiliary(carrier, removed)
        return gatherResults([server.drain(carrier, removed) for server in self.servers])

    def _end_share(self) -> None:
        if self._share is not None:
            self._share.end()

    def hand_over_auxiliary(self, carrier: Carrier, removed: Collection[Listener]) -> None:
        """Leave the listeners to the successor, and hand over the auxiliary servers.

        Nothing waits for the end of their drain, since they report the drain of the others.
        """
        self._listeners.hand_over(removed)
        for server in self.auxiliary:
            server.drain(carrier, removed)

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a server has the listener of a connection, and can serve it."""
        return any(server.can_take_up(handed) for server in self.all_servers)

    def take_up(self, handed: HandedConnection) -> None:
        """Let the server that has its listener serve a connection."""
        server = next((each for each in self.all_servers if each.listens_on(handed)), None)
        if server is None:  # it has stopped in the meantime
            os.close(handed.descriptor)
        else:
            server.take_up(handed)

    def cut(self) -> None:
        """Cut the requests in flight, now or as soon as the drain begins."""
        self.is_immediate = True
        for server in self.all_servers:
            server.cut()

    # Recycling

    def _check_recycling(self) -> None:
        if not self.is_accepting:
            return
        reason = self._recycling.reason(
            sum(each.answered for each in self.servers), resident_size()
        )
        if reason:
            self._retire(reason)

    # The steps of a stop

    def announce(self) -> None:
        """Tell the applications that a stop begins."""
        for server in self.servers:
            server.announce()

    async def stop(self, arrived: Callable[[], Deferred[None]]) -> DrainReport:
        """Announce the stop, go on accepting for the shutdown delay, drain, and stop."""
        self._recycling_check.stop()
        self.announce()  # to all, before any of them closes its port
        delay = 0 if self.is_immediate or self._skips_shutdown_delay else self.longest_delay
        await gatherResults([server.lame_duck(delay) for server in self.servers])
        if not self.is_immediate:
            await arrived()
        self._end_share()
        drains = gatherResults([server.stopService() for server in self.servers])
        if self.is_immediate:
            self.cut()
        return sum(await drains, DrainReport())

    # Settings of all servers together

    @property
    def settings(self) -> ProcessSettings:
        """The settings of the process: those given to it, the rest from the servers."""
        return ProcessSettings.combined(self._given, [each.settings for each in self.servers])

    @property
    def longest_delay(self) -> float:
        """The longest shutdown delay, in seconds."""
        return max((each.settings.shutdown_delay for each in self.servers), default=0.0)

    @property
    def longest_drain(self) -> float:
        """The longest drain timeout, in seconds."""
        return max((each.settings.drain_timeout for each in self.servers), default=0.0)


def _first(failure: Failure) -> Failure:
    failure.trap(FirstError)
    first: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return first
