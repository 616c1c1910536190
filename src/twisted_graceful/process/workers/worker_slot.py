"""The slot of one worker in a pool, which outlives the processes that fill it."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

from twisted.internet.interfaces import IReactorTime

from ...timer import Timer
from ..state_machine import StateMachine, Table, Transition
from .backoff import Backoff
from .worker_handle import WorkerHandle

IN_FULL_AGAIN = 20
"""How many in a row may have written the same until it is logged again; log files rotate."""


class SlotState(Enum):
    """Which processes a slot has."""

    EMPTY = "none, and none is about to be started"
    FILLED = "a worker, which loads or serves"
    REPLACING = "a worker and its successor, which loads or is on probation"
    SUCCEEDING = "a successor that loads; the worker has gone before it"
    WAITING = "none; the next worker starts when a delay is over"


class SlotInput(Enum):
    """What can happen to a slot."""

    FILL = "the pool wants a worker in every slot"
    REPLACE = "the worker is to be replaced: a rolling restart, or it retires"
    SUCCESSOR_PROVEN = "the successor is ready, and its probation, if any, is over"
    WORKER_REMOVED = "the worker has ended, or exits, and is not restarted"
    SUCCESSOR_REMOVED = "the successor has ended, or exits, and is not restarted"
    DIED = "the only process of the slot has ended, and is to be restarted"
    DELAY_OVER = "the delay is over"
    CANCEL_RESTART = "nothing more is to be started"


class SlotOutput(Enum):
    """What is then done."""

    START_WORKER = "start a worker"
    START_SUCCESSOR = "start a successor"
    PROMOTE = "the successor becomes the worker"
    DROP_WORKER = "forget the worker"
    DROP_SUCCESSOR = "forget the successor"
    SCHEDULE = "start the delay"
    UNSCHEDULE = "cancel the delay"


S, I, O = SlotState, SlotInput, SlotOutput  # noqa: E741 - the table below is read, not typed

TABLE: Table[SlotState, SlotInput, SlotOutput] = {
    S.EMPTY: {
        I.FILL: Transition(S.FILLED, (O.START_WORKER,)),
        I.CANCEL_RESTART: Transition(S.EMPTY),
    },
    S.FILLED: {
        I.FILL: Transition(S.FILLED),
        I.REPLACE: Transition(S.REPLACING, (O.START_SUCCESSOR,)),
        I.WORKER_REMOVED: Transition(S.EMPTY, (O.DROP_WORKER,)),
        I.DIED: Transition(S.WAITING, (O.DROP_WORKER, O.SCHEDULE)),
        I.CANCEL_RESTART: Transition(S.FILLED),
    },
    S.REPLACING: {
        I.FILL: Transition(S.REPLACING),
        I.SUCCESSOR_PROVEN: Transition(S.FILLED, (O.PROMOTE,)),
        I.WORKER_REMOVED: Transition(S.SUCCEEDING, (O.DROP_WORKER,)),
        I.SUCCESSOR_REMOVED: Transition(S.FILLED, (O.DROP_SUCCESSOR,)),
        I.CANCEL_RESTART: Transition(S.REPLACING),
    },
    S.SUCCEEDING: {
        I.FILL: Transition(S.SUCCEEDING),
        I.SUCCESSOR_PROVEN: Transition(S.FILLED, (O.PROMOTE,)),
        I.SUCCESSOR_REMOVED: Transition(S.EMPTY, (O.DROP_SUCCESSOR,)),
        I.DIED: Transition(S.WAITING, (O.DROP_SUCCESSOR, O.SCHEDULE)),
        I.CANCEL_RESTART: Transition(S.SUCCEEDING),
    },
    S.WAITING: {
        I.FILL: Transition(S.WAITING),
        I.DELAY_OVER: Transition(S.FILLED, (O.START_WORKER,)),
        I.CANCEL_RESTART: Transition(S.EMPTY, (O.UNSCHEDULE,)),
    },
}


class WorkerSlot:
    """The place of one worker in a pool.

    Args:
        clock: keeps the time.
        number: of the slot, 1 or more.
        start: starts a process for the slot of that number.

    Attributes:
        backoff: when to start the next worker if the last one has died.
        worker: the worker that fills the slot; None if there is none.
        successor: the worker that will fill it when it is ready; None if there is none.
        restarts: how often a worker has died and was restarted.
        ready_at: when the last of its workers became ready, in seconds of the clock.
    """

    def __init__(
        self, clock: IReactorTime, number: int, start: Callable[[int], WorkerHandle]
    ) -> None:
        self.number = number
        self.backoff = Backoff(clock)
        self.worker: WorkerHandle | None = None
        self.successor: WorkerHandle | None = None
        self.restarts = 0
        self.ready_at = 0.0
        self._start = start
        self._delay = 0.0
        self._restart = Timer(clock)
        self._last_output = ""
        self._repeated = 0
        self._machine = StateMachine(
            TABLE,
            SlotState.EMPTY,
            {
                SlotOutput.START_WORKER: self._start_worker,
                SlotOutput.START_SUCCESSOR: self._start_successor,
                SlotOutput.PROMOTE: self._promote,
                SlotOutput.DROP_WORKER: self._drop_worker,
                SlotOutput.DROP_SUCCESSOR: self._drop_successor,
                SlotOutput.SCHEDULE: self._schedule,
                SlotOutput.UNSCHEDULE: self._restart.cancel,
            },
        )

    @property
    def state(self) -> SlotState:
        """Which processes it has."""
        return self._machine.state

    @property
    def workers(self) -> list[WorkerHandle]:
        """The worker and the successor, as far as they exist."""
        return [each for each in (self.worker, self.successor) if each is not None]

    @property
    def is_ready(self) -> bool:
        """Whether the worker that fills it can serve."""
        return self.worker is not None and self.worker.is_ready

    def fill(self) -> None:
        """Start a worker, if none is there or about to be started."""
        self._machine.send(SlotInput.FILL)

    def replace(self) -> None:
        """Start a successor of the worker."""
        self._machine.send(SlotInput.REPLACE)

    def promote(self) -> WorkerHandle | None:
        """Give the slot to the successor; return the worker that had it."""
        old = self.worker
        self._machine.send(SlotInput.SUCCESSOR_PROVEN)
        return old

    def remove(self, worker: WorkerHandle) -> None:
        """Forget the worker or the successor, which has ended or exits."""
        is_worker = worker is self.worker
        self._machine.send(SlotInput.WORKER_REMOVED if is_worker else SlotInput.SUCCESSOR_REMOVED)

    def restart(self, is_missed: bool) -> float:
        """Start another worker instead of the only one, which has died.

        Args:
            is_missed: whether no other process serves now.

        Returns:
            The delay until that, in seconds.
        """
        self.restarts += 1
        self._delay = self.backoff.ended(is_missed=is_missed)
        self._machine.send(SlotInput.DIED)
        return self._delay

    def cancel_restart(self) -> None:
        """Start nothing any more."""
        self._machine.send(SlotInput.CANCEL_RESTART)

    def is_repeated(self, output: str) -> bool:
        """Whether the output of a worker that has died can be left out of the log.

        It can if that of the worker before was the same, apart from numbers, such as times.
        """
        output = re.sub(r"\d+", "0", output)
        is_same, self._last_output = bool(output) and output == self._last_output, output
        self._repeated = (self._repeated + 1) % IN_FULL_AGAIN if is_same else 0
        return self._repeated > 0

    # What the table makes it do

    def _start_worker(self) -> None:
        self.worker = self._start(self.number)

    def _start_successor(self) -> None:
        self.successor = self._start(self.number)

    def _promote(self) -> None:
        self.worker, self.successor = self.successor, None

    def _drop_worker(self) -> None:
        self.worker = None

    def _drop_successor(self) -> None:
        self.successor = None

    def _schedule(self) -> None:
        self._restart.start(self._delay, self._machine.send, SlotInput.DELAY_OVER)
