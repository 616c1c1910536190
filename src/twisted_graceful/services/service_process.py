"""One process of a service, from its start to its end: a workload, a lifecycle and a host.

The lifecycle decides when the process accepts, hands over and ends; the workload does it; the host
is what else there is in the process. What each of them needs of the others goes through here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from twisted.application.service import IService
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import twisted_internals
from ..app.loading import log_not_served
from ..config.process_settings import ProcessSettings
from ..handover_interface import Carrier, HandedConnection
from ..http.log.drain_report import DrainReport
from ..process.host import systemd
from ..process.host.exit_deadline import SLACK
from ..process.host.log_prefix import prefix
from ..process.host.process_host import ProcessHost
from ..process.host.server_log import never_wait
from ..process.host.streams import canonical
from ..process.host.title import title
from ..process.host.twistd_files import TwistdFiles
from ..process.interfaces import Lifecycle, ManagedProcess
from ..process.listeners.listener import Listener
from ..process.listeners.listener_registry import ListenerRegistry
from ..process.listeners.reactor_listeners import ReactorListeners
from ..process.upgrade.handed_over import handed_over
from ..process.upgrade.inheritance import Inheritance
from ..process.upgrade.launch import Launch
from ..process.upgrade.not_started import NotStarted
from ..process.upgrade.upgrade_events import Watcher
from ..reactors import IServerReactor
from .group import ServerGroup
from .workload import ServiceWorkload

T = TypeVar("T")


class ServiceProcess(ManagedProcess):
    """A process of a service: starts and stops its parts, and connects them.

    Args:
        reactor: runs everything.
        servers: what is served, in this process or below it.
        listeners: where the listeners come from.
        workload: serves them.
        lifecycle_of: makes the lifecycle of this process when it starts, from what its predecessor
            or master left.
        beside: the services that stop when the servers have drained, in this order.
        inheritance: what the predecessor or the master left; None in the first process.
        launch: how to start a successor.
        upgradable: whether a successor can be started at all.
        is_ours: whether the process ends with the service; see `ProcessHost`.
        pid_file: its path; empty if that is not known yet, or if there is none.
        served: what is served, for the title of the process.
        exit_with: sets the exit status of the process.

    Attributes:
        lifecycle: how the process begins and ends; one that does nothing before the start.
        host: what else there is in the process.
        supervisor: what the service manager is notified by.
        watcher: is told what happens.
        is_running: whether it has started, and does not stop.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IServerReactor,
        servers: ServerGroup,
        listeners: ListenerRegistry,
        workload: ServiceWorkload,
        *,
        lifecycle_of: Callable[[ServiceProcess, Inheritance | None], Lifecycle],
        beside: Callable[[], Sequence[IService]],
        inheritance: Inheritance | None,
        launch: Launch,
        upgradable: bool,
        is_ours: bool,
        pid_file: str,
        served: str,
        exit_with: Callable[[int], None],
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._workload = workload
        self._lifecycle_of = lifecycle_of
        self._beside = beside
        self._inheritance = inheritance
        self._launch = launch
        self._upgradable = upgradable
        self._served = served
        self._exit_with = exit_with
        self.supervisor = systemd.Supervisor(reactor)
        self._stopping: Deferred[object] | None = None  # of a service beside the servers
        self._leaving = False
        self.is_running = False
        self.watcher = Watcher()
        self._reactor_listeners = ReactorListeners(
            reactor,
            listeners,
            has_predecessor=inheritance is not None,
            is_worker=inheritance is not None and inheritance.worker > 0,
        )
        self.host = self._host_of(inheritance, is_ours, pid_file)
        self.lifecycle: Lifecycle = NotStarted(self.host.files)

    def _host_of(
        self, inheritance: Inheritance | None, is_ours: bool, pid_file: str
    ) -> ProcessHost:
        number = 0 if inheritance is None else inheritance.generation
        worker = 0 if inheritance is None else inheritance.worker
        return ProcessHost(
            self._reactor,
            is_ours=is_ours,
            is_foreground=not worker,
            reaps_orphans=os.getpid() == 1 and (is_ours or self._workload.has_processes),
            actions={
                signal.SIGTERM: self.stop,
                signal.SIGINT: self.stop,
                signal.SIGQUIT: self.stop_at_once,
                signal.SIGUSR2: lambda: self.lifecycle.upgrade(),
                signal.SIGHUP: self.reload,
                signal.SIGUSR1: self.reopen_logs,
                **self._workload.signals,
            },
            hang_up=self._hang_up,
            stop_timeout=self._stop_timeout,
            work_timeout=self._work_timeout,
            killed=self._killed,
            listening=lambda: (sock for each in self.listeners() for sock in each.sockets),
            prefix=prefix(number, worker) if is_ours or inheritance is not None else "",
            files=TwistdFiles(
                pid_file or ("" if inheritance is None else inheritance.pid_file),
                located=lambda path: canonical(path, self._launch.directory),
                is_successor=inheritance is not None,
                written=self._written_files,
                ends=lambda: self.lifecycle.remove_pid_file(),
                observes=partial(never_wait, self._reactor) if is_ours else lambda observer: None,
            ),
            take_over_reactor=self._reactor_listeners.take_over,
        )

    # What it can be told

    @property
    def reloads_workers(self) -> bool:
        """Whether `reload` replaces the workers, and is not an upgrade."""
        return self._upgradable and self._workload.can_reload

    def reload(self) -> None:
        """Serve with the code on disk: by new workers, or by an upgrade."""
        if self.reloads_workers:
            settings = self.settings
            within = settings.upgrade_timeout + settings.probation
            self.supervisor.reloads("Replacing the workers", within)
            self._workload.reload()
        else:
            self.lifecycle.upgrade()  # or say why not

    def stop(self) -> None:
        """Shut down gracefully; asked again: immediately."""
        at_once = self._servers.is_immediate or self.lifecycle.is_asked_to_stop
        self._log.info("Stopping: {how}", how="at once" if at_once else "in order")
        self.lifecycle.stop()

    def stop_at_once(self) -> None:
        """Shut down immediately."""
        self._servers.is_immediate = True
        self.stop()
        self.cut()

    def _hang_up(self) -> None:
        if not self.lifecycle.is_asked_to_stop:  # the shell may send it, too
            self._log.info("The terminal of this process was closed")
            self.stop()

    def reopen_logs(self) -> None:
        """Reopen the log files, which have been moved, in all processes."""
        self.logs_moved()
        self.lifecycle.send_logs_moved()

    # The start

    def require_recyclable(self) -> None:
        """Make sure that this process is replaced when it has reached a limit.

        Raises:
            SettingsError: there is a limit, and the supervisor may not start the program again.
        """
        if self.host.is_ours and self._inheritance is None:
            self._workload.require_recyclable(self._launch.supervised(os.getpid()))

    def start(self, start_services: Callable[[], None]) -> None:
        """Load, become ready, and accept; in a successor, once the predecessor lets it.

        Args:
            start_services: starts the servers, which are open, and the services beside them.
        """
        self.host.begin()
        self._warn_of_what_is_not_served()
        inheritance, self._inheritance = self._inheritance, None
        self._leaving = False
        self.supervisor = systemd.Supervisor(
            self._reactor, handed_over().supervision, speaks=inheritance is None
        )
        self.supervisor.loads("Loading", self.settings.upgrade_timeout)
        self.lifecycle = lifecycle = self._lifecycle_of(self, inheritance)
        role = self._workload.role or lifecycle.role
        self.host.entitle(title(lifecycle.number, role=role, served=self._served))
        lifecycle.begin()
        self.is_running = True
        start_services()
        # Of a successor the predecessor still answers there.
        self._servers.start_auxiliary(at_once=inheritance is None)
        loaded = self._workload.load(lifecycle, self.watcher)
        loaded.addCallbacks(lambda _: lifecycle.loaded(), self._not_loaded)

    def _warn_of_what_is_not_served(self) -> None:
        for listener in self._servers.unclaimed():
            self._log.warn(
                "The service manager passed a socket that nothing here serves: {where} (of the "
                "name {name}). Clients that connect there wait without end; give a server that "
                "address (--port)",
                where=", ".join(listener.addresses),
                name=listener.name,
            )
        if self._upgradable and not self.host.is_ours:
            self._log.info(
                "No signal is handled here: USR2 would end this process. "
                "GracefulService(..., signals=True) lets it upgrade"
            )

    def _not_loaded(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return  # stopped while it loaded
        log_not_served(self._log, "The application", failure)
        if self.host.is_ours:
            self._exit_with(1)
        told = self.lifecycle.failed(str(failure.value))
        if self.host.is_ours or self.lifecycle.number > 0:
            told.addCallback(lambda _: self.leave())

    # The stop

    async def drain_and_stop(self) -> DrainReport:
        """Stop accepting, after the shutdown delay, drain, and stop all services."""
        self.is_running = False
        lifecycle = self.lifecycle
        if not self.host.is_ours and twisted_internals.was_told_to_stop(self._reactor):
            lifecycle.stop()
        if lifecycle.predecessor_resumes:
            self._servers.hand_back_listeners()
        lifecycle.service_stops()
        self.watcher.drains()
        report = await self._workload.stop(lifecycle.connections_arrived)
        self.watcher.drained()
        is_clean = self._workload.is_clean
        if not is_clean:
            self._exit_with(1)
        await lifecycle.report()  # the last numbers
        await lifecycle.stopped(report.fields)
        await self._stop_others()
        lifecycle.drained(str(report), len(report.cut), is_clean)
        auxiliary = gatherResults([server.stopService() for server in self._servers.auxiliary])
        if self._servers.is_immediate:
            self.cut()
        await auxiliary
        lifecycle.ended()
        self.close_unused()
        if self.host.is_ours and report.exit_status:
            self._exit_with(report.exit_status)
        self._log.info("Drained: {report}", report=report, **report.fields)
        process_ends = self._leaving or self.host.is_ending
        if not process_ends:
            lifecycle.process_continues()
        self.host.end(process_ends=process_ends)
        return report

    async def _stop_others(self) -> None:
        """Stop the services beside the servers; they have as long as a drain has."""
        for other in self._beside():
            self._stopping = maybeDeferred(other.stopService)
            if self._servers.is_immediate:
                self._stopping.cancel()
            try:
                await self._stopping.addTimeout(self._servers.longest_drain, self._reactor)
            except Exception as error:
                self._log.failure("{other!r} did not stop: {error!r}", other=other, error=error)

    def recycle(self, status: int) -> None:
        """Stop with this exit status, for a supervisor to start the program again."""
        self._exit_with(status)
        self.stop()

    def _written_files(self) -> list[str]:
        servers = self._servers.all_servers
        logs = [each.settings.access_log for each in servers]
        return logs + [each.file for one in servers for each in one.unix_addresses]

    # Deadlines, in seconds

    def _stop_timeout(self) -> float:
        """After which a stop has hung."""
        others = self._servers.longest_drain * len(self._beside())
        # Should this process end first, the service manager ends its predecessor, too.
        predecessor = self.lifecycle.predecessor_ends_within
        return self._work_timeout() + others + predecessor + SLACK + self._workload.patience

    def ends_within(self) -> float:
        """In which this process ends once a successor serves."""
        drains = self._servers.longest_drain * (1 + len(self._beside()))
        return self.settings.probation + drains + SLACK + self._workload.patience

    def _work_timeout(self) -> float:
        """That unfinished work has in a stop."""
        delay = self._servers.longest_delay if self._workload.is_accepting else 0.0
        return delay + self._servers.longest_drain

    def master_has_ended(self) -> None:
        """In a signal handler or a thread: no process is left to notice that this one hangs."""
        timeout = self.settings.worker_timeout
        self.host.must_stop_within(timeout or self._stop_timeout(), "its master had ended")

    def _killed(self) -> None:
        """This process is about to be killed. Runs in a thread."""
        self.lifecycle.killed()
        self._workload.kill()

    # What the lifecycle asks of it

    @property
    def settings(self) -> ProcessSettings:
        """The settings of the process."""
        return self._servers.settings

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return self._servers.connected

    def listeners(self) -> Sequence[Listener]:
        """The listeners, which a successor or a worker inherits."""
        return self._servers.listeners()

    def require_inheritable(self) -> None:
        """Make sure that a successor can listen wherever this process does.

        Raises:
            UpgradeRefused: it cannot; the text says where, and what to do.
        """
        if self.host.is_ours:
            self._reactor_listeners.require_inheritable()

    def close_unused(self) -> None:
        """Close the inherited listeners that are not served here."""
        self._servers.close_unused()

    def own_listeners(self) -> None:
        """Take responsibility for the listeners: no other generation has them any more."""
        self._servers.own_listeners()
        self._servers.close_unused()

    def accept(self) -> None:
        """Let the workload accept."""
        self.watcher.serves()  # what ends now is no drain
        self.host.drains(False)
        self._workload.accept()
        self._reactor_listeners.accept()

    def hand_over(self, carrier: Carrier, removed: Collection[Listener] = ()) -> Deferred[Any]:
        """Let the workload stop accepting, hand over the connections that can move, and drain.

        So do the listeners that the program has beside it; their connections cannot move.
        """

        def drained(result: T) -> T:
            self.watcher.drained()
            return result

        self.watcher.drains()
        self.host.drains(True)
        beside = self._reactor_listeners.hand_over(removed, self._servers.longest_drain)
        reports: Deferred[Any] = self._workload.hand_over(carrier, removed)
        reports.addCallback(drained)
        return gatherResults([reports, beside]).addCallback(itemgetter(0))

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a connection that another process hands over would be served."""
        return self._workload.can_take_up(handed)

    def take_up(self, handed: HandedConnection) -> None:
        """Serve a connection that another process handed over."""
        self._workload.take_up(handed)

    def logs_moved(self) -> None:
        """Reopen the log files, which have been moved."""
        self._workload.logs_moved()

    def skip_shutdown_delay(self) -> None:
        """Stop accepting as soon as a stop begins: another process may need the addresses."""
        self._servers.skip_shutdown_delay()

    def cut(self) -> None:
        """Cut the requests in flight, now or as soon as the drain begins."""
        self._workload.cut()
        if self._stopping is not None:
            self._stopping.cancel()

    def leave(self) -> None:
        """Stop the reactor, which stops the service; not if the program goes on without it."""
        self.supervisor.stops(
            f"Stopping; connections that drain: {self.connected}",
            self._servers.longest_delay + self._servers.longest_drain * (1 + len(self._beside())),
        )
        if self.is_running:
            self._leaving = True
            self._servers.announce()
            self._reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):  # somebody else has stopped it
            self._reactor.stop()
