"""Delays the restart of a process that keeps dying, exponentially."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

FIRST = 0.25
"""Seconds before the second start in a row; each further delay is twice as long."""

LONGEST = 30.0
"""Seconds of the longest delay: code that is put right meanwhile serves half a minute later."""

LONGEST_IF_READY = 2.0
"""The longest delay of a process that has been ready, since it serves for a while. A client with a
request that kills a process must not be able to keep all of them down for half a minute."""

LONGEST_IF_MISSED = FIRST
"""The longest delay if no other process serves: delays keep processors for those that serve, and
there are none. One process that is started so often takes about half of one processor."""

HEALTHY = 10.0
"""Seconds after ready; a later death counts as the first one again."""


class Backoff:
    """The delays between the starts of one process that is replaced when it dies.

    Args:
        clock: tells how long it has lived.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._deaths = 0
        self._ready_at: float | None = None

    def ready(self) -> None:
        """The process can serve."""
        self._ready_at = self._clock.seconds()

    def ended(self, is_missed: bool = False) -> float:
        """The process has died.

        Args:
            is_missed: whether no other process serves now.

        Returns:
            Seconds until the next is to be started; 0 for at once.
        """
        ready_at, self._ready_at = self._ready_at, None
        if ready_at is not None and self._clock.seconds() - ready_at >= HEALTHY:
            self._deaths = 0
        self._deaths += 1
        if self._deaths == 1:
            return 0.0
        longest = LONGEST
        if ready_at is not None:
            longest = LONGEST_IF_MISSED if is_missed else LONGEST_IF_READY
        # Bounded before the power is, which would be too large for a float one day.
        return min(longest, FIRST * 2.0 ** min(self._deaths - 2, 30))

    def reset(self) -> None:
        """Forget all deaths: the next process runs other code."""
        self._deaths = 0
        self._ready_at = None


def in_words(delay: float) -> str:
    """When a next start is, for the log."""
    return f"in {delay:g} seconds" if delay else "at once"
