"""How fast bytes must move, in either direction."""

from __future__ import annotations


class Progress:
    """Watches a count of bytes that is to grow.

    Slow is: no growth for a time, or, past that time, less than a rate on average.
    Precise to the interval between two calls.

    Args:
        now: seconds.
        count: bytes moved so far.
        ahead: bytes that are to move, if that is known.
    """

    __slots__ = ("_begun", "_first", "_goal", "_last", "_moved")

    def __init__(self, now: float, count: int, ahead: float = float("inf")) -> None:
        self._begun = self._moved = now
        self._first = self._last = count
        self._goal = count + ahead

    def done(self, count: int) -> bool:
        """Whether all that was ahead has moved: how fast more does is another question.

        Args:
            count: bytes moved so far.
        """
        return count >= self._goal

    def is_slow(self, now: float, count: int, timeout: float, rate: float) -> bool:
        """Whether the bytes move too slowly.

        Args:
            now: seconds.
            count: bytes moved so far.
            timeout: seconds; 0 means never.
            rate: bytes per second.
        """
        if count != self._last:
            self._last, self._moved = count, now
        if not timeout:
            return False
        elapsed = now - self._begun
        too_little = elapsed >= timeout and count - self._first < rate * elapsed
        return too_little or now - self._moved >= timeout
