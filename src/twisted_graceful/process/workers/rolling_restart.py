"""A rolling restart: the workers of a pool are replaced one by one, by workers with new code.

The first new worker is the canary: it serves beside the worker that it will replace for a
probation, and only then the old workers begin to exit. A new worker that does not get ready, or
dies within its probation, ends the rolling restart, and the old workers that are left stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...event_names import EventName
from ...timer import Timer
from ..state_machine import StateMachine, Table, Transition
from ..upgrade.upgrade_events import RollingRestartProgress
from .worker_handle import WorkerHandle
from .worker_slot import WorkerSlot


class RestartState(Enum):
    """How far a rolling restart has come."""

    PAUSED = "the workers do not accept, and none is replaced"
    IDLE = "the workers accept, and none is replaced"
    CANARY = "the first new worker, the canary, loads"
    PROBATION = "the canary serves beside the worker that it will replace"
    REPLACING = "the old workers are replaced one by one"


class RestartInput(Enum):
    """What can happen to it."""

    REQUEST = "new code is to be served"
    RESUME = "the workers accept, for the first time or again"
    PAUSE = "the workers drain or exit"
    NEW_WORKER_READY = "a worker with the new code can serve"
    PROVEN = "the probation is over, or there is none"
    CANARY_REMOVED = "the probation is over, but the slot of the canary was given up"
    ALL_REPLACED = "no old worker is left"
    FAILED = "a new worker has ended before it was ready, or on probation"


class RestartOutput(Enum):
    """What is then done."""

    REMEMBER = "note that another rolling restart is due"
    CATCH_UP = "begin the one that was noted, if any"
    BEGIN = "replace the first worker"
    BEGIN_PROBATION = "start the probation"
    CANCEL_PROBATION = "end the probation early"
    PROMOTE = "give the canary its slot"
    REPORT = "report how many workers have been replaced"
    FINISH = "report that all have been replaced"
    GIVE_UP = "discard the successors, and report why"


S, I, O = RestartState, RestartInput, RestartOutput  # noqa: E741 - the table below is read, not typed

TABLE: Table[RestartState, RestartInput, RestartOutput] = {
    S.PAUSED: {
        I.REQUEST: Transition(S.PAUSED, (O.REMEMBER,)),
        I.RESUME: Transition(S.IDLE, (O.CATCH_UP,)),
        I.PAUSE: Transition(S.PAUSED),
    },
    S.IDLE: {
        I.REQUEST: Transition(S.CANARY, (O.BEGIN,)),
        I.PAUSE: Transition(S.PAUSED),
    },
    S.CANARY: {
        I.REQUEST: Transition(S.CANARY, (O.REMEMBER,)),
        I.NEW_WORKER_READY: Transition(S.PROBATION, (O.BEGIN_PROBATION,)),
        I.PROVEN: Transition(S.REPLACING),
        I.FAILED: Transition(S.IDLE, (O.GIVE_UP, O.CATCH_UP)),
        I.PAUSE: Transition(S.PAUSED),
    },
    S.PROBATION: {
        I.REQUEST: Transition(S.PROBATION, (O.REMEMBER,)),
        I.NEW_WORKER_READY: Transition(S.PROBATION, (O.REPORT,)),
        I.PROVEN: Transition(S.REPLACING, (O.PROMOTE,)),
        I.CANARY_REMOVED: Transition(S.CANARY),
        I.FAILED: Transition(S.IDLE, (O.CANCEL_PROBATION, O.GIVE_UP, O.CATCH_UP)),
        I.PAUSE: Transition(S.PAUSED, (O.CANCEL_PROBATION,)),
    },
    S.REPLACING: {
        I.REQUEST: Transition(S.REPLACING, (O.REMEMBER,)),
        I.NEW_WORKER_READY: Transition(S.REPLACING, (O.REPORT,)),
        I.ALL_REPLACED: Transition(S.IDLE, (O.FINISH, O.CATCH_UP)),
        I.FAILED: Transition(S.IDLE, (O.GIVE_UP, O.CATCH_UP)),
        I.PAUSE: Transition(S.PAUSED),
    },
}

IN_PROGRESS = (RestartState.CANARY, RestartState.PROBATION, RestartState.REPLACING)
"""The states of a rolling restart that has begun and is not over."""


class RestartedPool(Protocol):
    """The pool whose workers are replaced.

    Attributes:
        size: how many workers are wanted.
        slots: the slots of the workers, by their numbers.
    """

    size: int
    slots: dict[int, WorkerSlot]

    def replace_next(self) -> None:
        """Replace the next worker, if no other one is being replaced."""

    def promote(self, slot: WorkerSlot) -> None:
        """Give a slot to its successor, and let the old worker exit."""

    def discard_successors(self) -> None:
        """Let all successors exit that have not been promoted."""


class RollingRestart:
    """The rolling restarts of one pool, of which one at a time is in progress.

    Args:
        clock: keeps the time.
        pool: whose workers are replaced.
        report: called with each step.
        probation: seconds for which a new worker is on probation; 0 for none.

    Attributes:
        code: counts the rolling restarts that have begun; a worker has the number of its start.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pool: RestartedPool,
        report: Callable[[RollingRestartProgress], None],
        probation: float,
    ) -> None:
        self.code = 0
        self._clock = clock
        self._pool = pool
        self._report_to = report
        self._probation = probation
        self._probation_end = Timer(clock)
        self._canary: WorkerHandle | None = None
        self._is_due = False
        self._failure, self._output = "", ""
        self._machine = StateMachine(
            TABLE,
            RestartState.PAUSED,
            {
                RestartOutput.REMEMBER: self._remember,
                RestartOutput.CATCH_UP: self._catch_up,
                RestartOutput.BEGIN: self._begin,
                RestartOutput.BEGIN_PROBATION: self._begin_probation,
                RestartOutput.CANCEL_PROBATION: self._probation_end.cancel,
                RestartOutput.PROMOTE: self._promote,
                RestartOutput.REPORT: self._report,
                RestartOutput.FINISH: self._finish,
                RestartOutput.GIVE_UP: self._give_up,
            },
        )

    @property
    def state(self) -> RestartState:
        """How far it has come."""
        return self._machine.state

    @property
    def progress(self) -> RollingRestartProgress | None:
        """The last step of the last rolling restart; None if there was none."""
        if not self.code:
            return None
        event = EventName.FAILED if self._failure else EventName.DONE
        if self.state in IN_PROGRESS:
            event = EventName.REPLACING
        return RollingRestartProgress(
            self.code, event, self._replaced, self._pool.size, self._failure
        )

    @property
    def _replaced(self) -> int:
        return sum(
            any(each.is_ready and each.code == self.code for each in slot.workers)
            for slot in self._pool.slots.values()
        )

    def is_old(self, worker: WorkerHandle) -> bool:
        """Whether a worker is yet to be replaced."""
        return self.state in IN_PROGRESS and worker.code < self.code

    @property
    def is_on_probation(self) -> bool:
        """Whether the canary is on probation."""
        return self.state is RestartState.PROBATION

    def is_unproven(self, worker: WorkerHandle) -> bool:
        """Whether a worker has new code of which no worker has survived its probation."""
        unproven = (RestartState.CANARY, RestartState.PROBATION)
        return self.state in unproven and not self.is_old(worker)

    def is_needed_from(self, worker: WorkerHandle, ready_at: float) -> bool:
        """Whether the rolling restart fails if a worker that fills a slot ends now.

        Args:
            worker: the worker.
            ready_at: when it became ready, if it is, in seconds of the clock.
        """
        if self.state not in IN_PROGRESS or self.is_old(worker):
            return False
        return not worker.is_ready or self._clock.seconds() - ready_at < self._probation

    # What happens

    def request(self) -> None:
        """Replace all workers; if that is in progress, once more afterwards."""
        self._machine.send(RestartInput.REQUEST)

    def resume(self) -> None:
        """The workers accept."""
        self._machine.send(RestartInput.RESUME)

    def pause(self) -> None:
        """The workers drain or exit: a rolling restart in progress ends without a report."""
        self._machine.send(RestartInput.PAUSE)

    def worker_ready(self, worker: WorkerHandle) -> None:
        """A worker can serve, and accepts."""
        if self.state in IN_PROGRESS and not self.is_old(worker):
            self._canary = worker
            self._machine.send(RestartInput.NEW_WORKER_READY)

    def all_replaced(self) -> None:
        """No worker is left that is to be replaced."""
        if self.state is RestartState.REPLACING:
            self._machine.send(RestartInput.ALL_REPLACED)

    def fail(self, reason: str, output: str) -> None:
        """End the rolling restart, if one is in progress.

        Args:
            reason: why.
            output: the last lines that the failed worker wrote.
        """
        if self.state in IN_PROGRESS:
            self._failure, self._output = reason, output
            self._machine.send(RestartInput.FAILED)

    # What the table makes it do

    def _remember(self) -> None:
        self._log.info("The workers are replaced when what is under way is over")
        self._is_due = True
        size = self._pool.size
        self._report_to(RollingRestartProgress(self.code + 1, EventName.QUEUED, 0, size))

    def _catch_up(self) -> None:
        if self._is_due:
            self.request()

    def _begin(self) -> None:
        self._is_due, self._failure, self._output = False, "", ""
        self.code += 1
        slots = self._pool.slots.values()
        self._log.info("Replacing {count} workers, one after the other", count=len(slots))
        for slot in slots:
            slot.backoff.reset()
        if not self._probation:
            self._machine.send(RestartInput.PROVEN)
        self._report()
        self._pool.replace_next()

    def _begin_probation(self) -> None:
        assert self._canary is not None
        self._log.info(
            "Worker {number} (pid {pid}) serves the new code, on probation for {seconds:g} seconds "
            "beside the old workers",
            number=self._canary.number,
            pid=self._canary.pid,
            seconds=self._probation,
        )
        self._probation_end.start(self._probation, self._probation_over)
        self._report(probation=self._probation)

    def _probation_over(self) -> None:
        proven = self._replaced > 0
        self._machine.send(RestartInput.PROVEN if proven else RestartInput.CANARY_REMOVED)
        self._pool.replace_next()

    def _promote(self) -> None:
        for slot in list(self._pool.slots.values()):
            if slot.successor is not None and slot.successor.is_ready:
                self._pool.promote(slot)

    def _report(self, probation: float = 0.0) -> None:
        progress = self.progress
        assert progress is not None
        self._report_to(
            replace(
                progress,
                output=self._output,
                another_follows=self._is_due,
                probation=probation,
            )
        )

    def _finish(self) -> None:
        self._log.info("All workers have been replaced")
        self._report()

    def _give_up(self) -> None:
        self._pool.discard_successors()
        self._log.error(
            "The workers are not replaced: {reason}. {replaced} of {size} have the new code, "
            "the others stay as they are",
            reason=self._failure,
            replaced=self._replaced,
            size=self._pool.size,
        )
        self._report()
