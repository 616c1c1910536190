"""Servers that are upgraded and stopped together: where HTTP and processes meet."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    ensureDeferred,
    gatherResults,
)
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import twisted_internals
from ..app.loading import log_not_served
from ..clock import keep_steady
from ..config.process_settings import ProcessSettings
from ..errors import GracefulError, SettingsError
from ..handover_interface import Carrier
from ..http.log.drain_report import DrainReport
from ..process.host import systemd
from ..process.host.cpu_watchdog import CpuWatchdog
from ..process.host.exit_deadline import SLACK, ExitDeadline
from ..process.host.exit_phases import ExitPhases
from ..process.host.exit_status import exit_with
from ..process.host.forks import ForkGuard, keep_inheritance_from_children
from ..process.host.log_prefix import prefix, prefix_lines
from ..process.host.process_status import Status, resident_size
from ..process.host.reaper import OrphanReaper
from ..process.host.server_log import never_wait
from ..process.host.shared_log_files import share_log_files
from ..process.host.signals import SignalHandlers
from ..process.host.streams import canonical
from ..process.host.supervisors import RECYCLED
from ..process.host.terminal import ControllingTerminal
from ..process.host.title import set_title, title
from ..process.host.twistd_files import TwistdFiles
from ..process.listeners import activation
from ..process.listeners.listener import Listener
from ..process.listeners.listener_registry import ListenerRegistry
from ..process.upgrade.generation import Generation
from ..process.upgrade.generation_machine import GenerationState
from ..process.upgrade.inheritance import Inheritance, claim, seize
from ..process.upgrade.launch import Launch
from ..process.upgrade.messages import REPORT_LIMIT
from ..process.upgrade.upgrade_events import Shielded, Watcher
from ..process.upgrade.upgrade_record import UpgradeRecord
from ..process.workers.balance import share_of
from ..process.workers.heartbeat import Heartbeat, interval
from ..process.workers.pool import Pool
from ..process.workers.recycling import Recycling
from ..process.workers.worker import Worker
from .group import ServerGroup
from .server import Server, global_reactor, workers_not_started

# Whatever the application starts while it is imported must not inherit what we inherited.
seize()
activation.seize()
systemd.seize()


class GracefulService(ServerGroup):
    """Servers that are upgraded and stopped together: the whole of a process.

    Put it into the application of a ``.tac`` file, or start it in a program of your own.
    Other services may be added to it: they are started with the servers, and stopped
    when the process ends. During an upgrade they run in both processes: from the start of the
    successor until this process leaves, which is at the end of the probation or of the drain.

    Args:
        servers: what is served.
        signals: whether TERM, INT and QUIT stop this process, USR2 and HUP upgrade it, and USR1
            reopens its logs; a HUP from a terminal that was closed stops it. If so its exit
            status is 1 when a stop cut a request, and the reactor's clock does not follow when the
            system's is set.
        upgradable: whether a successor can be started at all.
        pid_file: the path of the pid file, if the caller knows it.
        launch: how to start a successor; None for the command of this process.
        title: what is served, for the title of the process; empty if nobody knows a name for it.
        exit_with: sets the exit status of the process.
        reactor: None for the global one.
        settings: the settings of a process, by name. What is not given is taken from the
            settings of the servers.

    Attributes:
        report: what the last drain did; None before.
        upgradable: whether a successor can be started at all.
        watcher: is told what becomes of upgrades and of other generations; replaced, before the
            start, by who wants to know.

    Raises:
        ActivationError: a service manager passed sockets that cannot be used.
        InheritanceError: this process was started as a successor, but not by us.
        SettingsError: there is no such setting, or its value is out of range; or workers are
            configured, which `serving` would start.
    """

    _log = Logger()
    _has_workers = False

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
        ProcessSettings.combined(settings, ())  # an error must leave the inheritance unclaimed
        self._given = settings
        inheritance = claim()
        reactor = global_reactor() if reactor is None else reactor
        inherited = () if inheritance is None else inheritance.take_listeners()
        self._worker = 0 if inheritance is None else inheritance.worker
        listeners = ListenerRegistry(inherited, activation.claim())
        super().__init__(reactor, listeners, share_of(inheritance))
        self.report: DrainReport | None = None
        self._watcher: Watcher = Watcher()
        if signals:  # a reactor that others run too is theirs to change
            keep_steady(reactor)
        self.upgradable = upgradable
        self._owns_process = signals
        self._exit_with = exit_with
        self._inheritance = inheritance
        self._title = title
        self._deadline = ExitDeadline()
        self._deadline.last_act = self._killed
        self._ending = ExitPhases(reactor, self._stop_takes, self._work_has, self._deadline)
        self._signals = SignalHandlers(
            reactor,
            self._actions() if signals else {},
            shared={signal.SIGUSR1},  # twistd rotates its own log then
            ignorable={signal.SIGHUP},  # by nohup(1)
            stops=self._ending.told,
            stopping=self._stopping_signals(),
        )
        self._terminal = ControllingTerminal(reactor)
        self._guard = ForkGuard(self._sockets, lambda: self._signals.installed)
        self._launch = Launch.of_this_process(os.environ) if launch is None else launch
        self._generation: Generation | Worker | None = None
        self._supervisor = systemd.Supervisor(reactor)
        # Before twistd opens its log, and writes its pid file.
        share_log_files(reactor)
        self._files = TwistdFiles(
            pid_file or ("" if inheritance is None else inheritance.pid_file),
            located=lambda path: canonical(path, self._launch.directory),
            is_successor=inheritance is not None,
            written=self._written_files,
            ends=self._remove_pid_file,
            observes=partial(never_wait, reactor) if signals else lambda observer: None,
        )
        self._files.take_over_twistd()
        if signals or inheritance is not None:
            number = 0 if inheritance is None else inheritance.generation
            prefix_lines(prefix(number, self._worker))
        self._heart = Heartbeat(reactor, self._beat)
        self._watchdog = CpuWatchdog(0)
        self._retirement = Recycling(reactor)
        self._leaving = False
        for server in servers:
            server.setServiceParent(self)
        if os.getpid() == 1 and (signals or self._has_workers):
            OrphanReaper(reactor).setServiceParent(self)

    def addService(self, service: IService) -> None:
        """Add a server, or a service that runs beside the servers.

        Raises:
            RuntimeError: a server was added after the start.
            SettingsError: workers are configured, and this service starts none.
        """
        super().addService(service)
        if self.settings.workers and not (self._worker or self._has_workers):
            raise workers_not_started(self.settings.workers)

    @property
    def watcher(self) -> Watcher:
        """Is told what happens; what it raises is logged, and does not reach this service."""
        return self._watcher

    @watcher.setter
    def watcher(self, watcher: Watcher) -> None:
        self._watcher = Shielded(watcher)

    @property
    def reactor(self) -> Any:
        """What runs it."""
        return self._reactor

    @property
    def settings(self) -> ProcessSettings:
        """The settings of this process: those given to it, the rest from its servers."""
        return ProcessSettings.combined(self._given, [each.settings for each in self.servers])

    @property
    def generation(self) -> Generation | None:
        """This process as one of those that follow each other; None before the start."""
        return self._generation if isinstance(self._generation, Generation) else None

    def is_accepting(self) -> bool:
        """Whether connections come to this process, and not to its predecessor or successor."""
        return self._accepting and bool(self.running)

    @property
    def number(self) -> int:
        """Of the generation of this process."""
        return 0 if self._generation is None else self._generation.number

    @property
    def state(self) -> str:
        """Where this process is in its life, in a word or two."""
        if self._generation is None:
            return str(GenerationState.LOADING.value)
        return str(self._generation.state.value)

    @property
    def workers(self) -> int:
        """How many processes serve below this one; 0 if it does so itself."""
        return 0

    @property
    def pool(self) -> Pool | None:
        """The processes that serve below this one; None if it does so itself."""
        return None

    def resize(self, more: int) -> None:
        """Have more workers, or fewer; a process that serves itself has none."""

    # What users ask of it

    def open(self) -> None:
        """Bind all addresses before the start, where an error can still be shown.

        Raises:
            BindError: the system refused an address.
            CertificateError: there is no certificate that can be used; nothing was bound.
            LogFileError: an access log cannot be opened.
            SettingsError: a limit would end a process that may not be started again.
        """
        self._require_recyclable()
        # Whoever sees that we listen may send a signal, which waits until the reactor runs.
        self._signals.install_early()
        try:
            super().open()
        except GracefulError:
            self._signals.restore()
            raise

    def _require_recyclable(self) -> None:
        supervisor = None
        if self._owns_process and self._inheritance is None and not self._has_workers:
            supervisor = self._launch.supervised(os.getpid())
        for name in ("max_requests", "max_rss"):
            limit = getattr(self.settings, name)
            if limit and supervisor is not None and not supervisor.restarts:
                raise SettingsError(
                    name,
                    limit,
                    f"0: {supervisor.watches}, and may not be started again when it ends. "
                    "With --workers 1 or more the workers are replaced instead",
                )

    def upgrade(self) -> None:
        """Replace this process by one that runs the code that is on disk now.

        Nothing is lost if that fails: the reason is logged, and this process serves on.
        """
        if not self.upgradable:
            self._log.warn(
                "An upgrade was asked for, and ignored: this program has been started without "
                "upgrades; `listen_and_serve_forever` has them"
            )
            self._supervisor.reloads("An upgrade was asked for, and ignored", 0)
            self._supervisor.serves("Serves on; it has been started without upgrades")
        elif self._generation is not None:
            self._generation.upgrade()

    def reload(self) -> None:
        """Have the code served that is on disk now, as HUP does: an upgrade, or new workers."""
        self.upgrade()

    @property
    def replaces_workers(self) -> bool:
        """Whether a reload brings new workers now, below this process, and is no upgrade."""
        return False

    def stop(self) -> None:
        """Drain, after the longest ``shutdown_delay`` of the servers, then stop the reactor.

        Asked again: cut what is left, and stop at once.
        """
        if self._generation is not None:
            at_once = self._at_once or self._generation.is_asked_to_stop
            self._log.info("Stopping: {how}", how="at once" if at_once else "in order")
            self._generation.stop()

    def stop_at_once(self) -> None:
        """Stop the reactor, and cut what is being answered."""
        self._at_once = True
        self.stop()
        self.cut()

    def reopen_logs(self) -> None:
        """Go on in new log files, after somebody has moved the present ones away.

        The other generation, if there is one, does so too.
        """
        self.logs_moved()
        if self._generation is not None:
            self._generation.tell_logs_moved()

    # IService

    def startService(self) -> None:
        """Bind, load, become ready, accept; in a successor, once the predecessor lets go.

        Raises:
            BindError: the system refused an address.
            CertificateError: there is no certificate that can be used.
            LogFileError: an access log cannot be opened.
        """
        self.open()
        if self._owns_process:
            never_wait(self._reactor)
        for listener in self._listeners.unclaimed:
            self._log.warn(
                "The service manager passed a socket that nothing here serves: {where} (of the "
                "name {name}). Clients that connect there wait without end; give a server that "
                "address (--port)",
                where=", ".join(listener.addresses),
                name=listener.name,
            )
        inheritance, self._inheritance = self._inheritance, None
        self._at_once = self._leaving = False
        if self.upgradable and not self._owns_process:
            self._log.info(
                "No signal is handled here: USR2 would end this process. "
                "GracefulService(..., signals=True) lets it upgrade"
            )
        self._guard.begin()
        keep_inheritance_from_children(())  # the guard and the channel look after it now
        if self._owns_process:
            self._ending.watch()
        self._signals.install()
        # The reactor sets its own when it starts, before it calls the application's functions.
        self._reactor.addSystemEventTrigger("during", "startup", self._signals.install)
        self._supervisor = systemd.Supervisor(
            self._reactor, systemd.seize(), speaks=inheritance is None
        )
        if self._owns_process:
            self._terminal.start()
        if self._signals.ignored and not self._worker:
            self._log.info(
                "HUP is ignored, as it was when this process was started (nohup); USR2 upgrades"
            )
        settings = self.settings
        self._supervisor.loads("Loading", settings.upgrade_timeout)
        self._generation = generation = self._begin(inheritance)
        if self._owns_process:
            set_title(
                title(
                    generation.number,
                    self._worker,
                    is_master=self._has_workers,
                    served=self._title,
                )
            )
        self._retirement = Recycling(
            self._reactor, settings.max_requests, settings.max_requests_jitter, settings.max_rss
        )
        timeout = settings.worker_timeout
        self._heart = Heartbeat(self._reactor, self._beat, interval(timeout))
        self._watchdog = CpuWatchdog(timeout if self._worker and self._owns_process else 0)
        if self.generation is not None:
            self.generation.report()  # that this process loads
        super().startService()
        for server in self._apart:
            # Of a successor the predecessor still answers there.
            self._serve_apart(server, at_once=inheritance is None)
        self._load().addCallbacks(lambda _: generation.loaded(), self._not_loaded)

    def _begin(self, inheritance: Inheritance | None) -> Generation | Worker:
        if inheritance is not None and inheritance.worker:
            master_ends = self._master_has_ended if self._owns_process else None
            return Worker(self._reactor, self, inheritance, master_ends=master_ends)
        inherited = -1 if inheritance is None else inheritance.record
        path = "" if self._files.pid_file is None else self._files.pid_file.path
        return Generation(
            self._reactor,
            self,
            inheritance=inheritance,
            launch=self._launch,
            upgrade_timeout=self.settings.upgrade_timeout,
            probation=self.settings.probation,
            supervisor=self._supervisor,
            pid_file=self._files.pid_file,
            watcher=self.watcher,
            # Who is told otherwise than by signals is asked otherwise, too.
            record=UpgradeRecord(self._launch, inherited, path) if self._owns_process else None,
            leaves_within=self._leaves_within,
        )

    def stopService(self) -> Deferred[DrainReport]:
        """Stop accepting, after the longest ``shutdown_delay``, drain, and stop all other services.

        Returns:
            A Deferred that fires with the report of all servers together.
        """
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> DrainReport:
        generation = self._generation
        if generation is not None:
            if not self._owns_process and twisted_internals.was_told_to_stop(self._reactor):
                generation.stop()
            if generation.predecessor_resumes:
                self._listeners.hand_back()
            generation.service_stops()
        self.watcher.drains()
        report = await self._drain()
        self.watcher.drained()
        self.tell_master()  # the last numbers
        if generation is not None:
            if self.generation is not None:
                await self.generation.report()  # for the last time
            await generation.stopped(report.fields)
        await self._stop_others()
        self._heart.stop()
        self._watchdog.stop()
        self._terminal.stop()
        if self.generation is not None:
            clean = self.pool is None or self.pool.is_clean
            self.generation.drained(str(report), len(report.cut), clean)
        apart = gatherResults([server.stopService() for server in self._apart])
        if self._at_once:
            self.cut()
        await apart
        if generation is not None:
            generation.ended()
        self._listeners.close_unused()
        if not (self._leaving or self._ending.has_begun):
            self._guard.end()
            self._signals.restore()
            self._ending.give_up()
            if generation is not None:
                generation.stays()
        if self._owns_process and report.exit_status:
            self._exit_with(report.exit_status)
        self._log.info("Drained: {report}", report=report, **report.fields)
        if self._owns_process and (self._leaving or self._ending.has_begun):
            self._ending.stopped()
        self.report = report
        return report

    async def _drain(self) -> DrainReport:
        """Let what was begun end, after the delay."""
        await self._lame_duck()
        if self._generation is not None and not self._at_once:
            await self._generation.arrived()
        return sum(await self._drain_servers(), DrainReport())

    def _written_files(self) -> list[str]:
        logs = [each.settings.access_log for each in self._all_servers]
        return logs + [each.file for one in self._all_servers for each in one.unix_addresses]

    def _remove_pid_file(self) -> None:
        if self._generation is not None:
            self._generation.remove_pid_file()
        elif self._files.pid_file is not None:
            self._files.pid_file.remove()

    # What its generation asks of it

    def accept(self) -> None:
        """Let every server accept."""
        self.watcher.serves()  # what ends now is no drain
        self._ending.drains(False)
        super().accept()
        if self._worker or self._retirement:
            self._heart.start()

    def hand_over(
        self, carrier: Carrier, removed: Collection[Listener] = ()
    ) -> Deferred[list[DrainReport]]:
        """Let every server stop accepting, give away what can move, and drain."""
        self.watcher.drains()
        self._ending.drains(True)
        return super().hand_over(carrier, removed).addCallback(self._drained)

    def _drained(self, result: Any) -> Any:
        self.watcher.drained()
        return result

    def _beat(self) -> None:
        """Say that the reactor runs, and see whether this process has had its time."""
        self._watchdog.restart()
        self.tell_master()
        if not self.is_accepting() or not self._retirement:
            return
        answered = sum(each.answered for each in self.servers)
        reason = self._retirement.reason(answered, resident_size())
        if reason:
            self._retire(reason)

    def tell_master(self) -> None:
        """Tell the master how this process is, if it is a worker."""
        if isinstance(self._generation, Worker):
            report = self.watcher.report("master")
            if not 0 < len(report) <= REPORT_LIMIT:
                # Nobody watches, or cannot report: where to send those whom another worker lets
                # go. The sign of life must be sent whether or not there is a report.
                report = Status(gauges={"connections": self.connected}).encode()
            self._generation.alive(report)

    def _retire(self, reason: str) -> None:
        supervisor = None if self.generation is None else self.generation.watched_by
        if isinstance(self._generation, Worker):
            self._generation.retire(reason)
        elif supervisor is not None and self._owns_process:
            self._log.info(
                "This process ends with status {status}, to be started again: {reason}. "
                "{watches}, so it is not replaced by an upgrade",
                status=RECYCLED,
                reason=reason,
                watches=supervisor.watches,
            )
            self._exit_with(RECYCLED)
            self.stop()
        else:
            self._log.info("This process is to be replaced: {reason}", reason=reason)
            self.upgrade()

    def _sockets(self) -> Iterable[socket.socket]:
        """All sockets that listen here."""
        return (sock for each in self.listeners() for sock in each.sockets)

    def _stop_takes(self) -> float:
        """Seconds after which a stop has hung."""
        waits = 0.0
        if self.generation is not None:
            waits = self.generation.predecessor_takes  # with us the service manager ends it
        return self._work_has() + self._longest_drain() * len(self._others()) + waits + SLACK

    def _master_has_ended(self) -> None:
        """In a signal handler or a thread: no process is left to notice that this one hangs."""
        timeout = self.settings.worker_timeout
        self._ending.must_be_heard_within(timeout or self._stop_takes(), "its master had ended")

    def _killed(self) -> None:
        """This process is about to be ended; called in a thread."""
        if self._generation is not None:
            self._generation.killed()

    def _leaves_within(self) -> float:
        """Seconds that this process may take to end once a successor serves."""
        return self.settings.probation + self._longest_drain() * (1 + len(self._others())) + SLACK

    def _work_has(self) -> float:
        """Seconds that unfinished work has in a stop."""
        delay = self._longest_delay() if self._accepting else 0.0  # an upgrade has none
        return delay + self._longest_drain()

    def leave(self) -> None:
        """Stop the reactor, which stops this service; not if that is what goes on."""
        self._supervisor.stops(
            f"Stopping; connections that drain: {self.connected}",
            self._longest_delay() + self._longest_drain() * (1 + len(self._others())),
        )
        if self.running:
            self._leaving = True
            for server in self.servers:
                server.announce()
            self._reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):  # somebody else has stopped it
            self._reactor.stop()

    def _not_loaded(self, failure: Failure) -> None:
        if failure.check(CancelledError) or self._generation is None:
            return  # stopped while it loaded
        log_not_served(self._log, "The application", failure)
        if self._owns_process:
            self._exit_with(1)
        told = self._generation.failed(str(failure.value))
        if self._owns_process or self._generation.number > 0:
            told.addCallback(lambda _: self.leave())

    async def _hup(self) -> None:
        """Reload; or shut down if the terminal was closed, as other programs do."""
        if not await self._terminal.has_closed():
            self.reload()
        elif self._generation is not None and not (
            self._worker or self._generation.is_asked_to_stop  # the shell may send it, too
        ):
            self._log.info("The terminal of this process was closed")
            self.stop()

    def _stopping_signals(self) -> frozenset[int]:
        """The signals whose second arrival ends the process, whatever it is doing."""
        if self._worker:
            return frozenset({signal.SIGTERM})  # the others are typed, and the master's
        return frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})

    def give_signals_back(self) -> None:
        """The reactor has ended: let the program handle its signals as before."""
        self._signals.restore(original=True)

    def _actions(self) -> dict[int, Callable[[], object]]:
        # What is typed in a terminal reaches every process; of several the master acts on it.
        typed: dict[int, Callable[[], object]] = (
            dict.fromkeys((signal.SIGINT, signal.SIGQUIT), lambda: None)
            if self._worker
            else {signal.SIGINT: self.stop, signal.SIGQUIT: self.stop_at_once}
        )
        return {
            **typed,
            signal.SIGTERM: self.stop,
            signal.SIGUSR2: self.upgrade,
            signal.SIGHUP: lambda: ensureDeferred(self._hup()),
            signal.SIGUSR1: self.reopen_logs,
        }
