"""The pool of a master, with workers that are no processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from twisted_graceful.errors import WorkerError
from twisted_graceful.event_names import EventName
from twisted_graceful.process.host.process_status import Status
from twisted_graceful.process.upgrade.upgrade_events import RollingRestartProgress
from twisted_graceful.process.workers.backoff import FIRST
from twisted_graceful.process.workers.pool import Pool
from twisted_graceful.process.workers.worker_slot import IN_FULL_AGAIN

from ..case import SynchronousTestCase
from .fake_workers import FakeWorker


class PoolTests(SynchronousTestCase):
    """A pool of two."""

    def setUp(self) -> None:
        """No worker has been started."""
        self.clock = Clock()
        self.started: list[FakeWorker] = []
        self.failing: Callable[[], None] = lambda: None
        self.ends_of_rolls: list[str] = []
        self.rolls_told: list[RollingRestartProgress] = []
        self.told: list[object] = []
        self.pool = Pool(self.clock, 2, self, 30)  # type: ignore[arg-type]

    # As its owner

    def make_worker(self, number: int, code: int) -> FakeWorker:
        """A worker that is not started."""
        return FakeWorker(number, len(self.started) + 1, code)

    def worker_serves(self) -> None:
        """There is one more."""

    def worker_reported(self, worker: FakeWorker, report: str) -> None:
        """It has told of itself."""
        self.told.append((worker, report))

    def worker_ended(self, worker: FakeWorker) -> None:
        """It has ended."""
        self.told.append(worker)

    def rolling_restart_progress(self, roll: RollingRestartProgress) -> None:
        """More have been replaced."""
        self.rolls_told.append(roll)
        if roll.is_over:
            self.ends_of_rolls.append(roll.reason)

    def start_worker(self, worker: FakeWorker) -> None:
        """Start it."""
        self.failing()
        self.started.append(worker)

    def ready(self, pid: int) -> FakeWorker:
        """A worker becomes ready."""
        worker = self.started[pid - 1]
        worker.is_ready = True
        self.pool.worker_ready(worker)  # type: ignore[arg-type]
        return worker

    def end(self, pid: int, reason: str = "it was killed by SIGKILL", output: str = "") -> None:
        """A worker ends."""
        self.pool.worker_ended(self.started[pid - 1], reason, output)  # type: ignore[arg-type]

    def serve(self) -> None:
        """Both serve."""
        loaded = self.pool.load()
        self.ready(1)
        self.ready(2)
        self.successResultOf(loaded)
        self.pool.accept()

    def numbers(self) -> list[str]:
        """Who serves."""
        return list(map(repr, self.pool.serving))

    def errors(self) -> str:
        """What was logged as an error."""
        return " ".join(str(each) for each in self.flushLoggedErrors())

    def test_loaded_when_all_are_ready(self) -> None:
        """One that is ready does not accept until all are, and the master says so."""
        loaded = self.pool.load()
        first = self.ready(1)
        self.assertNoResult(loaded)
        self.ready(2)
        self.successResultOf(loaded)
        self.assertEqual(first.told, [])
        self.pool.accept()
        self.assertEqual(first.told, ["accept"])

    def test_a_failure_while_loading(self) -> None:
        """One that ends before that is the end of the load, with the reason."""
        loaded = self.pool.load()
        self.end(2, "it exited with status 1 before it was ready")
        error = self.failureResultOf(loaded, WorkerError).value
        self.assertIn("worker 2 (pid 2): it exited with status 1", str(error))
        self.clock.advance(FIRST)
        self.assertEqual(len(self.started), 2)

    def test_one_that_cannot_be_started(self) -> None:
        """A system without processes left is a failure like any other."""

        def fail() -> None:
            raise OSError("no processes left")

        self.failing = fail
        loaded = self.pool.load()
        self.clock.advance(0)
        self.assertIn("no processes left", str(self.failureResultOf(loaded, WorkerError).value))

    def test_the_log_of_one_that_cannot_be_started(self) -> None:
        """It has no process id, and has not ended; the log says when the next attempt is."""

        def fail() -> None:
            raise OSError("no processes left")

        self.serve()
        self.failing = fail
        self.patch(self, "make_worker", lambda number, code: FakeWorker(number, 0))
        with capturedLogs() as events:
            self.end(1)
            self.clock.advance(0)
            self.clock.advance(0)
        self.assertEqual(
            formatEvent(events[-1]),
            "Worker 1: it could not be started: no processes left. It is started again in "
            "0.25 seconds",
        )

    def test_a_dead_worker_is_replaced(self) -> None:
        """At once if it was ready, and later if its replacement never was."""
        self.serve()
        self.end(1)
        self.clock.advance(0)
        self.assertEqual(repr(self.started), "[1:1, 2:2, 1:3]")
        self.assertEqual(self.numbers(), ["2:2"])
        self.end(3)
        self.clock.advance(FIRST - 0.01)
        self.assertEqual(len(self.started), 3)
        self.clock.advance(0.01)
        self.ready(4)
        self.assertEqual(self.started[3].told, ["accept"])
        self.assertEqual(self.numbers(), ["1:4", "2:2"])
        self.assertEqual(self.pool.restarts, 2)

    def test_roll(self) -> None:
        """Each goes when its successor is ready, and the next begins when it has ended."""
        self.serve()
        self.pool.restart_workers()
        self.assertEqual(repr(self.started[2:]), "[1:3]")
        self.assertEqual(self.numbers(), ["1:1", "2:2"])
        self.ready(3)
        self.assertEqual(self.started[0].told, ["accept", "move out"])
        self.assertEqual(self.started[2].told, ["accept"])
        self.assertEqual(len(self.started), 3)
        self.end(1)
        self.ready(4)
        self.assertEqual(self.numbers(), ["1:3", "2:4"])
        self.assertEqual(self.ends_of_rolls, [])
        self.end(2)
        self.assertEqual(self.ends_of_rolls, [""])

    def test_never_fewer_than_wanted(self) -> None:
        """All the while two serve."""
        self.serve()
        self.pool.restart_workers()
        for old, new in ((1, 3), (2, 4)):
            with self.subTest(old=old, new=new):
                self.assertEqual(len(self.pool.serving), 2)
                self.ready(new)
                self.assertEqual(len(self.pool.serving), 2)
                self.end(old)
                self.assertEqual(len(self.pool.serving), 2)

    def test_the_old_one_waits_for_the_new_one(self) -> None:
        """The old worker stays until the new one does accept; unless it dies before."""
        self.serve()
        self.pool.restart_workers()
        accepts = [Deferred[None](), Deferred[None]()]
        self.started[2].accepts = accepts[0]
        self.ready(3)
        self.assertEqual(self.started[0].told, ["accept"])
        self.assertEqual(len(self.started), 3)
        accepts[0].callback(None)
        self.assertEqual(self.started[0].told, ["accept", "move out"])
        self.end(1)
        self.started[3].accepts = accepts[1]
        self.ready(4)
        self.end(2)
        accepts[1].callback(None)
        self.assertEqual(self.started[1].told, ["accept"])
        self.assertEqual(self.ends_of_rolls, [""])

    def test_canary(self) -> None:
        """The first that fails ends the roll, and the old ones stay."""
        self.serve()
        self.pool.restart_workers()
        self.end(3, "it exited with status 1 before it was ready")
        self.assertEqual(self.numbers(), ["1:1", "2:2"])
        self.assertIn("worker 1: it exited with status 1", self.ends_of_rolls[0])
        self.clock.advance(100)
        self.assertEqual(len(self.started), 3)
        self.pool.restart_workers()
        self.assertEqual(len(self.started), 4)

    def test_roll_again(self) -> None:
        """Wishes that come in a roll are one more, afterwards; also if the roll fails."""
        self.serve()
        self.pool.restart_workers()
        self.pool.restart_workers()
        self.pool.restart_workers()
        self.end(3)
        self.assertEqual(len(self.ends_of_rolls), 1)
        self.assertEqual(repr(self.started[3:]), "[1:4]")
        self.end(4)
        self.assertEqual(len(self.ends_of_rolls), 2)
        self.assertEqual(len(self.started), 4)

    def test_a_wish_while_loading(self) -> None:
        """A roll that is asked for before anybody serves follows then."""
        self.pool.load()
        self.pool.restart_workers()
        self.ready(1)
        self.ready(2)
        self.pool.accept()
        self.assertEqual(repr(self.started[2:]), "[1:3]")

    def test_a_death_in_a_roll(self) -> None:
        """An old worker that dies is replaced by its successor, which is on its way."""
        self.serve()
        self.pool.restart_workers()
        self.end(1)
        self.clock.advance(0)
        self.assertEqual(len(self.started), 3)
        self.ready(3)
        self.assertEqual(self.numbers(), ["1:3", "2:2"])
        self.assertEqual(repr(self.started[3:]), "[2:4]")

    def test_fewer_in_a_roll(self) -> None:
        """The roll goes on with those that are left."""
        self.serve()
        self.pool.restart_workers()
        self.pool.resize(-1)
        self.assertEqual(self.started[1].told, ["accept", "move out"])
        self.end(2)
        self.ready(3)
        self.end(1)
        self.assertEqual(self.ends_of_rolls, [""])
        self.assertEqual(self.numbers(), ["1:3"])

    def test_never_none(self) -> None:
        """The last one stays."""
        self.serve()
        with capturedLogs() as events:
            for _ in range(2):
                self.pool.resize(-5)
        self.assertEqual(
            [formatEvent(each) for each in events],
            ["Workers wanted: 1, not 2", "Workers wanted: 1; there is always one"],
        )
        self.assertEqual(self.pool.size, 1)
        self.assertEqual(self.numbers(), ["1:1"])

    def test_more(self) -> None:
        """Another one is started, and serves when it is ready."""
        self.serve()
        self.pool.resize(1)
        self.assertEqual(self.numbers(), ["1:1", "2:2"])
        self.ready(3)
        self.assertEqual(self.numbers(), ["1:1", "2:2", "3:3"])

    def test_drain_and_resume(self) -> None:
        """All stand by when they have nothing left; and accept again if they are told."""
        self.serve()
        drained = self.pool.drain()
        self.started[0].drained.callback(None)
        self.assertNoResult(drained)
        self.started[1].drained.callback(None)
        self.successResultOf(drained)
        self.assertEqual(self.numbers(), [])
        self.pool.accept()
        self.assertEqual(self.started[0].told, ["accept", "drain", "accept"])
        self.assertEqual(self.numbers(), ["1:1", "2:2"])

    def test_a_drain_ends_what_loads(self) -> None:
        """A worker on its way is not needed any more, and waited for."""
        self.serve()
        self.pool.restart_workers()
        drained = self.pool.drain()
        for worker in self.started[:2]:
            worker.drained.callback(None)
        self.assertEqual(self.started[2].told, ["leave"])
        self.assertEqual(self.ends_of_rolls, [])
        self.assertNoResult(drained)
        self.end(3)
        self.successResultOf(drained)
        self.assertEqual(len(self.started), 3)

    def test_a_death_while_it_stands_by(self) -> None:
        """Nobody is started until the pool is to accept again."""
        self.serve()
        self.pool.drain()
        with capturedLogs() as events:
            self.end(1)
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["Worker 1 (pid 1) has ended: it was killed by SIGKILL"],
        )
        self.clock.advance(100)
        self.assertEqual(len(self.started), 2)
        self.pool.accept()
        self.assertEqual(repr(self.started[2:]), "[1:3]")

    def test_nobody_is_started_while_all_stand_by(self) -> None:
        """Neither for a place that is new, nor for a worker that is told to stop."""
        self.serve()
        self.pool.drain()
        self.pool.resize(+1)
        self.pool.worker_stopping(self.started[0])  # type: ignore[arg-type]
        self.assertEqual(len(self.started), 2)
        self.pool.accept()
        self.assertEqual(repr(self.started[2:]), "[1:3, 3:4]")

    def test_leave(self) -> None:
        """All are told, none is started again, and their reports are kept."""
        self.serve()
        gone = self.pool.leave()
        self.assertEqual(self.started[0].told, ["accept", "leave"])
        self.started[0].report = "a report"
        self.end(1)
        self.assertNoResult(gone)
        self.assertTrue(self.pool.is_clean)
        self.end(2)
        self.successResultOf(gone)
        self.assertFalse(self.pool.is_clean)
        self.assertEqual(self.pool.reports, ["a report", ""])
        self.clock.advance(100)
        self.assertEqual(len(self.started), 2)

    def test_ended_after_its_report(self) -> None:
        """A worker that drained but had to be killed makes the stop unclean."""
        self.serve()
        self.pool.leave()
        self.started[0].report = "a report"
        self.started[0].has_failed = True
        self.end(1)
        self.assertFalse(self.pool.is_clean)

    def test_cut(self) -> None:
        """Those that leave are told to do so at once."""
        self.serve()
        self.pool.leave()
        self.pool.cut()
        self.assertEqual(self.started[1].told, ["accept", "leave", "cut"])

    def test_one_that_stops_by_itself(self) -> None:
        """Another one takes its place before it has ended."""
        self.serve()
        self.pool.worker_stopping(self.started[0])  # type: ignore[arg-type]
        self.assertEqual(self.started[0].told, ["accept", "move out"])
        self.assertEqual(repr(self.started[2:]), "[1:3]")
        self.end(1)
        self.clock.advance(100)
        self.assertEqual(len(self.started), 3)

    def test_one_that_is_unheard(self) -> None:
        """Another one takes the place of one that broke its channel, and the log says why."""
        self.serve()
        with capturedLogs() as events:
            self.pool.worker_channel_broken(self.started[0], "it broke the channel")  # type: ignore[arg-type]
        self.assertEqual(self.started[0].told, ["accept", "move out"])
        self.assertEqual(repr(self.started[2:]), "[1:3]")
        text = formatEvent(events[0])
        self.assertEqual(text, "Worker 1 (pid 1) was sent SIGTERM: it broke the channel")

    def test_the_delays_of_a_place_grow(self) -> None:
        """What dies again and again is started ever later, and the log says when."""
        self.serve()
        with capturedLogs() as events:
            for pid, delay in ((1, 0), (3, 0.25), (4, 0.5)):
                self.end(pid)
                self.clock.advance(delay)
        said = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(self.started), 5)
        self.assertEqual(
            [text.partition("started again ")[2] for text in said],
            ["at once", "in 0.25 seconds", "in 0.5 seconds"],
        )
        self.assertIn("killed by SIGKILL", said[0])

    def test_what_all_say_is_said_once(self) -> None:
        """Of those that die alike, but for the times of their lines, the first leaves its words."""
        self.serve()
        with capturedLogs() as events:
            for pid in range(1, 2 * IN_FULL_AGAIN + 1):
                if pid == 2:
                    continue  # the other one
                words = f"23:59:{pid} the code is broken" if pid > 1 else ""
                worker: Any = self.started[pid - 1]
                self.pool.worker_ended(worker, "it exited with status 1", words)
                self.clock.advance(60)
        said = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        full = [number for number, text in enumerate(said) if "the code is broken" in text]
        self.assertEqual(full, [1, 1 + IN_FULL_AGAIN])
        self.assertEqual(
            said[2],
            "Worker 1 (pid 4) has ended: it exited with status 1, and wrote the same as the one "
            "before it. It is started again in 0.5 seconds",
        )

    def test_the_log_of_a_roll(self) -> None:
        """It says who takes whose place, and in the end how far it has come."""
        self.serve()
        with capturedLogs() as events:
            self.pool.restart_workers()
            self.ready(3)
            self.end(1)
            self.end(4, "it exited with status 1 before it was ready")
        said = [formatEvent(event) for event in events]
        self.assertIn("Worker 1 (pid 1) drains: pid 3 takes its place", said)
        self.assertEqual(
            said[-1],
            "The workers are not replaced: worker 2: it exited with status 1 before it was ready. "
            "1 of 2 have the new code, the others stay as they are",
        )

    def test_who_is_missed_comes_back_soon(self) -> None:
        """One that was ready has the shortest delay, again and again, while no other serves."""
        self.serve()
        self.end(1)
        with capturedLogs() as events:
            for pid, delay in ((2, 0), (4, 0.25), (5, 0.25), (6, 0.25)):
                self.end(pid)
                self.clock.advance(delay)
                self.ready(len(self.started))
            self.ready(3)
            self.end(7)
        said = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        delays = ["at once", *["in 0.25 seconds"] * 3, "in 2 seconds"]
        self.assertEqual([text.partition("started again ")[2] for text in said], delays)

    def test_a_place_that_lost_both(self) -> None:
        """If an old worker dies in a roll, and then its successor, the place is filled again."""
        self.serve()
        self.pool.restart_workers()
        self.end(1)
        self.end(3)
        self.clock.advance(0)
        self.assertEqual(repr(self.started[3:]), "[1:4]")

    def retires(self, pid: int) -> None:
        """A worker asks for another one."""
        worker: Any = self.started[pid - 1]
        self.pool.worker_retires(worker, "it is too large")

    def test_one_that_retires(self) -> None:
        """Another one takes its place, and it goes only when that is ready."""
        self.serve()
        self.retires(2)
        self.assertEqual(repr(self.started[2:]), "[2:3]")
        self.assertEqual(self.started[1].told, ["accept"])
        self.ready(3)
        self.assertEqual(self.started[1].told, ["accept", "move out"])
        self.end(2)
        self.assertEqual(self.numbers(), ["1:1", "2:3"])
        self.assertEqual(self.ends_of_rolls, [])

    def test_several_that_retire(self) -> None:
        """One after the other is replaced, and who asks twice is replaced once."""
        self.serve()
        for pid in (1, 2, 2):
            self.retires(pid)
        self.assertEqual(repr(self.started[2:]), "[1:3]")
        self.ready(3)
        self.assertEqual(len(self.started), 3)
        self.end(1)
        self.assertEqual(repr(self.started[3:]), "[2:4]")
        self.ready(4)
        self.end(2)
        self.assertEqual(len(self.started), 4)

    def test_one_that_cannot_retire(self) -> None:
        """If the new one fails the old one stays, until it asks again."""
        self.serve()
        self.retires(1)
        self.end(3)
        self.clock.advance(100)
        self.assertEqual(len(self.started), 3)
        self.assertEqual(self.numbers(), ["1:1", "2:2"])
        self.retires(1)
        self.assertEqual(repr(self.started[3:]), "[1:4]")

    def test_a_roll_replaces_who_retires(self) -> None:
        """One that retires while all are replaced is replaced once."""
        self.serve()
        self.pool.restart_workers()
        self.retires(2)
        self.ready(3)
        self.end(1)
        self.ready(4)
        self.end(2)
        self.assertEqual((len(self.started), self.ends_of_rolls), (4, [""]))

    def test_numbers(self) -> None:
        """What workers say of themselves is passed on, and their end; connections are noted."""
        self.serve()
        first, report = (
            self.started[0],
            Status(gauges={"connections,idle": 1, "connections,reading": 2}).encode(),
        )
        self.pool.worker_reported(first, report)  # type: ignore[arg-type]
        self.assertEqual(first.connections, 3)
        self.end(1)
        self.assertEqual(self.told, [(first, report), first])

    def test_restarts(self) -> None:
        """How often the worker of a place was started again is known of each place."""
        self.serve()
        self.end(1)
        self.clock.advance(0)
        self.ready(3)
        self.end(3)
        self.assertEqual([self.pool.restarts_of(each) for each in (1, 2, 9)], [2, 0, 0])
        self.assertEqual(self.pool.restarts, 2)

    def test_how_far_a_roll_has_come(self) -> None:
        """It says how many are new, of how many, and why the last one ended early."""
        self.serve()
        self.assertIsNone(self.pool.last_rolling_restart)
        self.pool.restart_workers()
        self.assertEqual(
            self.pool.last_rolling_restart, RollingRestartProgress(1, EventName.REPLACING, 0, 2)
        )
        self.ready(3)
        self.assertEqual(
            self.pool.last_rolling_restart, RollingRestartProgress(1, EventName.REPLACING, 1, 2)
        )
        self.end(1)
        self.end(4, "it exited with status 1 before it was ready")
        reason = "worker 2: it exited with status 1 before it was ready"
        self.assertEqual(
            self.pool.last_rolling_restart,
            RollingRestartProgress(1, EventName.FAILED, 1, 2, reason),
        )
        self.pool.restart_workers()
        self.assertEqual(
            self.pool.last_rolling_restart, RollingRestartProgress(2, EventName.REPLACING, 0, 2)
        )

    def test_steps_of_a_roll(self) -> None:
        """Its owner is told of each, and of one that follows, with what a failed worker wrote."""
        self.serve()
        self.pool.restart_workers()
        self.ready(3)
        self.end(1)
        self.ready(4)
        self.pool.restart_workers()
        self.end(2)
        self.end(5, "it exited with status 1", "No module named 'nowhere'")
        steps = [
            RollingRestartProgress(1, EventName.REPLACING, 0, 2),
            RollingRestartProgress(1, EventName.REPLACING, 1, 2),
            RollingRestartProgress(1, EventName.REPLACING, 2, 2),
            RollingRestartProgress(2, EventName.QUEUED, 0, 2),
            RollingRestartProgress(1, EventName.DONE, 2, 2, another_follows=True),
            RollingRestartProgress(2, EventName.REPLACING, 0, 2),
        ]
        reason, output = "worker 1: it exited with status 1", "No module named 'nowhere'"
        failed = RollingRestartProgress(2, EventName.FAILED, 0, 2, reason, output)
        self.assertEqual(self.rolls_told, [*steps, failed])

    # The probation of a rolling restart

    def roll_with_probation(self) -> None:
        """Begin a rolling restart; its canary serves, and is on probation for ten seconds."""
        self.pool = Pool(self.clock, 2, self, 30, probation=10)  # type: ignore[arg-type]
        self.serve()
        self.pool.restart_workers()
        self.ready(3)

    def test_probation(self) -> None:
        """The canary serves beside all old workers; they leave one by one when it has lasted."""
        self.roll_with_probation()
        self.assertEqual(self.numbers(), ["1:1", "1:3", "2:2"])
        self.assertEqual(
            self.pool.last_rolling_restart, RollingRestartProgress(1, EventName.REPLACING, 1, 2)
        )
        self.assertEqual(self.rolls_told[-1].facts["probation"], 10)
        self.clock.advance(9)
        self.assertEqual((self.started[0].told, len(self.started)), (["accept"], 3))
        self.clock.advance(1)
        self.assertEqual(self.started[0].told, ["accept", "move out"])
        self.assertEqual(self.numbers(), ["1:3", "2:2"])
        self.end(1)
        self.ready(4)
        self.assertEqual(self.started[1].told, ["accept", "move out"])  # without another probation
        self.end(2)
        self.assertEqual((self.numbers(), self.ends_of_rolls), (["1:3", "2:4"], [""]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_canary_that_dies(self) -> None:
        """If the canary dies on probation, the rolling restart ends, and no old worker has left."""
        self.roll_with_probation()
        self.clock.advance(9)
        self.end(3, "it exited with status 3 9.0 seconds after it was ready", "No table 'users'")
        self.clock.advance(60)
        self.assertEqual((self.numbers(), len(self.started)), (["1:1", "2:2"], 3))
        self.assertEqual([each.told for each in self.started[:2]], [["accept"], ["accept"]])
        reason = "worker 1: it exited with status 3 9.0 seconds after it was ready"
        self.assertEqual(
            self.rolls_told[-1],
            RollingRestartProgress(1, EventName.FAILED, 0, 2, reason, "No table 'users'"),
        )
        self.assertEqual(self.pool.restarts, 0)

    def test_a_later_worker_that_dies(self) -> None:
        """So does the death of a later new worker; after its probation it is only replaced."""
        for seconds, ends in ((9, 1), (11, 0)):
            with self.subTest(seconds=seconds):
                self.started, self.ends_of_rolls = [], []
                self.roll_with_probation()
                self.pool.resize(+1)
                self.ready(4)
                self.clock.advance(10)
                self.end(1)
                self.ready(5)
                self.end(2)
                self.pool.worker_retires(self.started[3], "it is large")  # type: ignore[arg-type]
                self.clock.advance(seconds)
                self.end(5, "it exited with status 3")
                self.assertEqual(len(self.ends_of_rolls), ends)

    def test_an_old_worker_that_dies_in_the_probation(self) -> None:
        """The canary fills its slot when the probation is over; until then both workers count."""
        self.roll_with_probation()
        self.end(1)
        self.assertEqual(self.numbers(), ["1:3", "2:2"])
        self.clock.advance(10)
        self.assertEqual(repr(self.started[3:]), "[2:4]")
        self.ready(4)
        self.end(2)
        self.assertEqual((self.numbers(), self.ends_of_rolls), (["1:3", "2:4"], [""]))

    def test_an_upgrade_in_the_probation(self) -> None:
        """The canary hands its connections over and leaves; the old workers stand by."""
        self.roll_with_probation()
        drained = self.pool.drain()
        self.assertEqual(self.started[2].told, ["accept", "move out"])
        self.assertEqual(self.started[0].told, ["accept", "drain"])
        self.end(3)
        for worker in self.started[:2]:
            worker.drained.callback(None)
        self.successResultOf(drained)
        self.pool.accept()
        self.assertEqual(self.numbers(), ["1:1", "2:2"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_place_of_the_canary_is_given_up(self) -> None:
        """The next new worker is the canary then."""
        self.pool = Pool(self.clock, 2, self, 30, probation=10)  # type: ignore[arg-type]
        self.serve()
        self.pool.restart_workers()
        self.end(2)
        self.clock.advance(0)
        self.assertEqual(repr(self.started[2:]), "[1:3, 2:4]")
        self.ready(4)
        self.pool.resize(-1)
        self.end(4)
        self.clock.advance(10)
        self.ready(3)
        self.assertEqual(self.numbers(), ["1:1", "1:3"])
        self.clock.advance(10)
        self.end(1)
        self.assertEqual((self.numbers(), self.ends_of_rolls), (["1:3"], [""]))

    def test_a_slot_whose_successor_is_discarded(self) -> None:
        """If its old worker has died before, the slot is filled with another worker."""
        self.pool = Pool(self.clock, 3, self, 30, probation=10)  # type: ignore[arg-type]
        self.pool.load()
        for pid in (1, 2, 3):
            self.ready(pid)
        self.pool.accept()
        self.pool.restart_workers()
        self.ready(4)
        self.clock.advance(10)
        self.end(1)
        self.ready(5)
        self.end(2)
        self.end(3)  # while its successor loads
        self.clock.advance(5)
        self.end(5, "it exited with status 3")
        self.assertEqual(self.ends_of_rolls, ["worker 2: it exited with status 3"])
        self.assertEqual(self.started[5].told, ["move out"])
        self.end(6, "it was killed by SIGTERM")
        self.clock.advance(0)
        self.assertEqual(repr(self.started[6:]), "[3:7, 2:8]")

    def test_logs(self) -> None:
        """Every process hears that the logs have moved."""
        self.serve()
        self.pool.restart_workers()
        self.pool.logs_moved()
        self.assertEqual([each.told[-1] for each in self.started], ["logs moved"] * 3)
