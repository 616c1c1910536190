"""What a master knows of its workers: what it does with them, and what they tell of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ..process.host.process_status import Status, StatusTotals
from ..process.upgrade.upgrade_events import RollingRestart, WatchedWorker
from ..process.workers.pool import Pool
from ..process.workers.worker_handle import WorkerHandle


def facts_of(report: str) -> Mapping[str, Any]:
    """What a report says in words; a process of another version may say nothing."""
    facts = json.loads(report).get("facts")
    return facts if isinstance(facts, dict) else {}


def _last_roll(roll: RollingRestart) -> dict[str, Any]:
    return {
        "replaced": roll.replaced,
        "wanted": roll.wanted,
        "is_over": roll.is_over,
        "failure": roll.reason,
    }


class WorkerTotals:
    """The workers of a master, in numbers and in words.

    Args:
        clock: the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._tally = StatusTotals[WatchedWorker]()
        self._requests: dict[WatchedWorker, list[dict[str, Any]]] = {}

    @property
    def total(self) -> Status:
        """The numbers of those that live, and the counters of those that did."""
        return self._tally.total

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The oldest requests in flight of each, as they tell of them, with the worker's number."""
        return [
            {**each, "worker": worker.number}
            for worker, requests in self._requests.items()
            for each in requests
        ]

    def reported(self, worker: WatchedWorker, report: str) -> None:
        """One has told of itself."""
        self._tally.update(worker, Status.decode(report))
        requests = facts_of(report).get("requests", ())
        self._requests[worker] = [each for each in requests if isinstance(each, dict)]

    def gone(self, worker: WatchedWorker) -> None:
        """One has ended."""
        self._tally.ended(worker)
        self._requests.pop(worker, None)

    def facts(self, pool: Pool) -> dict[str, Any]:
        """The processes, and how far their replacement has come, as JSON has them."""
        roll = pool.roll_so_far
        return {
            "workers_wanted": pool.size,
            "workers": [
                self._row(pool, each) for each in sorted(pool, key=lambda each: each.number)
            ],
            "roll": roll and _last_roll(roll),
        }

    def _row(self, pool: Pool, worker: WorkerHandle) -> dict[str, Any]:
        status = self._tally.living.get(worker, Status())
        return {
            "number": worker.number,
            "pid": worker.pid,
            "state": worker.phase.value,
            "code": worker.code,
            "restarts": pool.restarts_of(worker.number),
            "uptime": round(self._clock.seconds() - worker.started, 3),
            "connections": int(status.gauge("connections")),
            "in_flight": int(status.gauge("in_flight")),
            "rss": int(status.gauge("rss")),
            "handed_over": int(status.counters.get("handed_over", 0)),
        }
