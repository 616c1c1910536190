"""The workload of a master: workers that serve, on listeners that this process holds."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import CertificateError
from ..handover_interface import Carrier, HandedConnection
from ..http.log.drain_report import DrainReport
from ..process.host.process_status import Status
from ..process.interfaces import Lifecycle
from ..process.listeners.listener import Listener
from ..process.upgrade.child import KILL_AFTER
from ..process.upgrade.launch import Launch
from ..process.upgrade.upgrade_events import RollingRestartProgress, WatchedWorker, Watcher
from ..process.workers.balance import ConnectionCounts
from ..process.workers.pool import Pool
from ..process.workers.relay import Relay, RelayTarget
from ..process.workers.worker_handle import WorkerHandle, WorkerPhase
from ..reactors import IServerReactor
from .group import ServerGroup
from .shutdown_delay import ShutdownDelay
from .workload import ServiceWorkload

SLACK = 5.0
"""Seconds that a worker may take beyond its own deadlines until it is killed."""


@dataclass(frozen=True)
class WorkerSummary:
    """A worker at one moment, for status pages.

    Attributes:
        key: identifies the process, as in `Watcher.worker_reported`.
        number: its number among the workers; a worker that replaces it has the same.
        pid: of the process; 0 if it could not be started.
        state: what it does, in a word.
        code: counts the rolling restarts before it was started.
        restarts: how many workers of this number have died and were started again.
        started: when it was started, in the seconds of the reactor.
    """

    key: WatchedWorker
    number: int
    pid: int
    state: str
    code: int
    restarts: int
    started: float


class _Successor:
    """The way to the successor of this master, for the connections of the workers."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.connections = 0


