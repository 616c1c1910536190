"""The service that users hold: servers that are upgraded and stopped together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, IServiceCollection, MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred

from ..config.option_types import AUTO
from ..config.process_settings import ProcessSettings
from ..errors import GracefulError
from ..http.log.drain_report import DrainReport
from ..process.host.cpu_count import usable
from ..process.host.exit_status import exit_with
from ..process.host.log_file import lost_lines
from ..process.host.process_status import Status, resident_size
from ..process.listeners.listener_registry import ListenerRegistry
from ..process.upgrade.handed_over import handed_over
from ..process.upgrade.launch import Launch
from ..process.upgrade.upgrade_events import SafeWatcher, Watcher
from ..process.workers.balance import share_of
from ..reactors import IServerReactor
from .group import ServerGroup
from .lifecycles import Lifecycles
from .server import Server, global_reactor, workers_not_started
from .service_process import ServiceProcess
from .worker_group import WorkerGroup
from .workload import ServiceWorkload

# What the application starts while it is imported must not inherit what this process has.
handed_over()


class GracefulService(MultiService):
    """Servers that are upgraded and stopped together: the whole of a process.

    Put it into the application of a ``.tac`` file, or start it in a program of your own.
    Other services may be added to it: they start with the servers, and stop when the servers have
    drained. During an upgrade they run in both processes, from the start of the successor until
    this process ends, which is after the probation or the drain.

    Args:
        servers: what is served.
        signals: whether this process belongs to the service. If so TERM, INT and QUIT stop it, USR2
            and HUP upgrade it, and USR1 reopens its logs; a HUP from a terminal that was closed
            stops it. With workers HUP replaces them, and TTIN and TTOU add and remove one. The exit
            status is 1 when a stop cut a request, and the reactor's clock does not follow changes
            of the system's.
        upgradable: whether a successor can be started at all.
        pid_file: the path of the pid file, if the caller knows it.
        launch: how to start a successor; None for the command of this process.
        title: what is served, for the title of the process; empty if nobody knows a name for it.
        exit_with: sets the exit status of the process.
        reactor: None for the global one.
        settings: the settings of a process, by name. What is not given is taken from the settings
            of the servers. With ``workers`` this process does not serve itself.

    Attributes:
        report: what the last drain did; None before.
        upgradable: whether a successor can be started at all.
        worker: the number of this worker, 1 or more; 0 if this process is not one.
        pool: the workers of this process; None if it serves itself.
        reactor: what runs it.
        process: starts and stops this process.

    Raises:
        ActivationError: a service manager passed sockets that cannot be used.
        InheritanceError: this process was started as a successor, but not by us.
        SettingsError: there is no such setting, or its value is out of range.
    """

    def __init__(
        self,
        *servers: Server,
        signals: bool = False,
        upgradable: bool = True,
        pid_file: str | None = None,
        launch: Launch | None = None,
        title: str = "",
        exit_with: Callable[[int], None] = exit_with,
        reactor: Any = None,
        **settings: object,
    ) -> None:
        super().__init__()
        # First, since an error must leave the inheritance unclaimed.
        combined = ProcessSettings.combined(settings, [each.settings for each in servers])
        inheritance = handed_over().claim_inheritance()
        reactor = global_reactor() if reactor is None else reactor
        launch = Launch.of_this_process(os.environ) if launch is None else launch
        self.reactor: IServerReactor = reactor
        self.report: DrainReport | None = None
        self.upgradable = upgradable
        self.worker = 0 if inheritance is None else inheritance.worker
        self._workers = 0 if self.worker else count(combined.workers)
        inherited = () if inheritance is None else inheritance.take_listeners()
        listeners = ListenerRegistry(inherited, handed_over().claim_activated())
        self._servers = ServerGroup(reactor, listeners, settings, share_of(inheritance))
        for server in servers:
            server.setServiceParent(self)
        self.pool = (
            WorkerGroup(reactor, self._servers, self._workers, launch) if self._workers else None
        )
        self._workload: ServiceWorkload = self._servers if self.pool is None else self.pool
        self.process = ServiceProcess(
            reactor,
            self._servers,
            listeners,
            self._workload,
            lifecycle_of=Lifecycles(reactor, launch, upgradable=upgradable).of,
            beside=self._beside,
            inheritance=inheritance,
            launch=launch,
            upgradable=upgradable,
            is_ours=signals,
            pid_file=pid_file or "",
            served=title,
            exit_with=exit_with,
        )

    # What it consists of

    def addService(self, service: IService) -> None:
        """Add a server, or a service that runs beside the servers.

        Raises:
            RuntimeError: a server was added after the start.
            SettingsError: the server is to have workers, and this service was made without.
        """
        if isinstance(service, Server) and service not in self._servers.auxiliary:
            self._add_server(service)
        super().addService(service)

    def _add_server(self, server: Server, *, auxiliary: bool = False) -> None:
        if self.running:
            raise RuntimeError("add a server before the service is started")
        self._servers.add(server, auxiliary=auxiliary)
        if self.settings.workers and not (self.worker or self._workers):
            raise workers_not_started(self.settings.workers)

    def removeService(self, service: IService) -> Deferred[object] | None:
        """Remove a server, or another service; it is stopped if it runs."""
        if isinstance(service, Server):
            self._servers.remove(service)
        removed: Deferred[object] | None = super().removeService(service)
        return removed

    def add_auxiliary(self, server: Server) -> None:
        """Add a server that serves information about the others, such as the admin endpoints.

        In the first generation it accepts before the others are loaded. In a stop it drains after
        them. It does not count for readiness and reports.

        Raises:
            RuntimeError: the service has been started.
        """
        self._add_server(server, auxiliary=True)
        server.setServiceParent(self)

    @property
    def servers(self) -> list[Server]:
        """The servers among the services."""
        return list(self._servers.servers)

    @property
    def settings(self) -> ProcessSettings:
        """The settings of this process: those given to it, the rest from its servers."""
        return self._servers.settings

    @property
    def listening(self) -> list[tuple[str, list[str]]]:
        """The name of each listener, and the addresses that it is bound to."""
        return self._servers.listening

    def _beside(self) -> list[IService]:
        """The services beside the servers, in the order in which they stop."""
        return [each for each in reversed(list(self)) if not isinstance(each, Server)]

    @property
    def watcher(self) -> Watcher:
        """Observes the process; an error that it raises is logged and changes nothing else."""
        return self.process.watcher

    @watcher.setter
    def watcher(self, watcher: Watcher) -> None:
        self.process.watcher = SafeWatcher(watcher)

    # How it is

    def is_accepting(self) -> bool:
        """Whether connections come to this process, and not to its predecessor or successor."""
        return self._workload.is_accepting and bool(self.running)

    @property
    def is_ready(self) -> bool:
        """Whether every server serves the clients that connect now.

        From when this process accepts until a stop begins. After an upgrade the successor serves.
        With workers, whether one of them is ready.
        """
        return self._workload.is_ready

    @property
    def is_stopping(self) -> bool:
        """Whether this process stops, or has not been started."""
        return self.process.lifecycle.is_stopping

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return self._servers.connected

    @property
    def status(self) -> Status:
        """What this process has done and does, in numbers; workers report theirs to the watcher."""
        own = Status({"log_lines_lost": lost_lines()}, {"rss": resident_size()})
        return own + self._workload.status

    @property
    def number(self) -> int:
        """The number of the generation of this process."""
        return self.process.lifecycle.number

    @property
    def state(self) -> str:
        """The state of this process in its lifecycle, in a word or two."""
        return str(self.process.lifecycle.state.value)

    @property
    def reloads_workers(self) -> bool:
        """Whether `reload` replaces the workers, and is not an upgrade."""
        return self.process.reloads_workers

    # What users ask of it

    def upgrade(self) -> None:
        """Replace this process by one that runs the code that is on disk now.

        If that fails the reason is logged, and this process continues to serve.
        """
        self.process.lifecycle.upgrade()

    def reload(self) -> None:
        """Serve with the code that is on disk now, as HUP does: by an upgrade, or by new workers.

        Workers are not replaced during an upgrade; another upgrade follows it instead.
        """
        self.process.reload()

    def stop(self) -> None:
        """Shut down gracefully: drain, after the longest ``shutdown_delay``, and stop the reactor.

        A second call cuts the requests in flight and stops the reactor immediately.
        """
        self.process.stop()

    def stop_at_once(self) -> None:
        """Shut down immediately: cut the requests in flight, and stop the reactor."""
        self.process.stop_at_once()

    def reopen_logs(self) -> None:
        """Reopen the log files, which have been moved, in all processes of this service."""
        self.process.reopen_logs()

    def send_report(self) -> Deferred[None]:
        """Send the numbers of this process to the processes that want them.

        Returns:
            A Deferred that fires when they have them, have ended, or do not answer for a while.
        """
        return self.process.lifecycle.report()

    def restore_signals(self) -> None:
        """Restore the signal handlers of the program, after the reactor has ended."""
        self.process.host.restore_signals(original=True)

    # Start and stop

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Become part of another service, such as the application of twistd.

        A ``.tac`` file or a plugin does this before twistd opens its log and writes its pid file,
        so it is here that `ProcessHost.take_over` is called. For a service without a parent it is
        called by `open`.
        """
        self.process.host.take_over()
        super().setServiceParent(parent)

    def open(self) -> None:
        """Bind all addresses before the start, where an error can still be shown.

        Raises:
            BindError: the system refused an address.
            CertificateError: there is no certificate that can be used; nothing was bound.
            LogFileError: an access log cannot be opened.
            SettingsError: a limit would end a process that may not be started again.
        """
        self.process.host.take_over()
        self.process.require_recyclable()
        # A client that can connect may also send a signal; it is handled when the reactor runs.
        self.process.host.catch_early_signals()
        try:
            self._servers.open()
        except GracefulError:
            self.process.host.restore_signals()
            raise

    def startService(self) -> None:
        """Bind the addresses, load the applications, and accept.

        A successor accepts when its predecessor has stopped accepting.

        Raises:
            BindError: the system refused an address.
            CertificateError: there is no certificate that can be used.
            LogFileError: an access log cannot be opened.
        """
        self.open()
        self.process.start(super().startService)

    def stopService(self) -> Deferred[DrainReport]:
        """Stop accepting, after the longest ``shutdown_delay``, drain, and stop all other services.

        Returns:
            A Deferred that fires with the combined report of all servers.
        """
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> DrainReport:
        report = self.report = await self.process.drain_and_stop()
        return report


def serving(*servers: Server, workers: int | str | None = None, **options: Any) -> GracefulService:
    """A `GracefulService`, for the application of a ``.tac`` file.

    Args:
        servers: what is served.
        workers: how many worker processes serve, each of which runs the same command; ``auto``:
            one for each processor that may be used; 0: this process serves itself, as it does if
            it is a worker; None: as the settings of the servers say.
        options: as for `GracefulService`.
    """
    return GracefulService(*servers, workers=workers, **options)


def count(workers: int | str) -> int:
    """The number of workers; for ``auto`` that of the processors that this process may use."""
    return usable() if workers == AUTO else int(workers)
