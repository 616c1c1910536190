"""Servers that are upgraded and stopped together, as a Twisted service."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService, Service
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
from ..process.upgrade.upgrade_events import Shielded, Watcher
from ..process.workers.balance import share_of
from .group import ServerGroup
from .server import Server, global_reactor, workers_not_started
from .service_process import ServiceProcess
from .worker_group import WorkerGroup
from .workload import ServiceWorkload

# What the application starts while it is imported must not inherit what this process has.
handed_over()


class GracefulService(MultiService):
    """Servers that are upgraded and stopped together: the whole of a process.

    Put it into the application of a ``.tac`` file, or start it in a program of your own.
    Other services may be added to it: they are started with the servers, and stopped
    when the process ends. During an upgrade they run in both processes: from the start of the
    successor until this process leaves, which is at the end of the probation or of the drain.

    Args:
        servers: what is served.
        signals: whether TERM, INT and QUIT stop this process, USR2 and HUP upgrade it, and USR1
            reopens its logs; a HUP from a terminal that was closed stops it. With workers HUP
            replaces them, and TTIN and TTOU add and remove one. If so its exit status is 1 when a
            stop cut a request, and the reactor's clock does not follow when the system's is set.
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
        process: what becomes of this process, and by what.

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
        **settings: Any,
    ) -> None:
        super().__init__()
        # First, since an error must leave the inheritance unclaimed.
        combined = ProcessSettings.combined(settings, [each.settings for each in servers])
        inheritance = handed_over().claim_inheritance()
        reactor = global_reactor() if reactor is None else reactor
        launch = Launch.of_this_process(os.environ) if launch is None else launch
        self.reactor = reactor
        self.report: DrainReport | None = None
        self.upgradable = upgradable
        self.worker = 0 if inheritance is None else inheritance.worker
        self._workers = 0 if self.worker else count(combined.workers)
        inherited = () if inheritance is None else inheritance.take_listeners()
        listeners = ListenerRegistry(inherited, handed_over().claim_activated())
        self._servers = ServerGroup(reactor, listeners, settings, share_of(inheritance))
        for server in servers:
            server.setServiceParent(self)
        self.pool: WorkerGroup | None = None
        self._workload: ServiceWorkload = self._servers
        if self._workers:
            self._workload = self.pool = WorkerGroup(reactor, self._servers, self._workers, launch)
        self.process = ServiceProcess(
            reactor,
            self._servers,
            self._workload,
            is_master=self.pool is not None,
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
        if isinstance(service, Server) and service not in self._servers.apart:
            self._add_server(service)
        super().addService(service)

    def _add_server(self, server: Server, *, apart: bool = False) -> None:
        if self.running:
            raise RuntimeError("add a server before the service is started")
        self._servers.add(server, apart=apart)
        if self.settings.workers and not (self.worker or self._workers):
            raise workers_not_started(self.settings.workers)

    def removeService(self, service: IService) -> Deferred[Any] | None:
        """Remove a server, or another service; it is stopped if it runs."""
        if isinstance(service, Server):
            self._servers.remove(service)
        removed: Deferred[Any] | None = super().removeService(service)
        return removed

    def add_apart(self, server: Server) -> None:
        """Add a server that serves no application, but those who look after this service.

        It accepts before the others are loaded, in the first generation, and drains when they have:
        at a stop, last. It has no part in readiness and in reports.

        Raises:
            RuntimeError: the service has been started.
        """
        self._add_server(server, apart=True)
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
        """The listeners, by their names, and where each is bound."""
        return self._servers.listening

    def _beside(self) -> list[IService]:
        """The services beside the servers, in the order in which they stop."""
        return [each for each in reversed(list(self)) if not isinstance(each, Server)]

    @property
    def watcher(self) -> Watcher:
        """Is told what happens; what it raises is logged, and does not reach this service."""
        return self.process.watcher

    @watcher.setter
    def watcher(self, watcher: Watcher) -> None:
        self.process.watcher = Shielded(watcher)

    # How it is

    def is_accepting(self) -> bool:
        """Whether connections come to this process, and not to its predecessor or successor."""
        return self._workload.is_accepting and bool(self.running)

    @property
    def is_ready(self) -> bool:
        """Whether who connects now is served for the time being, by every server.

        From the moment that this process accepts to the first moment of a stop; in an upgrade
        the successor serves. With workers, whether one of them is ready.
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
        """Where this process is in its life, in a word or two."""
        return str(self.process.lifecycle.state.value)

    @property
    def reloads_workers(self) -> bool:
        """Whether `reload` replaces the workers, and is not an upgrade."""
        return self.process.reloads_workers

    # What users ask of it

    def upgrade(self) -> None:
        """Replace this process by one that runs the code that is on disk now.

        Nothing is lost if that fails: the reason is logged, and this process serves on.
        """
        self.process.lifecycle.upgrade()

    def reload(self) -> None:
        """Serve with the code that is on disk now, as HUP does: by an upgrade, or by new workers.

        During an upgrade another one follows it instead.
        """
        self.process.reload()

    def resize(self, more: int) -> None:
        """Have more workers, or fewer, but always one; nothing if this process serves itself.

        Args:
            more: how many; negative for fewer.
        """
        if self.pool is not None:
            self.pool.resize(more)

    def stop(self) -> None:
        """Drain, after the longest ``shutdown_delay`` of the servers, then stop the reactor.

        Asked again: cut what is left, and stop at once.
        """
        self.process.stop()

    def stop_at_once(self) -> None:
        """Stop the reactor, and cut what is being answered."""
        self.process.stop_at_once()

    def reopen_logs(self) -> None:
        """Go on in new log files, after somebody has moved the present ones away.

        The other generation, if there is one, does so too.
        """
        self.process.reopen_logs()

    def send_report(self) -> Deferred[None]:
        """Send the numbers of this process to the processes that want them.

        Returns:
            A Deferred that fires when they have them, have ended, or do not answer for a while.
        """
        return self.process.lifecycle.report()

    def give_signals_back(self) -> None:
        """The reactor has ended: let the program handle its signals as before."""
        self.process.host.restore_signals(original=True)

    # Start and stop

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of another service, such as the application of twistd.

        This is the last moment before twistd opens its log, so the process is taken over here; of
        a service without a parent, in `open`.
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
        if self.pool is None:
            self.process.require_recyclable()
        # Whoever sees that we listen may send a signal, which waits until the reactor runs.
        self.process.host.catch_early_signals()
        try:
            self._servers.open()
        except GracefulError:
            self.process.host.restore_signals()
            raise

    def startService(self) -> None:
        """Bind, load, become ready, accept; in a successor, once the predecessor lets go.

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
            A Deferred that fires with the report of all servers together.
        """
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> DrainReport:
        report = self.report = await self.process.drain_and_stop()
        return report


def serving(*servers: Server, workers: int | str | None = None, **options: Any) -> GracefulService:
    """What serves, in this process or in several: a service for the application of a ``.tac`` file.

    Args:
        servers: what is served.
        workers: how many processes serve below this one, each of which runs the same command;
            ``auto``: one for each processor that may be used; 0 if it does so itself, as it does
            if it is such a worker; None for what the settings of the servers say.
        options: as for `GracefulService`.
    """
    return GracefulService(*servers, workers=workers, **options)


def count(workers: int | str) -> int:
    """A number of workers; for ``auto`` the processors that this process may use."""
    return usable() if workers == AUTO else int(workers)
