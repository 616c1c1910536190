"""This process as one worker of several: its master says when it serves, drains and ends.

To what is served here the master is in the place of a `Generation`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from ..host.parent_death import when_parent_ends
from ..interfaces import Workload
from ..upgrade.accept_retry import Acceptor
from ..upgrade.inheritance import Inheritance
from ..upgrade.messages import (
    Alive,
    CutShort,
    Drain,
    Drained,
    Leave,
    LogsMoved,
    Resume,
    Retire,
)
from ..upgrade.output import release
from ..upgrade.parent import Parent


class WorkerState(Enum):
    """Where a worker is in its life."""

    LOADING = "loading"
    SERVING = "serving"
    STANDING_BY = "standing by"  # draining, or drained; it may have to serve again
    STOPPING = "stopping"


class WorkerInput(Enum):
    """What can happen to it."""

    PERMITTED = "the master has answered Ready"
    DRAIN = "the master sent Drain"
    RESUME = "the master sent Resume"
    LEAVE = "the master sent Leave or CutShort, or has ended; or a signal"


TABLE: Mapping[WorkerState, Mapping[WorkerInput, WorkerState]] = {
    WorkerState.LOADING: {
        WorkerInput.PERMITTED: WorkerState.SERVING,
        WorkerInput.LEAVE: WorkerState.STOPPING,
    },
    WorkerState.SERVING: {
        WorkerInput.DRAIN: WorkerState.STANDING_BY,
        WorkerInput.LEAVE: WorkerState.STOPPING,
    },
    WorkerState.STANDING_BY: {
        WorkerInput.RESUME: WorkerState.SERVING,
        WorkerInput.LEAVE: WorkerState.STOPPING,
    },
    WorkerState.STOPPING: {},
}
"""Where an input leads. What has no place here comes too late, and changes nothing."""


class Worker:
    """One worker, from its load to its end.

    Args:
        reactor: runs everything.
        workload: what is served.
        inheritance: what the master gave it.
        pid: of this process.
        master_ends: called when the master has ended, also while the reactor hangs: in a signal
            handler or a thread. None for nothing.

    Attributes:
        number: of its generation.
        worker: its number among the workers.
        state: where it is in its life.
        is_asked_to_stop: whether somebody wished that with a signal; again, it is to be at once.
        predecessor_resumes: always: the listeners are the master's, also when this process ends.
    """

    _log = Logger()
    predecessor_resumes = True

    def __init__(
        self,
        reactor: Any,
        workload: Workload,
        inheritance: Inheritance,
        pid: int | None = None,
        master_ends: Callable[[], None] | None = None,
    ) -> None:
        self.number = inheritance.generation
        self.worker = inheritance.worker
        self.is_asked_to_stop = False
        self._workload = workload
        self._inheritance = inheritance
        self._pid = os.getpid() if pid is None else pid
        self.state = WorkerState.LOADING
        self._acceptor = Acceptor(
            reactor, workload.accept, lambda: self.state is WorkerState.SERVING
        )
        self._arrived: Deferred[None] = succeed(None)
        if master_ends is not None:
            when_parent_ends(inheritance.control, master_ends)
        self._master = Parent(
            reactor,
            inheritance.control,
            workload,
            {
                LogsMoved: workload.logs_moved,
                Drain: self._on_drain,
                Resume: self._on_resume,
                Leave: self.leave,
                CutShort: self.cut,
            },
            self._master_ended,
        )

    def _happens(self, event: WorkerInput) -> bool:
        """Move to where an input leads; whether it leads anywhere."""
        before, self.state = self.state, TABLE[self.state].get(event, self.state)
        return self.state is not before

    # What happens to this process

    def loaded(self) -> None:
        """All that is to be served can be served."""
        self._master.ready(self._workload.listeners()).addCallback(self._may_serve)

    def _may_serve(self, allowed: bool) -> None:
        if not allowed and self.state is WorkerState.LOADING:
            self._log.error("Worker {worker} is ready too late", worker=self.worker)
            self.leave()
        if not self._happens(WorkerInput.PERMITTED):
            return
        self._acceptor.accept()
        # Its last words are read to its end: the master tells of every death.
        release(self._inheritance.stdout, self._inheritance.stderr)
        self._log.info(
            "Worker {worker} of generation {number} serves (pid {pid})",
            worker=self.worker,
            number=self.number,
            pid=self._pid,
        )

    def failed(self, reason: str) -> Deferred[None]:
        """What is to be served cannot be served; fires when the master knows."""
        return self._master.fail(reason)

    def upgrade(self) -> None:
        """Somebody took this process for the master, or the master passes on what is not ours."""
        self._log.warn(
            "A worker does not upgrade itself: nothing is done. Signal the master (pid {master})",
            master=os.getppid(),
        )

    def stop(self) -> None:
        """Drain and let the process end, as a signal says; asked again: end at once."""
        is_asked_again, self.is_asked_to_stop = self.is_asked_to_stop, True
        if is_asked_again:
            self.cut()
            return
        # It starts another worker to replace this one at once.
        self._arrived = self._master.stopping().addCallback(lambda _: None)
        self.leave()

    def alive(self, report: str) -> None:
        """Give the master a sign of life.

        Args:
            report: how this process is, as `Status` encodes it, or more.
        """
        self._master.tell(Alive, status=report)

    def retire(self, reason: str) -> None:
        """Ask the master for another worker in the place of this one.

        Args:
            reason: why; the master logs it.
        """
        self._master.tell(Retire, reason=reason)

    def service_stops(self) -> None:
        """The service is being stopped."""
        self.leave()

    def arrived(self) -> Deferred[None]:
        """A Deferred that fires, in a stop, when no connection will come from the master."""
        return self._arrived

    def stopped(self, report: Mapping[str, Any]) -> Deferred[None]:
        """Tell the master what the drain did.

        Returns:
            A Deferred that fires when it knows.
        """
        return self._master.ask_briefly(Drained, report=json.dumps(report))

    def ended(self) -> None:
        """This process serves no more, and ends."""

    def stays(self) -> None:
        """The process goes on without what it has served."""

    def killed(self) -> None:
        """The process is ended, because something still held it; the master sees its status."""

    def remove_pid_file(self) -> None:
        """There is none: it is the master's."""

    def tell_logs_moved(self) -> None:
        """Tell the master, and so all others, that the log files have been moved."""
        self._master.tell(LogsMoved)

    # What the master tells us

    def _on_drain(self, gone: Collection[int] | None) -> Deferred[dict[str, Any]] | None:
        """Hand over what can move, and drain; fires when nothing is left."""
        if not self._happens(WorkerInput.DRAIN):
            return None
        listeners = self._workload.listeners()
        removed = [each for each in listeners if {*each.inodes} <= {*(gone or ())}]
        drained: Deferred[Any] = self._workload.hand_over(self._master.carrier, removed)
        return drained.addCallback(lambda _: {})

    def _on_resume(self) -> None:
        if self._happens(WorkerInput.RESUME):
            self._acceptor.accept()

    def leave(self) -> None:
        """Drain what is left, and let the process end."""
        if self._happens(WorkerInput.LEAVE):
            self._workload.leave()

    def cut(self) -> None:
        """End at once, with what is still being answered."""
        self._workload.cut()
        self.leave()

    def _master_ended(self) -> None:
        # No process would replace this one, or stop it one day.
        if self.state is not WorkerState.STOPPING:
            self._log.warn("The master has ended: worker {worker} drains", worker=self.worker)
        self._workload.make_way()
        self.leave()
