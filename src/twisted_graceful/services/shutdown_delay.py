"""The time between the announcement of a stop and the drain."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..timer import Timer


class ShutdownDelay:
    """A delay that several callers wait for, and that can be ended early.

    Args:
        clock: keeps the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._timer = Timer(clock)
        self._waiting: list[Deferred[None]] = []

    @property
    def has_begun(self) -> bool:
        """Whether something waits."""
        return self._timer.is_running

    def wait(self, seconds: float) -> Deferred[None]:
        """Wait; if the delay has begun before, as long as was said then.

        Returns:
            A Deferred that fires when the delay is over, or was ended.
        """
        if not self._timer.is_running:
            self._timer.start(seconds, self._over)
        waits: Deferred[None] = Deferred()
        self._waiting.append(waits)
        return waits

    def end(self) -> None:
        """End it now."""
        if self._timer.is_running:
            self._timer.cancel()
            self._over()

    def _over(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
