"""Servers that are upgraded and stopped together: where HTTP and processes meet."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    ensureDeferred,
    gatherResults,
    maybeDeferred,
)
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from . import private
from .app import log_not_served
from .clock import keep_steady
from .errors import GracefulError
from .http.port import Room
from .http.report import DrainReport
from .moving import Carrier, Handed
from .process import activation, systemd
from .process.exit_status import exit_with
from .process.generation import Generation
from .process.heartbeat import Heartbeat, interval
from .process.inheritance import Inheritance, claim, seize
from .process.launch import Launch
from .process.log_file import LogFiles
from .process.log_prefix import prefix, prefix_lines
from .process.member import Member
from .process.progress import Watcher
from .process.retirement import Retirement
from .process.signals import SignalHandlers
from .process.sockets import Listeners, text
from .process.status import Status, resident_size
from .process.title import set_title, title
from .server import Server, global_reactor
from .settings import Settings

# Whatever the application starts while it is imported must not inherit what we inherited.
seize()
activation.seize()
systemd.seize()


class GracefulService(MultiService):
    """Servers that are upgraded and stopped together: the whole of a process.

    Put it into the application of a ``.tac`` file, or start it in a program of your own.
    Other services may be added to it: they are started with the servers, and stopped
    when the process ends. During an upgrade they run in both processes: from the start of the
    successor until this process leaves, which is at the end of the probation or of the drain.

    Args:
        servers: what is served.
        upgrade_timeout: seconds that a successor may take until it is ready.
        probation: seconds after that in which this process accepts again should the
            successor die, even if it has drained; 0 for none.
        signals: whether TERM, INT and QUIT stop this process, USR2 and HUP upgrade it, and USR1
            opens its logs anew. If so its exit status is 1 when a stop cut a request, and the
            reactor's clock does not follow when the system's is set.
        upgradable: whether a successor can be started at all.
        pid_file: the path of the pid file, if the caller knows it.
        launch: how to start a successor; None for the command of this process.
        title: what is served, for the title of the process; empty if nobody knows a name for it.
        exit_with: sets the exit status of the process.
        reactor: None for the global one.

    Attributes:
        report: what the last drain did; None before.
        watcher: is told what becomes of upgrades and of other generations; replaced, before the
            start, by who wants to know.

    Raises:
        ActivationError: a service manager passed sockets that cannot be used.
        InheritanceError: this process was started as a successor, but not by us.
    """

    _log = Logger()
    _has_workers = False

    def __init__(
        self,
        *servers: Server,
        upgrade_timeout: float | None = None,
        probation: float | None = None,
        signals: bool = False,
        upgradable: bool = True,
        pid_file: str | None = None,
        launch: Launch | None = None,
        title: str = "",
        exit_with: Callable[[int], None] = exit_with,
        reactor: Any = None,
    ) -> None:
        super().__init__()
        chosen = {"upgrade_timeout": upgrade_timeout, "probation": probation}
        settings = Settings.of({name: it for name, it in chosen.items() if it is not None})
        self.report: DrainReport | None = None
        self.watcher = Watcher()
        self._apart: list[Server] = []
        self._reactor = global_reactor() if reactor is None else reactor
        if signals:  # a reactor that others run too is theirs to change
            keep_steady(self._reactor)
        self._upgrade_timeout = settings.upgrade_timeout
        self._probation = settings.probation
        self._upgradable = upgradable
        self._pid_file = pid_file
        self._owns_process = signals
        self._exit_with = exit_with
        self._inheritance = claim()
        self._title = title
        self._worker = 0 if self._inheritance is None else self._inheritance.worker
        self._is_worker = bool(self._worker)
        self._signals = SignalHandlers(
            self._reactor,
            self._actions() if signals else {},
            shared={signal.SIGUSR1},  # twistd rotates its own log then
        )
        self._logs = LogFiles(self._reactor)
        self._listeners = Listeners(
            self._inheritance.sockets() if self._inheritance else (), activation.claim()
        )
        self._room = Room(self._reactor)
        self._launch = Launch.of_this_process(os.environ) if launch is None else launch
        self._generation: Generation | Member | None = None
        self._supervisor = systemd.Supervisor(self._reactor)
        # Before twistd opens its log, and writes its pid file.
        private.share_log_files()
        private.take_over_pid_file(self._found_pid_file, self._remove_pid_file)
        if signals and (self._is_worker or self._has_workers):
            number = 0 if self._inheritance is None else self._inheritance.generation
            prefix_lines(prefix(number, self._worker))
        self._heart = Heartbeat(self._reactor, self._beat)
        self._retirement = Retirement(self._reactor)
        self._accepting = False
        self._at_once = False
        self._leaving = False
        self._stopping: Deferred[Any] | None = None
        for server in servers:
            server.setServiceParent(self)

    @property
    def servers(self) -> list[Server]:
        """The servers among the services."""
        return [each for each in self._all_servers if each not in self._apart]

    @property
    def _all_servers(self) -> list[Server]:
        return [each for each in self if isinstance(each, Server)]

    @property
    def reactor(self) -> Any:
        """What runs it."""
        return self._reactor

    @property
    def probation(self) -> float:
        """Seconds for which this process stays after a successor is ready."""
        return self._probation

    @property
    def generation(self) -> Generation | None:
        """This process as one of those that follow each other; None before the start."""
        return self._generation if isinstance(self._generation, Generation) else None

    @property
    def listening(self) -> list[tuple[str, list[str]]]:
        """The listeners, by their names, and where each is bound."""
        return [(name, [text(each) for each in bound]) for name, bound in self._listeners.in_use()]

    def is_accepting(self) -> bool:
        """Whether connections come to this process, and not to its predecessor or successor."""
        return self._accepting and bool(self.running)

    @property
    def is_ready(self) -> bool:
        """Whether who connects now is served for the time being, by every server.

        From the moment that this process accepts to the first moment of a stop; in an upgrade
        the successor serves.
        """
        return bool(self.servers) and all(each.is_ready for each in self.servers)

    @property
    def status(self) -> Status:
        """What this process has done and does, in numbers."""
        size = Status(gauges={"rss": resident_size()})
        return sum((each.status for each in self.servers), size)

    def addService(self, service: IService) -> None:
        """Add a server, or a service that runs beside the servers.

        Raises:
            RuntimeError: a server was added after the start.
        """
        if isinstance(service, Server):
            if self.running:
                raise RuntimeError("add a server before the service is started")
            service.listeners = self._listeners
            service.logs = self._logs
            service.coordinated = True
            service.is_one_of_several = self._is_worker
            if not service.settings.max_connections:
                service.room = self._room
        super().addService(service)

    @property
    def workers(self) -> int:
        """How many processes serve below this one; 0 if it does so itself."""
        return 0

    def resize(self, more: int) -> None:
        """Have more workers, or fewer; a process that serves itself has none."""

    def add_apart(self, server: Server) -> None:
        """Add a server that serves no application, but those who look after this service.

        It accepts before the others are loaded, in the first generation, and drains when they have:
        at a stop, last. It has no part in readiness and in reports.

        Raises:
            RuntimeError: the service has been started.
        """
        self._apart.append(server)
        server.setServiceParent(self)

    # What users ask of it

    def open(self) -> None:
        """Bind all addresses before the start, where an error can still be shown.

        Raises:
            BindError: the system refused an address.
            CertificateError: there is no certificate that can be used; nothing was bound.
            LogFileError: an access log cannot be opened.
        """
        for server in self._all_servers:
            server.read_certificate()
        # Whoever sees that we listen may send a signal, which waits until the reactor runs.
        self._signals.install_early()
        try:
            for server in self._all_servers:
                server.open()
        except GracefulError:
            self._signals.restore()
            for server in self._all_servers:
                server.close()
            raise

    def upgrade(self) -> None:
        """Replace this process by one that runs the code that is on disk now.

        Nothing is lost if that fails: the reason is logged, and this process serves on.
        """
        if not self._upgradable:
            self._log.warn(
                "An upgrade was asked for, and ignored: this program has been started without "
                "upgrades; `listen_and_serve_forever` has them"
            )
            self._supervisor.reloads("An upgrade was asked for, and ignored", 0)
            self._supervisor.serves("Serves on; it has been started without upgrades")
        elif self._generation is not None:
            self._generation.upgrade()

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
        for name, where in self._listeners.not_served():
            self._log.warn(
                "The service manager passed a socket that nothing here serves: {where} (of the "
                "name {name}). Clients that connect there wait without end; give a server that "
                "address (--port)",
                where=where,
                name=name,
            )
        inheritance, self._inheritance = self._inheritance, None
        self._at_once = self._leaving = False
        if self._upgradable and not self._owns_process:
            self._log.info(
                "No signal is handled here: USR2 would end this process. "
                "GracefulService(..., signals=True) lets it upgrade"
            )
        self._signals.install()
        self._reactor.callWhenRunning(self._signals.install)  # the reactor sets its own
        self._supervisor = systemd.Supervisor(
            self._reactor, systemd.seize(), speaks=inheritance is None
        )
        self._supervisor.loads("Loading", self._upgrade_timeout)
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
        self._retirement = Retirement(
            self._reactor, *map(self._least, ("max_requests", "max_requests_jitter", "max_rss"))
        )
        seconds = interval(self._least("worker_timeout"))
        self._heart = Heartbeat(self._reactor, self._beat, seconds)
        if self.generation is not None:
            self.generation.report()  # that this process loads
        super().startService()
        for server in self._apart:
            # Of a successor the predecessor still answers there.
            self._serve_apart(server, at_once=inheritance is None)
        self._load().addCallbacks(lambda _: generation.loaded(), self._not_loaded)

    def _begin(self, inheritance: Inheritance | None) -> Generation | Member:
        if inheritance is not None and inheritance.worker:
            return Member(self._reactor, self, inheritance)
        return Generation(
            self._reactor,
            self,
            inheritance=inheritance,
            launch=self._launch,
            upgrade_timeout=self._upgrade_timeout,
            probation=self._probation,
            supervisor=self._supervisor,
            pid_file=self._pid_file,
            watcher=self.watcher,
        )

    def _load(self) -> Deferred[Any]:
        """Load all that is served; fails with the first that cannot be."""
        loads = gatherResults([server.load() for server in self.servers], consumeErrors=True)
        return loads.addErrback(_first)

    def _drain_apart(self, carrier: Carrier, gone: Sequence[socket.socket]) -> None:
        for server in self._apart:
            server.drain(
                carrier, gone
            )  # to its end nobody waits: it tells how the others' drain goes

    def _serve_apart(self, server: Server, *, at_once: bool) -> None:
        loads = server.load()
        if at_once:
            loads.addCallback(lambda _: server.accept())
        loads.addErrback(lambda failure: self._log.failure("Not served", failure))

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
            if not self._owns_process and private.was_told_to_stop(self._reactor):
                generation.stop()
            if generation.predecessor_resumes:
                self._listeners.give_back()
            generation.service_stops()
        self.watcher.stops()
        report = await self._drain()
        self._tell_master()  # the last numbers
        if generation is not None:
            if self.generation is not None:
                await self.generation.report()  # for the last time
            await generation.stopped(report.fields)
        await self._stop_others()
        self._heart.stop()
        self.watcher.stopped(str(report), len(report.cut))
        apart = gatherResults([server.stopService() for server in self._apart])
        if self._at_once:
            self.cut()
        await apart
        if generation is not None:
            generation.ended()
        self._listeners.close_unused()
        if not self._leaving:
            self._signals.restore()
        if self._owns_process and report.exit_status:
            self._exit_with(report.exit_status)
        self._log.info("Drained: {report}", report=report, **report.fields)
        self.report = report
        return report

    async def _drain(self) -> DrainReport:
        """Let what was begun end, after the delay."""
        await self._lame_duck()
        if self._generation is not None and not self._at_once:
            await self._generation.arrived()
        drains = gatherResults([server.stopService() for server in self.servers])
        if self._at_once:
            self.cut()
        return sum(await drains, DrainReport())

    async def _lame_duck(self) -> None:
        """Tell all first, of every server, and then go on accepting for a while."""
        for server in self.servers:
            server.announce()
        delay = 0 if self._at_once else self._longest_delay()
        await gatherResults([server.lame_duck(delay) for server in self.servers])

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

    def _least(self, name: str) -> Any:
        """The least that a setting of a server says, in which 0 is without end."""
        values = [getattr(each.settings, name) for each in self.servers]
        return min(filter(None, values), default=0)

    def _longest_delay(self) -> float:
        return max((each.settings.shutdown_delay for each in self.servers), default=0.0)

    def _longest_drain(self) -> float:
        return max((each.settings.drain_timeout for each in self.servers), default=0.0)

    def _found_pid_file(self, path: str) -> None:
        self._pid_file = path

    def _remove_pid_file(self, path: str) -> None:
        if self._generation is not None:
            self._generation.remove_pid_file(path)

    # What its generation asks of it

    def listeners(self) -> Sequence[tuple[str, Sequence[socket.socket]]]:
        """What a successor inherits."""
        return self._listeners.in_use()

    def close_unused(self) -> None:
        """Close the inherited listeners that no server has."""
        self._listeners.close_unused()

    def alone(self) -> None:
        """Be the only generation: own the listeners, and close those that are not served."""
        self._listeners.own()
        self._listeners.close_unused()

    def accept(self) -> None:
        """Let every server accept."""
        self._accepting = True
        self._listeners.own()
        for server in self._all_servers:
            server.accept()
        if self._is_worker or self._retirement:
            self._heart.start()

    def _beat(self) -> None:
        """Say that the reactor runs, and see whether this process has had its time."""
        status = self._tell_master()
        if not self.is_accepting():
            return
        answered = int(status.counters.get("answered", 0))
        reason = self._retirement.reason(answered, int(status.gauges["rss"]))
        if reason:
            self._retire(reason)

    def _tell_master(self) -> Status:
        status = self.status
        if isinstance(self._generation, Member):
            self._generation.alive(self.watcher.numbers(status))
        return status

    def _retire(self, reason: str) -> None:
        if isinstance(self._generation, Member):
            self._generation.retire(reason)
        else:
            self._log.info("This process is to be replaced: {reason}", reason=reason)
            self.upgrade()

    def logs_moved(self) -> None:
        """Go on in new log files."""
        for server in self.servers:
            server.flush_log()
        self._logs.reopen()

    def hand_over(
        self, carrier: Carrier, gone: Sequence[socket.socket] = ()
    ) -> Deferred[list[DrainReport]]:
        """Let every server stop accepting, give away what can move, and drain."""
        self._accepting = False
        self._listeners.entrust(gone)
        self._drain_apart(carrier, gone)
        return gatherResults([server.drain(carrier, gone) for server in self.servers])

    def can_take_up(self, handed: Handed) -> bool:
        """Whether a server has the listener of a connection, and would serve it."""
        return any(server.can_take_up(handed) for server in self._all_servers)

    def take_up(self, handed: Handed) -> None:
        """Let the server that has its listener serve a connection."""
        server = next((each for each in self._all_servers if each.listens_on(handed)), None)
        if server is None:  # it has stopped meanwhile, and could not wait for this one
            os.close(handed.descriptor)
        else:
            server.take_up(handed)

    def leave(self) -> None:
        """Stop the reactor, which stops this service; not if that is what goes on."""
        connections = sum(each.connected for each in self.servers)
        self._supervisor.stops(
            f"Stopping; connections that drain: {connections}",
            self._longest_delay() + self._longest_drain() * (1 + len(self._others())),
        )
        if self.running:
            self._leaving = True
            for server in self.servers:
                server.announce()
            self._reactor.callWhenRunning(self._stop_reactor)

    def cut(self) -> None:
        """End what is still being answered, now or as soon as the drain begins."""
        self._at_once = True
        for server in self._all_servers:
            server.cut()
        if self._stopping is not None:
            self._stopping.cancel()

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

    def _actions(self) -> dict[int, Callable[[], None]]:
        if self._is_worker:
            # What is typed in a terminal reaches every process; the master acts on it.
            return {
                signal.SIGTERM: self.stop,
                signal.SIGINT: lambda: None,
                signal.SIGQUIT: lambda: None,
                signal.SIGUSR2: self.upgrade,
                signal.SIGHUP: self.upgrade,
                signal.SIGUSR1: self.reopen_logs,
            }
        return {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGQUIT: self.stop_at_once,
            signal.SIGUSR2: self.upgrade,
            signal.SIGHUP: self.upgrade,
            signal.SIGUSR1: self.reopen_logs,
        }


def _first(failure: Failure) -> Failure:
    failure.trap(FirstError)
    first: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return first
