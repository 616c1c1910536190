"""How many log lines of a kind are written, so that nothing from outside can fill the log."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime


class LogLimit:
    """Allows a number of lines of each kind in an interval, which begins with the first of them.

    Args:
        clock: keeps the time.
        lines: how many lines of a kind are allowed in an interval; 1 or more.
        seconds: the interval.
    """

    def __init__(self, clock: IReactorTime, lines: int, seconds: float) -> None:
        self._clock = clock
        self._lines = lines
        self._seconds = seconds
        self._intervals: dict[str, tuple[int, float]] = {}

    def left(self, kind: str) -> int:
        """Count a line.

        Args:
            kind: what lines are counted together; there must be few kinds.

        Returns:
            How many more are allowed, with this one; 0 if it must not be written.
        """
        now = self._clock.seconds()
        left, end = self._intervals.get(kind, (0, now))
        if now >= end:
            left, end = self._lines, now + self._seconds
        self._intervals[kind] = (max(0, left - 1), end)
        return left

    def seconds_left(self, kind: str) -> float:
        """Seconds until lines of a kind are allowed again."""
        return self._intervals[kind][1] - self._clock.seconds()
