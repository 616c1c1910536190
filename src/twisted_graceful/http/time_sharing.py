"""Shares each turn of the reactor between the connections that have much to do."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SLICE = 0.005
"""Seconds after which a connection lets the others have their turn."""

_BUDGET = 0.02
"""Seconds of a reactor turn for all of them together: the time that any other client waits."""


class TurnScheduler:
    """Runs the work of connections within the time that a turn of the reactor has for it.

    Work that finds no time left is queued, and continued in the order in which it was queued.

    Args:
        clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queue: dict[Callable[[], None], None] = {}
        self._spent = 0.0
        self._next: IDelayedCall | None = None

    def run(self, work: Callable[[], None]) -> bool:
        """Run work now if there is time, and in a later turn if not.

        Returns:
            Whether it has run.
        """
        if self._spent >= _BUDGET or work in self._queue:
            self.queue(work)
            return False
        self._run(work)
        return True

    def queue(self, work: Callable[[], None]) -> None:
        """Run work in a later turn, after what is queued already."""
        self._queue[work] = None
        if self._next is None:
            self._next = self._clock.callLater(0, self._run_queued)

    def forget(self, work: Callable[[], None]) -> None:
        """Do not run work that is queued."""
        self._queue.pop(work, None)
        if not self._queue and self._next is not None:
            self._next.cancel()
            self._next = None
            self._spent = 0.0

    def _run_queued(self) -> None:
        self._next = None
        self._spent = 0.0
        try:
            for _ in range(len(self._queue)):
                if self._spent >= _BUDGET or not self._queue:
                    break
                work = next(iter(self._queue))
                del self._queue[work]
                self._run(work)
        finally:
            if self._queue and self._next is None:
                self._next = self._clock.callLater(0, self._run_queued)

    def _run(self, work: Callable[[], None]) -> None:
        began = self._clock.seconds()
        try:
            work()
        finally:
            self._spent += self._clock.seconds() - began
