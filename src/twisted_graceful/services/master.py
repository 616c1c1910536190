"""A master and its workers: servers that several processes serve, below one that serves nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Collection, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from ..config.option_types import AUTO
from ..config.process_settings import ProcessSettings
from ..errors import CertificateError
from ..handover_interface import Carrier, HandedConnection
from ..http.log.drain_report import DrainReport
from ..process.host.cpu_count import usable
from ..process.host.process_status import Status
from ..process.listeners.listener import Listener
from ..process.upgrade.child import KILL_AFTER
from ..process.upgrade.generation import Generation
from ..process.upgrade.generation_machine import GenerationState
from ..process.upgrade.inheritance import is_worker
from ..process.upgrade.upgrade_events import RollingRestart
from ..process.workers.balance import ConnectionCounts
from ..process.workers.pool import Pool
from ..process.workers.relay import Relay, Route
from ..process.workers.worker_handle import WorkerHandle, WorkerPhase
from .server import Server
from .service import GracefulService

SLACK = 5.0
"""Seconds that a worker may take beyond its own deadlines until it is killed."""

_KEEPING_WORKERS = (
    GenerationState.UPGRADING,
    GenerationState.HANDING_OVER,
    GenerationState.STANDING_BY,
    GenerationState.DRAINING,
    GenerationState.STOPPING,
)
"""The states in which new code comes with a successor, or not at all."""


class _Successor:
    """The way to the successor of this master, for the connections of the workers."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.connections = 0


