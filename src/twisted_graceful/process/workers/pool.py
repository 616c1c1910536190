"""A pool of workers: keeps their number, restarts those that die, replaces them for new code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...errors import WorkerError
from ..host.process_status import Status
from ..listeners.listener import Listener
from ..upgrade.upgrade_events import RollingRestartProgress
from .backoff import in_words
from .exiting_workers import ExitingWorkers
from .rolling_restart import RollingRestart
from .worker_handle import WorkerHandle
from .worker_slot import SlotState, WorkerSlot

CUT_WITHIN = 0.3
"""Seconds until a worker that was told to end immediately is killed; its master has under one."""


class PoolState(Enum):
    """What the workers of a pool do."""

    LOADING = "loading"  # the first time; the death of one is the end of all
    STANDING_BY = "standing by"  # loaded, or drained; a worker that dies is not restarted
    SERVING = "serving"
    LEAVING = "leaving"


class PoolOwner(Protocol):
    """The owner of a pool, which starts processes for it and is told about them."""

    def make_worker(self, number: int, code: int) -> WorkerHandle:
        """A new worker, not started yet; `code` counts the rolling restarts so far."""

    def start_worker(self, worker: WorkerHandle) -> None:
        """Start it; raises OSError if that is not possible."""

    def worker_serves(self) -> None:
        """Another worker serves, and can be sent connections."""

    def worker_reported(self, worker: WorkerHandle, report: str) -> None:
        """A worker has sent its numbers."""

    def worker_ended(self, worker: WorkerHandle) -> None:
        """A worker has ended."""

    def rolling_restart_progress(self, progress: RollingRestartProgress) -> None:
        """A rolling restart has made progress; not when `Pool.drain` or `leave` has ended it."""


class Pool:
    """The workers of a master.

    A worker that dies is restarted. For new code, workers are replaced one by one
    (`RollingRestart`): a successor is started, and only when it is ready the old worker exits. A
    worker that retires is replaced in the same way.

    Args:
        clock: keeps the time.
        size: how many workers; 1 or more.
        owner: starts their processes, and is told of them.
        patience: seconds that a worker may take to end when it is told to.
        probation: seconds for which a new worker is on probation in a rolling restart; 0 for none.

    Attributes:
        size: how many workers are wanted.
        slots: their slots, by number.
        reports: what the drains did of the workers that ended after `leave`, in their own words.
        is_clean: whether each of these has said so, and has ended with status 0.
        restarts: how many have died and were restarted.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        size: int,
        owner: PoolOwner,
        patience: float,
        probation: float = 0.0,
    ) -> None:
        self.size = size
        self.slots: dict[int, WorkerSlot] = {}
        self.reports: list[str] = []
        self.is_clean = True
        self.restarts = 0
        self._clock = clock
        self._owner = owner
        self._patience = patience
        self._state = PoolState.STANDING_BY
        self._restart = RollingRestart(clock, self, owner.rolling_restart_progress, probation)
        self._loaded: Deferred[None] = Deferred()
        self._exiting = ExitingWorkers(patience)

    def __iter__(self) -> Iterator[WorkerHandle]:
        """All processes that there are."""
        for slot in self.slots.values():
            yield from slot.workers
        yield from self._exiting

    @property
    def _is_serving(self) -> bool:
        return self._state is PoolState.SERVING

    @property
    def serving(self) -> list[WorkerHandle]:
        """The workers that accept, including a canary beside the worker that it will replace."""
        workers = [each for slot in self.slots.values() for each in slot.workers]
        return [each for each in workers if each.is_ready] if self._is_serving else []

    def restarts_of(self, number: int) -> int:
        """How often the worker of a slot has died and was restarted."""
        return self.slots[number].restarts if number in self.slots else 0

    @property
    def last_rolling_restart(self) -> RollingRestartProgress | None:
        """The last step of the last rolling restart; None if there was none."""
        return self._restart.progress

    # What the master wants

    def load(self) -> Deferred[None]:
        """Start all workers.

        Returns:
            A Deferred that fires when all are ready; it fails with `WorkerError` if one
            ends before that.
        """
        self._state = PoolState.LOADING
        self._fill()
        return self._loaded

    def accept(self) -> None:
        """Let all workers accept, for the first time or again."""
        self._state = PoolState.SERVING
        for worker in self.serving:
            worker.accept()
        self._fill()
        self._owner.worker_serves()
        self._restart.resume()

    def drain(self, removed: Sequence[Listener] = ()) -> Deferred[None]:
        """Let all workers stop accepting, hand over what can move, and stand by.

        Args:
            removed: listeners that they are to close.

        Returns:
            A Deferred that fires when they have nothing left.
        """
        stay = [each.worker for each in self.slots.values() if each.worker and each.is_ready]
        stay = stay if self._is_serving else []
        self._state = PoolState.STANDING_BY
        self._restart.pause()
        for slot in self.slots.values():
            slot.cancel_restart()
            for worker in slot.workers:
                if worker in stay:
                    continue
                slot.remove(worker)
                self._exiting.add(worker)
                # The connections of a canary can move to the successor of the master.
                self._exiting.tell(worker, others_serve=worker.is_ready)
        drains = [worker.drain(self._patience, removed) for worker in stay] + [
            self._exiting.when_ended()
        ]
        return gatherResults(drains).addCallback(lambda _: None)

    def leave(self) -> Deferred[None]:
        """Let all workers drain and exit.

        Returns:
            A Deferred that fires when none is left.
        """
        self._state = PoolState.LEAVING
        self._restart.pause()
        for slot in self.slots.values():
            slot.cancel_restart()
            for worker in slot.workers:
                self._dismiss(worker)
        self.slots.clear()
        return self._exiting.when_ended()

    def cut(self) -> None:
        """Cut the requests in flight of workers that exit."""
        for worker in self._exiting:
            worker.cut(CUT_WITHIN)

    def kill(self) -> None:
        """Kill all workers: this process is about to be ended."""
        for worker in self:
            worker.kill()

    def logs_moved(self) -> None:
        """Tell all that the log files have been moved."""
        for worker in self:
            worker.send_logs_moved()

    def restart_workers(self) -> None:
        """Replace all workers, one after the other, by new ones with the code on disk.

        Asked meanwhile, it is done again afterwards.
        """
        if self._state is not PoolState.LEAVING:
            self._restart.request()

    def resize(self, more: int) -> None:
        """Have more workers, or fewer, but always one.

        Args:
            more: how many; negative for fewer.
        """
        if self._state is PoolState.LEAVING:
            return
        before, self.size = self.size, max(1, self.size + more)
        self._log.info(
            "Workers wanted: {size}{change}",
            size=self.size,
            change=f", not {before}" if self.size != before else "; there is always one",
        )
        for number in [each for each in self.slots if each > self.size]:
            slot = self.slots.pop(number)
            slot.cancel_restart()
            for worker in slot.workers:
                self._dismiss(worker)
        self._fill()
        self._check_loaded()
        self.replace_next()

    # What the workers tell

    def worker_ready(self, worker: WorkerHandle) -> None:
        """A worker can serve."""
        slot = self._slot_of(worker)
        if slot is None:
            return  # it has been told to exit
        slot.ready_at = self._clock.seconds()
        is_canary = slot.state is SlotState.REPLACING and self._restart.is_unproven(worker)
        old = None
        if slot.successor is not worker:
            slot.backoff.ready()
        elif not is_canary:
            old = self._promote(slot)
        if self._is_serving:
            accepts = worker.accept()
            self._owner.worker_serves()
            if old is not None:
                # Not before, for until then one fewer would accept.
                accepts.addCallback(lambda _: self._exiting.tell(old, self._is_serving))
        elif old is not None:
            self._exiting.tell(old, others_serve=False)
        self._restart.worker_ready(worker)
        self._check_loaded()
        self.replace_next()

    def _promote(self, slot: WorkerSlot) -> WorkerHandle | None:
        """Give a slot to its successor; return the old worker, which has to exit."""
        slot.backoff.ready()
        old = slot.promote()
        new = slot.worker
        if old is not None and new is not None:
            self._log.info(
                "Worker {number} (pid {old}) drains: pid {pid} takes its place",
                number=new.number,
                old=old.pid,
                pid=new.pid,
            )
            self._exiting.add(old)
        return old

    def worker_reported(self, worker: WorkerHandle, report: str) -> None:
        """A worker has said how it is."""
        worker.connections = int(Status.decode(report).gauge("connections"))
        self._owner.worker_reported(worker, report)

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
        self.replace_next()

    def worker_stopping(self, worker: WorkerHandle) -> None:
        """A worker was told to stop, by somebody else."""
        if self._slot_of(worker) is None:
            return
        self._log.info(
            "Worker {number} (pid {pid}) was told to stop", number=worker.number, pid=worker.pid
        )
        self._make_room(worker)

    def worker_channel_broken(self, worker: WorkerHandle, reason: str) -> None:
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
        """Start another worker in the slot of one that drains on its own."""
        slot = self._slot_of(worker)
        if slot is not None and slot.worker is worker:
            slot.remove(worker)
            self._dismiss(worker)
            self._fill()

    def worker_ended(self, worker: WorkerHandle, reason: str, output: str) -> None:
        """A worker has ended."""
        self._owner.worker_ended(worker)
        slot = self._slot_of(worker)
        if slot is None:
            if worker.is_ready and not worker.report:
                self._log_end(worker, reason, output, "It had been told to leave")
            self._collect_report(worker)
        elif slot.state is SlotState.REPLACING and worker is slot.successor:
            slot.remove(worker)
            assert slot.worker is not None
            slot.worker.retires = False  # until it asks again
            self._log_end(worker, reason, output, "The old worker stays")
            self._restart.fail(f"worker {worker.number}: {reason}", output)
        else:
            ready_at = slot.ready_at
            is_successor = worker is slot.successor
            fails = is_successor or self._restart.is_needed_from(worker, ready_at)
            self._died(slot, worker, reason, output)
            if fails:
                self._restart.fail(f"worker {worker.number}: {reason}", output)
        self._exiting.ended(worker)
        self.replace_next()

    def _died(self, slot: WorkerSlot, worker: WorkerHandle, reason: str, output: str) -> None:
        if not self._is_serving or len(slot.workers) > 1:
            slot.remove(worker)
            self._log_end(worker, reason, output, "")
            if self._state is PoolState.LOADING:
                self._state = PoolState.STANDING_BY
                self._loaded.errback(WorkerError(f"{_name(worker)}: {reason}"))
            return
        self.restarts += 1
        delay = slot.restart(is_missed=self.serving in ([], [worker]))
        if slot.is_repeated(output):
            reason, output = f"{reason}, and wrote the same as the one before it", ""
        self._log_end(worker, reason, output, f"It is started again {in_words(delay)}")

    def _log_end(self, worker: WorkerHandle, reason: str, output: str, then: str) -> None:
        self._log.error(
            "{name}: {reason}{then}{output}",
            name=f"{_name(worker).capitalize()}{' has ended' if worker.pid else ''}",
            reason=reason,
            then=f". {then}" if then else "",
            output=f"\nThe last it wrote:\n{output}" if output else "",
        )

    # Starts

    def _fill(self) -> None:
        """Start a worker in each slot that has none; not while all drain or stand by."""
        if self._state in (PoolState.STANDING_BY, PoolState.LEAVING):
            return
        for number in range(1, self.size + 1):
            if number not in self.slots:
                self.slots[number] = WorkerSlot(self._clock, number, self._start)
        for slot in list(self.slots.values()):
            slot.fill()

    def _start(self, number: int) -> WorkerHandle:
        worker = self._owner.make_worker(number, self._restart.code)
        try:
            self._owner.start_worker(worker)
        except Exception as error:
            # Later: the slot does not have the worker yet.
            reason = f"it could not be started: {error}"
            self._clock.callLater(0, self.worker_ended, worker, reason, "")
        else:
            self._log.info(
                "Worker {number} starts (pid {pid})", number=worker.number, pid=worker.pid
            )
        return worker

    def _check_loaded(self) -> None:
        if self._state is PoolState.LOADING and all(each.is_ready for each in self.slots.values()):
            self._state = PoolState.STANDING_BY
            self._loaded.callback(None)

    # What a rolling restart asks of it

    def replace_next(self) -> None:
        """Replace the next worker that retires or is old, if no other one is being replaced."""
        if not self._is_serving or self._exiting or self._restart.is_on_probation:
            return
        slots = self.slots.values()
        if any(slot.successor is not None for slot in slots):
            return
        for slot in slots:
            worker = slot.worker
            if worker is not None and (worker.retires or self._restart.is_old(worker)):
                slot.replace()
                return
        if all(slot.is_ready for slot in slots):
            self._restart.all_replaced()

    def promote(self, slot: WorkerSlot) -> None:
        """Give a slot to its successor, which accepts, and let the old worker exit."""
        old = self._promote(slot)
        if old is not None:
            self._exiting.tell(old, self._is_serving)

    def discard_successors(self) -> None:
        """Let all successors exit that have no slot of their own yet."""
        for slot in self.slots.values():
            if slot.successor is not None:
                successor = slot.successor
                slot.remove(successor)
                self._dismiss(successor)
        self._fill()  # those whose old worker has ended before

    # Exits

    def _dismiss(self, worker: WorkerHandle) -> None:
        """Let a worker exit that has no slot any more."""
        self._exiting.add(worker)
        self._exiting.tell(worker, others_serve=self._is_serving)

    def _collect_report(self, worker: WorkerHandle) -> None:
        if self._state is PoolState.LEAVING and worker.is_ready:
            self.is_clean = self.is_clean and bool(worker.report) and not worker.has_failed
            self.reports.append(worker.report)

    def _slot_of(self, worker: WorkerHandle) -> WorkerSlot | None:
        for slot in self.slots.values():
            if worker in slot.workers:
                return slot
        return None


def _name(worker: WorkerHandle) -> str:
    """Which worker, for the log; one that could not be started has no pid."""
    return f"worker {worker.number} (pid {worker.pid})" if worker.pid else f"worker {worker.number}"
