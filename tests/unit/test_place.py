"""The diagram of a worker's place in the documentation, held against the pool."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from twisted_graceful.process.workers.pool import Pool
from twisted_graceful.process.workers.worker_slot import WorkerSlot

from .fake_workers import FakeWorker

DIAGRAMS = Path(__file__).parents[2] / "docs" / "_ext"


class PlaceTests(SynchronousTestCase):
    """One place."""

    def setUp(self) -> None:
        """Read the table; it is not beside the tests of a built wheel."""
        if not DIAGRAMS.is_dir():
            raise SkipTest("the documentation is not here")
        self.patch(sys, "path", [str(DIAGRAMS), *sys.path])
        self.page: Any = import_module("place")

    def in_state(self, state: str) -> tuple[Pool, WorkerSlot, Clock]:
        """A pool that serves, whose only place is in a state."""
        clock = Clock()
        owner: Any = mock.Mock(make_worker=lambda number: FakeWorker(number, 1))
        pool = Pool(clock, 1, owner, 30)
        loaded = pool.load()
        [slot] = pool._slots.values()
        self.ready(pool, slot.worker)
        self.successResultOf(loaded)
        pool.accept()
        ways = {
            "LOADING": ("it is told to stop",),
            "FILLED": (),
            "REPLACING": ("HUP, or it retires",),
            "SUCCEEDING": ("HUP, or it retires", "the worker ends"),
            "WAITING": ("it ends",),
        }
        for event in ways[state]:
            self.happens(event, pool, slot, clock)
        return pool, slot, clock

    def ready(self, pool: Pool, worker: Any) -> None:
        """A worker can serve."""
        worker.is_ready = True
        pool.worker_ready(worker)

    def happens(self, event: str, pool: Pool, slot: WorkerSlot, clock: Clock) -> None:
        """Let something happen to the place."""
        worker: Any = slot.worker
        either: Any = slot.worker or slot.successor
        {
            "ready": lambda: self.ready(pool, either),
            "the successor is ready, and proven": lambda: self.ready(pool, slot.successor),
            "it ends": lambda: pool.worker_ended(either, "it was killed", ""),
            "the worker ends": lambda: pool.worker_ended(worker, "it was killed", ""),
            "the successor ends": lambda: pool.worker_ended(slot.successor, "it was killed", ""),  # type: ignore
            "HUP, or it retires": lambda: pool.worker_retires(worker, "it is large"),
            "it is told to stop": lambda: pool.worker_stopping(worker),
            "the delay is over": lambda: clock.advance(60),
        }[event]()

    def state(self, slot: WorkerSlot) -> str:
        """What a place is like."""
        if slot.restart is not None:
            return "WAITING"
        if slot.worker is None:
            return "SUCCEEDING"
        if slot.successor is not None:
            return "REPLACING"
        return "FILLED" if slot.is_filled else "LOADING"

    def test_table(self) -> None:
        """Each row of the table is what the pool does."""
        for state, row in self.page.TABLE.items():
            for event, target in row.items():
                pool, slot, clock = self.in_state(state.name)
                self.assertEqual(self.state(slot), state.name)
                self.happens(event, pool, slot, clock)
                self.assertEqual(self.state(slot), target.name, f"{state.name}: {event}")