class MasterService(GracefulService):
    """Servers that several processes serve.

    This one binds the addresses and holds the sockets, and does not load the applications. Its
    workers run the same command.

    Args:
        servers: what is served.
        options: as for `GracefulService`. Whoever handles the signals itself calls `reload` and
            `resize`.
    """

    _has_workers = True

    def __init__(self, *servers: Server, **options: Any) -> None:
        super().__init__(*servers, **options)
        settings = self.settings
        workers = count(settings.workers)
        self._pool = Pool(self._reactor, workers, self, self._patience(), settings.probation)
        self._successor: _Successor | None = None
        self._relay = Relay(self._reactor, self._routes)
        self._counts: ConnectionCounts | None = None
        self._delay: Deferred[None] | None = None
        self._removed: frozenset[Listener] = frozenset()  # which only our workers still serve

    @property
    def status(self) -> Status:
        """What this process has done and does, in numbers; of its workers the watcher hears."""
        return super().status + Status({"worker_restarts": self._pool.restarts})

    def _patience(self) -> float:
        return self._longest_delay() + 2 * self._longest_drain() + SLACK

    def _stop_takes(self) -> float:
        # Its workers come first, with their own deadlines, and what it takes to kill one.
        return super()._stop_takes() + self._patience() + KILL_AFTER

    def _killed(self) -> None:
        super()._killed()
        self._pool.kill()

    def _leaves_within(self) -> float:
        return super()._leaves_within() + self._patience() + KILL_AFTER

    # What the pool asks of it

    def make_worker(self, number: int) -> WorkerHandle:
        """The worker of a place."""
        ready, silent = self.settings.upgrade_timeout, self.settings.worker_timeout
        return WorkerHandle(self._reactor, number, self._pool, self, ready, silent)

    def start_worker(self, worker: WorkerHandle) -> None:
        """Start it, with all listeners.

        Raises:
            OSError: the system refuses.
        """
        generation = self._generation
        assert isinstance(generation, Generation)
        self._launch.require_possible()
        for server in self.servers:
            server.listening.bind_again()
        memory = {}
        if self._counts is not None:
            self._counts.size = self._pool.size
            memory["balance"] = self._counts.descriptor
        worker.start(self._launch, generation.number, self.listeners(), generation.streams, memory)

    def worker_serves(self) -> None:
        """Connections that wait for a worker can go on."""
        self._relay.go_on()

    def worker_said(self, worker: WorkerHandle, report: str) -> None:
        """It has told of itself."""
        self.watcher.worker_reported(worker, report)

    def worker_ended(self, worker: WorkerHandle) -> None:
        """It has ended."""
        if (
            self._counts is not None and worker.phase is WorkerPhase.SERVING
        ):  # else another one is there
            self._counts.clear(worker.number)
        self.watcher.worker_gone(worker)

    def rolls(self, roll: RollingRestart) -> None:
        """The replacement of all workers has come further."""
        if isinstance(self._generation, Generation):
            self._generation.rolls(roll)
        if roll.is_over:
            why = roll.reason
            if not why:
                self._read_certificates()
            status = f"The workers are not replaced: {why}" if why else "All workers serve"
            self._supervisor.serves(f"{status} (master: pid {os.getpid()})")

    def _read_certificates(self) -> None:
        """Read the certificates again, as the new workers have, for the metrics."""
        for server in self.servers:
            try:
                server.listening.read_certificate()
            except CertificateError as error:
                self._log.warn(
                    "The metrics of the certificate are not updated: {error}", error=error
                )
            else:
                server.listening.warn_of_certificate()

    # What users ask of it

    def reload(self) -> None:
        """Replace all workers, one after the other, by new ones with the code that is on disk.

        During an upgrade another one follows it instead.
        """
        if not self.replaces_workers:
            self.upgrade()  # or say why not
        else:
            within = self.settings.upgrade_timeout + self.settings.probation
            self._supervisor.reloads("Replacing the workers", within)
            self._pool.roll()

    @property
    def replaces_workers(self) -> bool:
        """Whether new code comes by new workers now, and not by a new master."""
        generation = self._generation
        keeps = isinstance(generation, Generation) and generation.state in _KEEPING_WORKERS
        return self.upgradable and not keeps

    @property
    def workers(self) -> int:
        """How many workers there shall be."""
        return self._pool.size

    @property
    def pool(self) -> Pool:
        """The workers."""
        return self._pool

    def resize(self, more: int) -> None:
        """Have more workers, or fewer, but always one.

        Args:
            more: how many; negative for fewer.
        """
        self._pool.resize(more)
        if self._counts is not None:
            self._counts.size = self._pool.size

    def _actions(self) -> dict[int, Callable[[], object]]:
        return {
            **super()._actions(),
            signal.SIGTTIN: lambda: self.resize(+1),
            signal.SIGTTOU: lambda: self.resize(-1),
        }

    @property
    def is_ready(self) -> bool:
        """Whether a worker serves who connects now."""
        return bool(self._pool.serving)

    # What it does in the place of one that serves

    def _load(self) -> Deferred[Any]:
        self._counts = ConnectionCounts.create()
        loaded: Deferred[Any] = Deferred()
        # Not before the reactor waits for children.
        self._reactor.callWhenRunning(lambda: self._pool.load().chainDeferred(loaded))
        return loaded

    async def _drain(self) -> DrainReport:
        gone = self._pool.leave()
        if self._at_once:
            self.cut()
        elif self._longest_delay() and self._accepting:
            # Until then they accept, so the sockets, and the files of UNIX sockets, are needed.
            self._delay = deferLater(self._reactor, self._longest_delay())
            await DeferredList([self._delay], consumeErrors=True)
        # They drain. Who connects now is refused, and does not wait here for the end.
        for server in self.servers:
            await server.stopService()
        await gone
        self._relay.close()
        if self._counts is not None:
            self._counts.close()
            self._counts = None
        if not self._pool.is_clean:
            self._exit_with(1)
        reports = map(json.loads, filter(None, self._pool.reports))
        return sum(map(DrainReport.of, reports), DrainReport())

    def accept(self) -> None:
        """Let every worker accept."""
        self.watcher.serves()
        self._ending.drains(False)
        if not self._accepting:
            self._log.info("Listening on {urls}", urls=", ".join(self._urls()))
        self._accepting = True
        self._successor = None
        self._listeners.take_over()
        self._removed = frozenset()
        given_up = [each for server in self.servers for each in server.listening.given_up]
        if given_up:
            self._log.warn(
                "Closed for the successor that has ended, and not served: {addresses}. HUP opens "
                "what is configured anew, with new workers",
                addresses=", ".join(given_up),
            )
        for server in self._apart:
            server.accept()
        self._pool.accept()

    def _urls(self) -> Iterable[str]:
        return (url for server in self.servers for url in server.urls)

    def logs_moved(self) -> None:
        """Go on in new log files, in every worker too."""
        super().logs_moved()
        self._pool.logs_moved()

    def hand_over(self, carrier: Carrier, removed: Collection[Listener] = ()) -> Deferred[Any]:
        """Let every worker stop accepting, give away what can move, and drain.

        Removed listeners are closed here and there. Should this process have to serve again, only
        workers that are started later have them.
        """
        self.watcher.drains()
        self._ending.drains(True)
        self._accepting = False
        self._removed = frozenset(removed)
        self._listeners.hand_over(removed)
        self._drain_apart(carrier, removed)
        self._successor = _Successor(carrier)
        drained = self._pool.drain([each for each in removed if each.can_be_bound_again])
        for server in self.servers:
            server.listening.end(removed)
        return drained.addCallback(self._drained)

    def _routes(self) -> Iterable[Route]:
        return self._pool.serving if self._successor is None else [self._successor]

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether there is somebody to pass a connection on to, or it is for ourselves."""
        if any(each.listens_on(handed) for each in self._apart):
            return super().can_take_up(handed)
        return self._relay.is_open and any(
            handed.listener in each.addresses
            for each in self.listeners()
            if each not in self._removed
        )

    def take_up(self, handed: HandedConnection) -> None:
        """Pass a connection on, or serve it."""
        if any(each.listens_on(handed) for each in self._apart):
            super().take_up(handed)
        else:
            self._relay.take_up(handed)

    def cut(self) -> None:
        """End what is still being answered by workers that leave."""
        self._at_once = True
        if self._delay is not None:
            self._delay.cancel()
        self._pool.cut()
        super().cut()


def serving(*servers: Server, workers: int | str | None = None, **options: Any) -> GracefulService:
    """What serves, in this process or in several: a service for the application of a ``.tac`` file.

    Args:
        servers: what is served.
        workers: how many processes serve below this one, each of which runs the same command;
            ``auto``: one for each processor that may be used; 0 if it does so itself, as it does
            if it is such a worker; None for what the settings of the servers say.
        options: as for `GracefulService`.
    """
    options["workers"] = workers
    asked = ProcessSettings.combined({"workers": workers}, [each.settings for each in servers])
    if not asked.workers or is_worker():
        return GracefulService(*servers, **options)
    return MasterService(*servers, **options)


def count(workers: int | str) -> int:
    """A number of workers; for ``auto`` the processors that this process may use."""
    return usable() if workers == AUTO else int(workers)