class WorkerGroup(ServiceWorkload):
    """A pool of workers, which run the same command and serve what a group of servers would.

    This process binds the addresses, and neither loads the applications nor accepts. It passes on
    the connections that one worker hands over to the others.

    Args:
        reactor: runs everything.
        servers: what the workers serve.
        size: how many workers; 1 or more.
        launch: how to start one.
    """

    _log = Logger()
    role = "master"
    has_processes = True

    def __init__(
        self,
        reactor: IServerReactor,
        servers: ServerGroup,
        size: int,
        launch: Launch,
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._launch = launch
        self._worker_patience = servers.longest_delay + 2 * servers.longest_drain + SLACK
        self._pool = Pool(reactor, size, self, self._worker_patience, servers.settings.probation)
        self.is_accepting = False
        self.signals: Mapping[int, Callable[[], object]] = {
            signal.SIGTTIN: lambda: self.resize(+1),
            signal.SIGTTOU: lambda: self.resize(-1),
        }
        self._successor: _Successor | None = None
        self._relay = Relay(reactor, self._routes)
        self._counts: ConnectionCounts | None = None
        self._delay = ShutdownDelay(reactor)
        self._removed: frozenset[Listener] = frozenset()  # which only our workers still serve
        self._lifecycle: Lifecycle | None = None
        self._watcher = Watcher()

    # What is known of it

    @property
    def size(self) -> int:
        """How many workers are wanted."""
        return self._pool.size

    @property
    def ready(self) -> int:
        """How many workers accept."""
        return len(self._pool.serving)

    @property
    def last_rolling_restart(self) -> RollingRestartProgress | None:
        """The progress of the last rolling restart; None if there was none."""
        return self._pool.last_rolling_restart

    @property
    def workers(self) -> list[WorkerSummary]:
        """All processes, by their numbers."""
        return [
            WorkerSummary(
                each,
                each.number,
                each.pid,
                each.phase.value,
                each.code,
                self._pool.restarts_of(each.number),
                each.started,
            )
            for each in sorted(self._pool, key=lambda each: each.number)
        ]

    @property
    def is_ready(self) -> bool:
        """Whether a worker serves the clients that connect now."""
        return bool(self._pool.serving)

    @property
    def is_clean(self) -> bool:
        """Whether every worker has reported its drain, and has ended with status 0."""
        return self._pool.is_clean

    @property
    def can_reload(self) -> bool:
        """Whether new code comes with new workers now, and not with a new master."""
        return self._lifecycle is None or self._lifecycle.allows_rolling_restart

    @property
    def status(self) -> Status:
        """What this process has done and does, in numbers; the workers report theirs."""
        return self._servers.status + Status({"worker_restarts": self._pool.restarts})

    @property
    def patience(self) -> float:
        """Seconds for the deadlines of a worker, and for what it takes to kill one."""
        return self._worker_patience + KILL_AFTER

    # What users ask of it

    def resize(self, more: int) -> None:
        """Have more workers, or fewer, but always one.

        Args:
            more: how many; negative for fewer.
        """
        self._pool.resize(more)
        if self._counts is not None:
            self._counts.size = self._pool.size

    def reload(self) -> None:
        """Replace all workers, one after the other, by new ones with the code on disk."""
        self._pool.restart_workers()

    # What the pool asks of it

    def make_worker(self, number: int, code: int) -> WorkerHandle:
        """A new worker, not started yet; `code` counts the rolling restarts so far."""
        settings = self._servers.settings
        ready, silent = settings.upgrade_timeout, settings.worker_timeout
        return WorkerHandle(self._reactor, number, self._pool, self, ready, silent, code)

    def start_worker(self, worker: WorkerHandle) -> None:
        """Start it, with all listeners.

        Raises:
            OSError: the system refuses.
        """
        assert self._lifecycle is not None
        self._launch.require_possible()
        for server in self._servers.servers:
            server.listening.bind_again()
        memory = {}
        if self._counts is not None:
            self._counts.size = self._pool.size
            memory["balance"] = self._counts.descriptor
        worker.start(
            self._launch,
            self._lifecycle.number,
            self._servers.listeners(),
            self._lifecycle.streams,
            memory,
        )

    def worker_serves(self) -> None:
        """Pass on the connections that wait for a worker."""
        self._relay.go_on()

    def worker_reported(self, worker: WorkerHandle, report: str) -> None:
        """It has reported its numbers."""
        self._watcher.worker_reported(worker, report)

    def worker_ended(self, worker: WorkerHandle) -> None:
        """It has ended."""
        if (
            self._counts is not None and worker.phase is WorkerPhase.SERVING
        ):  # else another one is there
            self._counts.clear(worker.number)
        self._watcher.worker_ended(worker)

    def rolling_restart_progress(self, progress: RollingRestartProgress) -> None:
        """A rolling restart has made progress."""
        if self._lifecycle is not None:
            self._lifecycle.rolling_restart_progress(progress)
        if progress.is_over and not progress.reason:
            self._read_certificates()

    def _read_certificates(self) -> None:
        """Read the certificates again, as the new workers have, for the metrics."""
        for server in self._servers.servers:
            try:
                server.certificate.read()
            except CertificateError as error:
                self._log.warn(
                    "The metrics of the certificate are not updated: {error}", error=error
                )
            else:
                server.certificate.log_warnings()

    # Workload

    def load(self, lifecycle: Lifecycle, watcher: Watcher) -> Deferred[Any]:
        """Start the workers, as soon as the reactor waits for children."""
        self._servers.is_immediate = False
        self._lifecycle = lifecycle
        self._watcher = watcher
        self._counts = ConnectionCounts.create()
        loaded: Deferred[None] = Deferred()
        self._reactor.callWhenRunning(lambda: self._pool.load().chainDeferred(loaded))
        return loaded

    def accept(self) -> None:
        """Let every worker accept."""
        if not self.is_accepting:
            urls = (url for server in self._servers.servers for url in server.urls)
            self._log.info("Listening on {urls}", urls=", ".join(urls))
        self.is_accepting = True
        self._successor = None
        self._servers.own_listeners()
        self._removed = frozenset()
        given_up = [each for one in self._servers.servers for each in one.listening.given_up]
        if given_up:
            self._log.warn(
                "Closed for the successor that has ended, and not served: {addresses}. HUP opens "
                "what is configured anew, with new workers",
                addresses=", ".join(given_up),
            )
        for server in self._servers.auxiliary:
            server.accept()
        self._pool.accept()

    def logs_moved(self) -> None:
        """Go on in new log files, in every worker too."""
        self._servers.logs_moved()
        self._pool.logs_moved()

    def hand_over(self, carrier: Carrier, removed: Collection[Listener] = ()) -> Deferred[Any]:
        """Let every worker stop accepting, hand over the connections that can move, and drain.

        Removed listeners are closed here and there. Should this process have to serve again, only
        workers that are started later have them.
        """
        self.is_accepting = False
        self._removed = frozenset(removed)
        self._servers.hand_over_auxiliary(carrier, removed)
        self._successor = _Successor(carrier)
        drained = self._pool.drain([each for each in removed if each.can_be_bound_again])
        for server in self._servers.servers:
            server.listening.end(removed)
        return drained

    def _routes(self) -> Iterable[RelayTarget]:
        return self._pool.serving if self._successor is None else [self._successor]

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether there is a process to pass a connection on to, or it is for this one."""
        if self._is_auxiliary(handed):
            return self._servers.can_take_up(handed)
        return self._relay.is_open and any(
            handed.listener in each.addresses
            for each in self._servers.listeners()
            if each not in self._removed
        )

    def take_up(self, handed: HandedConnection) -> None:
        """Pass a connection on, or serve it."""
        recipient = self._servers if self._is_auxiliary(handed) else self._relay
        recipient.take_up(handed)

    def _is_auxiliary(self, handed: HandedConnection) -> bool:
        return any(each.listens_on(handed) for each in self._servers.auxiliary)

    def cut(self) -> None:
        """Cut the requests in flight of workers that leave."""
        self._delay.end()
        self._pool.cut()
        self._servers.cut()

    async def stop(self, arrived: Callable[[], Deferred[None]]) -> DrainReport:
        """Let the workers stop, each after the shutdown delay, and wait for their reports."""
        gone = self._pool.leave()
        if self._servers.is_immediate:
            self.cut()
        elif self._servers.longest_delay and self.is_accepting:
            # Until then they accept, so the sockets, and the files of UNIX sockets, are needed.
            await self._delay.wait(self._servers.longest_delay)
        # The workers drain. We close our sockets now, so that the last worker that closes one has
        # served its backlog, and clients that connect later are refused and do not wait.
        for server in self._servers.servers:
            await server.stopService()
        await gone
        self._relay.close()
        if self._counts is not None:
            self._counts.close()
            self._counts = None
        reports = map(json.loads, filter(None, self._pool.reports))
        return sum(map(DrainReport.of, reports), DrainReport())

    def kill(self) -> None:
        """Kill all workers."""
        self._pool.kill()
