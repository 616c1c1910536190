"""A worker, as its master sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Protocol

from twisted.internet.defer import Deferred

from ...handover_interface import Carrier, Recipient
from ...process.upgrade.control_channel import Values
from ...reactors import IServerReactor
from ...timer import Timer
from ..listeners.listener import Listener
from ..upgrade.child import Child
from ..upgrade.launch import Launch
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
from .heartbeat import HeartbeatWatch

ACCEPTS_WITHIN = 5.0
"""Seconds until a worker that was told to accept is not waited for any more."""


class WorkerObserver(Protocol):
    """Observes the workers of a pool."""

    def worker_ready(self, worker: WorkerHandle) -> None:
        """A worker can serve, and waits for `accept`."""

    def worker_reported(self, worker: WorkerHandle, report: str) -> None:
        """A worker has sent its numbers, for `Status.decode`."""

    def worker_retires(self, worker: WorkerHandle, reason: str) -> None:
        """A worker asks to be replaced."""

    def worker_stopping(self, worker: WorkerHandle) -> None:
        """A worker was told to stop, but not by its master."""

    def worker_channel_broken(self, worker: WorkerHandle, reason: str) -> None:
        """A worker has lost its control channel, and was sent SIGTERM."""

    def worker_ended(self, worker: WorkerHandle, reason: str, output: str) -> None:
        """A worker has ended and is reaped; see `ChildObserver.child_ended`."""

    def logs_moved(self) -> None:
        """A worker was told that the log files have been moved."""


class WorkerPhase(Enum):
    """The phase of a worker, by what its master has told it and what it has reported."""

    STARTING = "starting"
    READY = "ready"  # it can serve, and may not yet
    SERVING = "serving"
    DRAINING = "draining"  # or drained; it may have to serve again
    LEAVING = "leaving"


class WorkerHandle:
    """The master's handle of one worker process.

    Args:
        reactor: starts it and keeps the time.
        number: its place among the others, 1 or more; its replacement has the same.
        observer: is told.
        recipient: takes the connections up that it hands over.
        timeout: seconds it may take until it is ready.
        silence: seconds without a sign of life after which it is ended; 0 for any time.
        code: how many rolling restarts have begun so far, which says what code it runs.

    Attributes:
        pid: of the process; 0 before its start.
        started: when, in the seconds of the reactor.
        phase: what it does.
        connections: how many it has, as far as is known here.
        is_ready: whether it has been loaded.
        report: what its drain did, in its own words; empty until it has said so.
        code: as given.
        retires: whether another one is to take its place.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        number: int,
        observer: WorkerObserver,
        recipient: Recipient,
        timeout: float,
        silence: float = 0.0,
        code: int = 0,
    ) -> None:
        self.number = number
        self.pid = 0
        self.started = 0.0
        self.phase = WorkerPhase.STARTING
        self.connections = 0
        self.is_ready = False
        self.report = ""
        self.code = code
        self.retires = False
        self._reactor = reactor
        self._observer = observer
        self._child = Child(
            reactor,
            self,
            timeout,
            {
                LogsMoved: observer.logs_moved,
                Alive: self._on_alive,
                Drained: self._on_drained,
                Retire: self._on_retire,
            },
            recipient,
        )
        self._silence = silence
        self._silent = f"its reactor stood still for {silence:g} seconds"
        self._watch = HeartbeatWatch(reactor, silence, self._is_silent)
        self._permission: Deferred[Values] | None = None
        self._deadline = Timer(reactor)

    @property
    def carrier(self) -> Carrier:
        """What brings connections to it."""
        return self._child.carrier

    @property
    def has_failed(self) -> bool:
        """Whether it has ended, and not with status 0."""
        return self._child.has_failed

    def start(
        self,
        launch: Launch,
        generation: int,
        listeners: Sequence[Listener],
        streams: tuple[int, int],
        memory: Mapping[str, int],
    ) -> None:
        """Start the process; the arguments are those of `Child`.

        Raises:
            OSError: it could not be started. Nothing is left behind.
        """
        self.started = self._reactor.seconds()
        self.pid = self._child.start(launch, generation, listeners, self.number, streams, memory)

    # What it is to do

    def accept(self) -> Deferred[None]:
        """Accept connections, for the first time or again.

        Returns:
            A Deferred that fires when it does, has ended, or does not answer for a while.
        """
        self.phase = WorkerPhase.SERVING
        permission, self._permission = self._permission, None
        if permission is not None:
            permission.callback({})
        # Of one that has just been permitted to, it is answered when it does.
        return self._child.ask(Resume).addTimeout(ACCEPTS_WITHIN, self._reactor)

    def drain(self, within: float, removed: Iterable[Listener] = ()) -> Deferred[None]:
        """Stop accepting, hand over what can move, and stand by.

        Args:
            within: seconds that are waited for that.
            removed: listeners that it is to close.

        Returns:
            A Deferred that fires when nothing is left, it has ended, or the time is over.
        """
        self.phase = WorkerPhase.DRAINING
        inodes = [number for each in removed for number in each.inodes]
        return self._child.ask(Drain, gone=inodes).addTimeout(within, self._reactor)

    def hand_over_and_leave(self, within: float) -> None:
        """Drain while others go on with its connections, and then end; as `leave` otherwise."""
        if self.is_ready:
            self.phase = WorkerPhase.LEAVING
            self._abort_after(within)
            self._child.ask(Drain).addCallback(lambda _: self._child.tell(Leave))
        else:
            self.leave(within)

    def leave(self, within: float) -> None:
        """Drain, and end.

        Args:
            within: seconds after which it is ended, and leaves its stacks.
        """
        self.phase = WorkerPhase.LEAVING
        if self.is_ready:
            self._abort_after(within)
            self._child.tell(Leave)
        else:
            self._child.end("this process does not need it any more")

    def cut(self, within: float) -> None:
        """End, with what is still being answered.

        Args:
            within: seconds after which it is ended, and leaves its stacks.
        """
        self.phase = WorkerPhase.LEAVING
        if self.is_ready:
            self._abort_after(within)
            self._child.tell(CutShort)
        else:
            self._child.kill()

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        self._child.kill()

    def send_logs_moved(self) -> None:
        """Tell it that the log files have been moved."""
        self._child.tell(LogsMoved)

    # What it tells us

    def child_ready(self) -> Deferred[Values]:
        """It can serve."""
        permission = self._permission = Deferred()
        self.is_ready = True
        if self.phase is WorkerPhase.STARTING:
            self.phase = WorkerPhase.READY
        self._observer.worker_ready(self)
        return permission

    def child_stopping(self) -> None:
        """It was told to stop."""
        self._observer.worker_stopping(self)

    def _on_alive(self, status: str) -> None:
        if self.is_ready:  # while it loads it is the upgrade timeout that ends it
            self._watch.alive()
        self._observer.worker_reported(self, status)

    def _on_drained(self, report: str) -> None:
        self.report = report

    def _on_retire(self, reason: str) -> None:
        self._observer.worker_retires(self, reason)

    def child_channel_broken(self, reason: str) -> None:
        """It has broken the channel: it cannot be told anything, and its heartbeats are lost."""
        if self.report:
            self._watch.stop()  # it ends, and may take its time
            return
        # The watch goes on: with the channel it may have closed all that its reactor needs.
        self._silent = f"{reason}, and did not end within {self._silence:g} seconds"
        self._child.stop()
        self._observer.worker_channel_broken(self, reason)

    def child_ended(self, reason: str, output: str) -> None:
        """It has ended."""
        self._deadline.cancel()
        self._watch.stop()
        self._observer.worker_ended(self, reason, output)

    def _is_silent(self) -> None:
        self._child.abort(f"{self._silent} (worker_timeout), and it was ended")

    def _abort_after(self, seconds: float) -> None:
        self._deadline.start(
            seconds,
            self._child.abort,
            f"it did not end within {seconds:g} seconds when it was told to, and was ended",
        )
