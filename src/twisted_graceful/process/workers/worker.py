"""The lifecycle of a worker: its master says when it serves, drains and ends.

When the control channel ends, so has the master; then the worker drains and ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from enum import Enum

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from ...process.upgrade.control_channel import Values
from ...reactors import IServerReactor
from ..host.cpu_watchdog import CpuWatchdog
from ..host.parent_death import when_parent_ends
from ..host.process_status import Status
from ..interfaces import Lifecycle, ManagedProcess
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
from ..upgrade.upgrade_events import REPORT_LIMIT, Watcher
from .heartbeat import Heartbeat, interval


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


class Worker(Lifecycle):
    """The lifecycle of a worker, from its load to its end.

    Args:
        reactor: runs everything.
        workload: the process, as far as it is directed here.
        inheritance: what the master gave it.
        pid: of this process.
        master_ends: called when the master has ended, also while the reactor hangs: in a signal
            handler or a thread. None for nothing.
        watcher: makes the reports to the master.
        timeout: seconds for which the master waits for a sign of life; 0 if it does not.
        watchdog: ends the process if the master cannot.

    Attributes:
        worker: its number among the workers.
        predecessor_resumes: always: the listeners are the master's, also when this process ends.
    """

    _log = Logger()
    is_asked_to_stop = False
    allows_rolling_restart = False
    predecessor_resumes = True
    predecessor_ends_within = 0.0
    streams = (1, 2)

    def __init__(
        self,
        reactor: IServerReactor,
        workload: ManagedProcess,
        inheritance: Inheritance,
        pid: int | None = None,
        master_ends: Callable[[], None] | None = None,
        *,
        watcher: Watcher | None = None,
        timeout: float = 0.0,
        watchdog: CpuWatchdog | None = None,
    ) -> None:
        self.number = inheritance.generation
        self.worker = inheritance.worker
        self.role = f"worker {self.worker}"
        self._workload = workload
        self._inheritance = inheritance
        self._pid = os.getpid() if pid is None else pid
        self._state = WorkerState.LOADING
        self._watcher = Watcher() if watcher is None else watcher
        self._heart = Heartbeat(reactor, self._beat, interval(timeout))
        self._watchdog = CpuWatchdog(0) if watchdog is None else watchdog
        self._acceptor = Acceptor(reactor, self._accept, lambda: self.state is WorkerState.SERVING)
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

    @property
    def state(self) -> WorkerState:
        """Where this worker is in its life."""
        return self._state

    @property
    def is_stopping(self) -> bool:
        """Whether the process stops."""
        return self.state is WorkerState.STOPPING

    def _happens(self, event: WorkerInput) -> bool:
        """Move to where an input leads; whether it leads anywhere."""
        before, self._state = self.state, TABLE[self.state].get(event, self.state)
        return self.state is not before

    # What happens to this process

    def loaded(self) -> None:
        """All that is to be served can be served."""
        self._master.ready(self._workload.listeners()).addCallback(self._may_serve)

    def _accept(self) -> None:
        self._workload.accept()
        self._heart.start()

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

    def _beat(self) -> None:
        self._watchdog.restart()
        self.report()

    def report(self) -> Deferred[None]:
        """Give the master a sign of life, with the numbers of this process."""
        report = self._watcher.report("master")
        if not 0 < len(report) <= REPORT_LIMIT:
            # The watcher has no report, or one that is too large. The sign of life must be sent all
            # the same, with what the master needs to choose a worker for a connection.
            report = Status(gauges={"connections": self._workload.connected}).encode()
        self._master.tell(Alive, status=report)
        return succeed(None)

    def retire(self, reason: str) -> None:
        """Ask the master to replace this worker.

        Args:
            reason: why; the master logs it.
        """
        self._master.tell(Retire, reason=reason)

    def service_stops(self) -> None:
        """The service is being stopped."""
        self.leave()

    def connections_arrived(self) -> Deferred[None]:
        """A Deferred that fires, in a stop, when no connection will come from the master."""
        return self._arrived

    def stopped(self, report: Mapping[str, object]) -> Deferred[None]:
        """Tell the master what the drain did.

        Returns:
            A Deferred that fires when it knows.
        """
        return self._master.ask_briefly(Drained, report=json.dumps(report))

    def drained(self, report: str, cut: int, clean: bool) -> None:
        """Give no more signs of life: the master knows that this process ends."""
        self._heart.stop()
        self._watchdog.stop()

    def send_logs_moved(self) -> None:
        """Tell the master, which tells all other processes."""
        self._master.tell(LogsMoved)

    # What the master tells us

    def _on_drain(self, gone: Collection[int] | None) -> Deferred[Values] | None:
        """Hand over what can move, and drain; fires when nothing is left."""
        if not self._happens(WorkerInput.DRAIN):
            return None
        listeners = self._workload.listeners()
        removed = [each for each in listeners if {*each.inodes} <= {*(gone or ())}]
        drained = self._workload.hand_over(self._master.carrier, removed)
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
        self._workload.skip_shutdown_delay()
        self.leave()
