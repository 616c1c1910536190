"""The time between the announcement of a stop and the drain."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class ShutdownDelay:
    """A delay that several callers wait for, and that can be ended early.

    Args:
        clock: keeps the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    @property
    def has_begun(self) -> bool:
        """Whether something waits."""
        return self._call is not None

    def wait(self, seconds: float) -> Deferred[None]:
        """Wait; if the delay has begun before, as long as was said then.

        Returns:
            A Deferred that fires when the delay is over, or was ended.
        """
        if self._call is None:
            self._call = self._clock.callLater(seconds, self._over)
        waits: Deferred[None] = Deferred()
        self._waiting.append(waits)
        return waits

    def end(self) -> None:
        """End it now."""
        if self._call is not None:
            self._call.cancel()
            self._over()

    def _over(self) -> None:
        self._call = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
