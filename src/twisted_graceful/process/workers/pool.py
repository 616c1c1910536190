"""A pool of workers: as many as are wanted, replaced when they die, and in turns for new code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ...errors import WorkerError
from ..host.process_status import Status
from ..listeners.listener import Listener
from ..upgrade.upgrade_events import RollingRestart, UpgradeStage
from .backoff import Backoff, in_words
from .worker_handle import WorkerHandle
from .worker_slot import WorkerSlot

CUT_WITHIN = 0.3
"""Seconds until a worker that was told to end immediately is killed; its master has under one."""


class PoolOwner(Protocol):
    """Who has a pool."""

    def make_worker(self, number: int) -> WorkerHandle:
        """The worker of a place, which is not started yet."""

    def start_worker(self, worker: WorkerHandle) -> None:
        """Start it; raises OSError if that is not possible."""

    def worker_serves(self) -> None:
        """There is another worker that serves, and takes connections up."""

    def worker_said(self, worker: WorkerHandle, report: str) -> None:
        """It has told of itself."""

    def worker_ended(self, worker: WorkerHandle) -> None:
        """It has ended."""

    def rolls(self, roll: RollingRestart) -> None:
        """The replacement of all has come further; not if `Pool.drain` or `leave` has ended it."""


class Pool:
    """The workers of a master.

    A worker that dies is replaced. For new code they are replaced one by one (a rolling restart):
    the next one is started, and only when it is ready an old one leaves. The first is the canary:
    it serves beside the worker that it is to replace for a probation, and only then the old
    workers begin to leave. A new worker that does not get ready, or dies within its probation, ends
    the rolling restart, and the old workers that are left stay.

    Args:
        clock: keeps the time.
        size: how many workers; 1 or more.
        owner: starts their processes, and is told of them.
        patience: seconds that a worker may take to end when it is told to.
        probation: seconds for which a new worker is on probation in a rolling restart; 0 for none.

    Attributes:
        size: how many workers there shall be.
        reports: what the drains of workers did that ended after `leave`, in their own words.
        is_clean: whether each of these has said so, and has ended with status 0.
        restarts: how many have died, and were started again.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        size: int,
        owner: PoolOwner,
        patience: float,
        probation: float = 0.0,
    ) -> None:
        self.size = size
        self.reports: list[str] = []
        self.is_clean = True
        self.restarts = 0
        self._clock = clock
        self._owner = owner
        self._patience = patience
        self._probation = probation
        self._probation_ends: IDelayedCall | None = None  # of the canary
        self._is_proven = False
        self._slots: dict[int, WorkerSlot] = {}
        self._departing: set[WorkerHandle] = set()
        self._loaded: Deferred[None] | None = None
        self._is_accepting = False
        self._is_leaving = False
        self._code = 0
        self._is_rolling = False
        self._is_roll_due = False
        self._failure = ""
        self._gone: list[Deferred[None]] = []

    def __iter__(self) -> Iterator[WorkerHandle]:
        """All processes that there are."""
        for slot in self._slots.values():
            yield from slot.workers
        yield from list(self._departing)

    @property
    def serving(self) -> list[WorkerHandle]:
        """The workers that accept, including a canary beside the worker that it will replace."""
        workers = [each for slot in self._slots.values() for each in slot.workers]
        return [each for each in workers if each.is_ready] if self._is_accepting else []

    def restarts_of(self, number: int) -> int:
        """How often the worker of a place has died, and was started again."""
        return self._slots[number].restarts if number in self._slots else 0

    @property
    def roll_so_far(self) -> RollingRestart | None:
        """How far a roll has come, or the last one came; None if there was none."""
        if not self._code:
            return None
        ended = UpgradeStage.FAILED if self._failure else UpgradeStage.DONE
        stage = UpgradeStage.ROLLING if self._is_rolling else ended
        return RollingRestart(self._code, stage, self._replaced, self.size, self._failure)

    @property
    def _replaced(self) -> int:
        return sum(
            any(each.is_ready and each.code == self._code for each in slot.workers)
            for slot in self._slots.values()
        )

    # What the master wishes

    def load(self) -> Deferred[None]:
        """Start all workers.

        Returns:
            A Deferred that fires when all are ready; it fails with `WorkerError` if one
            ends before that.
        """
        self._loaded = Deferred()
        self._fill()
        return self._loaded

    def accept(self) -> None:
        """Let all workers accept, for the first time or again."""
        self._is_accepting = True
        for worker in self.serving:
            worker.accept()
        self._fill()
        self._owner.worker_serves()
        if self._is_roll_due:
            self.roll()

    def drain(self, removed: Sequence[Listener] = ()) -> Deferred[None]:
        """Let all workers stop accepting, hand over what can move, and stand by.

        Args:
            removed: listeners that they are to close.

        Returns:
            A Deferred that fires when they have nothing left.
        """
        serving = [each.worker for each in self._slots.values() if each.worker and each.is_filled]
        serving = serving if self._is_accepting else []
        self._is_accepting, self._is_rolling = False, False
        self._end_probation()
        for slot in self._slots.values():
            slot.cancel_restart()
            for worker in slot.workers:
                if worker in serving:
                    continue
                if worker.is_ready:  # a canary, whose connections can move to the successor
                    self._departing.add(worker)
                    worker.move_out(self._patience)
                else:
                    self._depart(worker)
            slot.successor = None
            if slot.worker not in serving:
                slot.worker = None
        drains = [worker.drain(self._patience, removed) for worker in serving] + [self._when_gone()]
        return gatherResults(drains).addCallback(lambda _: None)

    def leave(self) -> Deferred[None]:
        """Let all workers drain and end.

        Returns:
            A Deferred that fires when none is left.
        """
        self._is_accepting, self._is_rolling, self._is_leaving = False, False, True
        self._end_probation()
        self._loaded = None
        for slot in self._slots.values():
            slot.cancel_restart()
            for worker in slot.workers:
                self._depart(worker)
        self._slots.clear()
        return self._when_gone()

    def cut(self) -> None:
        """End what is still being answered by workers that leave."""
        for worker in list(self._departing):
            worker.cut(CUT_WITHIN)

    def kill(self) -> None:
        """Kill all workers: this process is about to be ended."""
        for worker in self:
            worker.kill()

    def logs_moved(self) -> None:
        """Tell all that the log files have been moved."""
        for worker in self:
            worker.tell_logs_moved()

    def roll(self) -> None:
        """Replace all workers, one after the other, by new ones with the code on disk.

        Asked meanwhile, it is done again afterwards.
        """
        if self._is_leaving:
            return
        if self._is_rolling or not self._is_accepting:
            self._log.info("The workers are replaced when what is under way is over")
            self._is_roll_due = True
            self._owner.rolls(RollingRestart(self._code + 1, UpgradeStage.QUEUED, 0, self.size))
            return
        self._is_rolling, self._is_roll_due, self._failure = True, False, ""
        self._is_proven = not self._probation
        self._code += 1
        self._log.info("Replacing {count} workers, one after the other", count=len(self._slots))
        for slot in self._slots.values():
            slot.backoff.reset()
        self._tell_roll()
        self._roll_on()

    def resize(self, more: int) -> None:
        """Have more workers, or fewer, but always one.

        Args:
            more: how many; negative for fewer.
        """
        if self._is_leaving:
            return
        before, self.size = self.size, max(1, self.size + more)
        self._log.info(
            "Workers wanted: {size}{change}",
            size=self.size,
            change=f", not {before}" if self.size != before else "; there is always one",
        )
        for number in [each for each in self._slots if each > self.size]:
            slot = self._slots.pop(number)
            slot.cancel_restart()
            for worker in slot.workers:
                self._depart(worker)
        self._fill()
        self._check_loaded()
        self._roll_on()

    # What the workers tell

    def worker_ready(self, worker: WorkerHandle) -> None:
        """A worker can serve."""
        slot = self._slot_of(worker)
        if slot is None:
            return  # it has been told to leave
        slot.ready_at = self._clock.seconds()
        is_new = self._is_rolling and not self._is_old(worker)
        is_unproven = is_new and not self._is_proven
        old = None
        if not (is_unproven and slot.successor is worker and slot.worker is not None):
            old = self._fill_with(slot, worker)
        if self._is_accepting:
            accepts = worker.accept()
            self._owner.worker_serves()
            if old is not None:
                # Not before, for until then one fewer would accept.
                accepts.addCallback(lambda _: self._send_away(old))
        elif old is not None:
            self._send_away(old)
        if is_unproven and self._probation_ends is None:
            self._begin_probation(worker)
        elif is_new:
            self._tell_roll()
        self._check_loaded()
        self._roll_on()

    def _fill_with(self, slot: WorkerSlot, worker: WorkerHandle) -> WorkerHandle | None:
        """Give a slot to a worker that is ready; return the old one, which has to leave."""
        slot.backoff.ready()
        old = None
        if slot.successor is worker:
            old, slot.worker, slot.successor = slot.worker, worker, None
        if old is not None:
            self._log.info(
                "Worker {number} (pid {old}) drains: pid {pid} takes its place",
                number=worker.number,
                old=old.pid,
                pid=worker.pid,
            )
            self._departing.add(old)
        return old

    def worker_said(self, worker: WorkerHandle, report: str) -> None:
        """A worker has said how it is."""
        worker.connections = int(Status.decode(report).gauge("connections"))
        self._owner.worker_said(worker, report)

    def worker_retires(self, worker: WorkerHandle, reason: str) -> None:
        """A worker wants another one to take its place: as soon as no other one is replaced."""
        if self._slot_of(worker) is None or worker.retires:
            return
        self._log.info(
            "Worker {number} (pid {pid}) is to be replaced: {reason}",
            number=worker.number,
            pid=worker.pid,
            reason=reason,
        )
        worker.retires = True
        self._roll_on()

    def worker_stopping(self, worker: WorkerHandle) -> None:
        """A worker was told to stop, by somebody else."""
        if self._slot_of(worker) is None:
            return
        self._log.info(
            "Worker {number} (pid {pid}) was told to stop", number=worker.number, pid=worker.pid
        )
        self._make_room(worker)

    def worker_unheard(self, worker: WorkerHandle, reason: str) -> None:
        """A worker cannot be told anything any more, and drains."""
        if self._slot_of(worker) is None:
            return
        self._log.error(
            "Worker {number} (pid {pid}) was sent SIGTERM: {reason}",
            number=worker.number,
            pid=worker.pid,
            reason=reason,
        )
        self._make_room(worker)

    def _make_room(self, worker: WorkerHandle) -> None:
        """Start another one in the place of a worker that drains by itself."""
        slot = self._slot_of(worker)
        if slot is not None and slot.worker is worker:
            slot.worker = None
            self._depart(worker)
            self._fill()

    def worker_ended(self, worker: WorkerHandle, reason: str, output: str) -> None:
        """A worker has ended."""
        self._owner.worker_ended(worker)
        slot = self._slot_of(worker)
        if slot is None:
            if worker.is_ready and not worker.report:
                self._say(worker, reason, output, "It had been told to leave")
            self._departed(worker)
        elif slot.successor is worker:
            slot.successor = None
            if slot.worker is None:
                self._died(slot, worker, reason, output)
            else:
                slot.worker.retires = False  # until it asks again
                self._say(worker, reason, output, "The old worker stays")
            self._end_roll(f"worker {worker.number}: {reason}", output)
        else:
            is_bad = self._is_on_probation(slot, worker)
            slot.worker = None
            self._died(slot, worker, reason, output)
            if is_bad:
                self._end_roll(f"worker {worker.number}: {reason}", output)
        self._check_gone()
        self._roll_on()

    def _died(self, slot: WorkerSlot, worker: WorkerHandle, reason: str, output: str) -> None:
        if self._loaded is not None:
            loaded, self._loaded = self._loaded, None
            self._say(worker, reason, output, "")
            loaded.errback(WorkerError(f"{_name(worker)}: {reason}"))
            return
        if not self._is_accepting or slot.successor is not None:
            self._say(worker, reason, output, "")
            return
        self.restarts += 1
        slot.restarts += 1
        delay = slot.backoff.ended(is_missed=not self.serving)
        if slot.is_said(output):
            reason, output = f"{reason}, and wrote the same as the one before it", ""
        self._say(worker, reason, output, f"It is started again {in_words(delay)}")
        slot.restart = self._clock.callLater(delay, self._fill_slot, slot)

    def _say(self, worker: WorkerHandle, reason: str, output: str, then: str) -> None:
        self._log.error(
            "{name}: {reason}{then}{output}",
            name=f"{_name(worker).capitalize()}{' has ended' if worker.pid else ''}",
            reason=reason,
            then=f". {then}" if then else "",
            output=f"\nThe last it wrote:\n{output}" if output else "",
        )

    # Starts

    def _fill(self) -> None:
        """Start a worker for each place that has none; not while all drain or stand by."""
        if not self._is_accepting and self._loaded is None:
            return
        for number in range(1, self.size + 1):
            if number not in self._slots:
                self._slots[number] = WorkerSlot(number, Backoff(self._clock))
        for slot in list(self._slots.values()):
            if slot.worker is None and slot.successor is None and slot.restart is None:
                self._fill_slot(slot)

    def _fill_slot(self, slot: WorkerSlot) -> None:
        slot.restart = None
        slot.worker = self._start(slot)

    def _start(self, slot: WorkerSlot) -> WorkerHandle:
        worker = self._owner.make_worker(slot.number)
        worker.code = self._code
        try:
            self._owner.start_worker(worker)
        except Exception as error:
            # Later: whoever wished for it has not noted yet whose place it is.
            reason = f"it could not be started: {error}"
            self._clock.callLater(0, self.worker_ended, worker, reason, "")
        else:
            self._log.info(
                "Worker {number} starts (pid {pid})", number=worker.number, pid=worker.pid
            )
        return worker

    def _check_loaded(self) -> None:
        if self._loaded is not None and all(slot.is_filled for slot in self._slots.values()):
            loaded, self._loaded = self._loaded, None
            loaded.callback(None)

    # Replacements

    def _roll_on(self) -> None:
        """Take the next step, if the last one is over."""
        if not self._is_accepting or self._departing or self._probation_ends is not None:
            return
        slots = self._slots.values()
        if any(slot.successor is not None for slot in slots):
            return
        for slot in slots:
            if slot.worker is not None and (slot.worker.retires or self._is_old(slot.worker)):
                slot.successor = self._start(slot)
                return
        if self._is_rolling and all(slot.is_filled for slot in slots):
            self._log.info("All workers have been replaced")
            self._end_roll()

    def _is_old(self, worker: WorkerHandle) -> bool:
        return self._is_rolling and worker.code < self._code

    def _begin_probation(self, canary: WorkerHandle) -> None:
        self._log.info(
            "Worker {number} (pid {pid}) serves the new code, on probation for {seconds:g} seconds "
            "beside the old workers",
            number=canary.number,
            pid=canary.pid,
            seconds=self._probation,
        )
        self._probation_ends = self._clock.callLater(self._probation, self._probation_over)
        self._tell_roll(probation=self._probation)

    def _probation_over(self) -> None:
        self._probation_ends = None
        self._is_proven = self._replaced > 0  # else the place of the canary was given up
        for slot in list(self._slots.values()):
            if slot.successor is not None and slot.successor.is_ready:
                old = self._fill_with(slot, slot.successor)
                if old is not None:
                    self._send_away(old)
        self._roll_on()

    def _end_probation(self) -> None:
        ends, self._probation_ends = self._probation_ends, None
        if ends is not None:
            ends.cancel()

    def _is_on_probation(self, slot: WorkerSlot, worker: WorkerHandle) -> bool:
        """Whether the end of a worker that has a slot ends a rolling restart."""
        if not self._is_rolling or self._is_old(worker):
            return False
        return not worker.is_ready or self._clock.seconds() - slot.ready_at < self._probation

    def _tell_roll(self, output: str = "", probation: float = 0.0) -> None:
        roll = self.roll_so_far
        if roll is not None:
            self._owner.rolls(
                replace(roll, output=output, another_follows=self._is_roll_due, probation=probation)
            )

    def _end_roll(self, reason: str = "", output: str = "") -> None:
        if not self._is_rolling:
            return
        self._is_rolling, self._failure = False, reason
        self._end_probation()
        for slot in self._slots.values() if reason else ():
            successor, slot.successor = slot.successor, None
            if successor is not None:
                self._depart(successor)
        if reason:
            self._log.error(
                "The workers are not replaced: {reason}. {replaced} of {size} have the new code, "
                "the others stay as they are",
                reason=reason,
                replaced=self._replaced,
                size=self.size,
            )
        self._tell_roll(output)
        if self._is_roll_due:
            self.roll()

    # Ends

    def _depart(self, worker: WorkerHandle) -> None:
        """Let a worker end, whose place is another's now."""
        self._departing.add(worker)
        self._send_away(worker)

    def _send_away(self, worker: WorkerHandle) -> None:
        if worker not in self._departing:
            return  # it has ended meanwhile
        if self._is_accepting:
            worker.move_out(self._patience)
        else:
            worker.leave(self._patience)

    def _departed(self, worker: WorkerHandle) -> None:
        self._departing.discard(worker)
        if self._is_leaving and worker.is_ready:
            self.is_clean = self.is_clean and bool(worker.report) and not worker.has_failed
            self.reports.append(worker.report)

    def _when_gone(self) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self._check_gone()
        return gone

    def _check_gone(self) -> None:
        if not self._departing:
            gone, self._gone = self._gone, []
            for each in gone:
                each.callback(None)

    def _slot_of(self, worker: WorkerHandle) -> WorkerSlot | None:
        for slot in self._slots.values():
            if worker in slot.workers:
                return slot
        return None


def _name(worker: WorkerHandle) -> str:
    """Which worker, for the log; one that could not be started has no pid."""
    return f"worker {worker.number} (pid {worker.pid})" if worker.pid else f"worker {worker.number}"
