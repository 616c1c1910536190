"""What a master knows about its workers: their state in the pool, and the numbers they report."""

from __future__ import annotations

import json

from twisted.internet.interfaces import IReactorTime

from ..json_object import JsonObject
from ..process.host.process_status import Status, StatusTotals
from ..process.upgrade.upgrade_events import RollingRestartProgress, WatchedWorker
from ..services.worker_group import WorkerGroup, WorkerSummary


def facts_of(report: str) -> JsonObject:
    """What a report says in words; a process of another version may say nothing."""
    facts = json.loads(report).get("facts")
    return facts if isinstance(facts, dict) else {}


def _rolling_restart_facts(restart: RollingRestartProgress) -> dict[str, object]:
    return {
        "replaced": restart.replaced,
        "wanted": restart.wanted,
        "is_over": restart.is_over,
        "failure": restart.reason,
    }


class WorkerTotals:
    """The totals, and the states, of the workers of a master.

    Args:
        clock: the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._totals = StatusTotals[WatchedWorker]()
        self._requests: dict[WatchedWorker, list[JsonObject]] = {}

    @property
    def total(self) -> Status:
        """The numbers of those that live, and the counters of those that did."""
        return self._totals.total

    @property
    def requests(self) -> list[JsonObject]:
        """The oldest requests in flight of each worker, as it reports them, with its number."""
        return [
            {**each, "worker": worker.number}
            for worker, requests in self._requests.items()
            for each in requests
        ]

    def reported(self, worker: WatchedWorker, report: str) -> None:
        """A worker has reported its numbers."""
        self._totals.update(worker, Status.decode(report))
        requests = facts_of(report).get("requests", ())
        self._requests[worker] = [each for each in requests if isinstance(each, dict)]

    def ended(self, worker: WatchedWorker) -> None:
        """A worker has ended."""
        self._totals.ended(worker)
        self._requests.pop(worker, None)

    def facts(self, pool: WorkerGroup) -> dict[str, object]:
        """The workers and the progress of their rolling restart, as JSON has them."""
        restart = pool.last_rolling_restart
        return {
            "workers_wanted": pool.size,
            "workers": [self._row(each) for each in pool.workers],
            "rolling_restart": restart and _rolling_restart_facts(restart),
        }

    def _row(self, worker: WorkerSummary) -> dict[str, object]:
        status = self._totals.living.get(worker.key, Status())
        return {
            "number": worker.number,
            "pid": worker.pid,
            "state": worker.state,
            "code": worker.code,
            "restarts": worker.restarts,
            "uptime": round(self._clock.seconds() - worker.started, 3),
            "connections": int(status.gauge("connections")),
            "in_flight": int(status.gauge("in_flight")),
            "rss": int(status.gauge("rss")),
            "handed_over": int(status.counters.get("handed_over", 0)),
        }
