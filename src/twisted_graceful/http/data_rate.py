"""Detects peers that send or receive too slowly."""

from __future__ import annotations

_PERIODS = 4
"""The average is taken over this many timeouts at least, and over twice as many at most."""


class RateWatch:
    """Watches a count of bytes that is to grow.

    Slow is: no growth for a time, or, past that time, less than a rate on average. The average is
    of the recent past, so that a fast start does not make up forever for what comes later.
    Precise to the interval between two calls.

    Args:
        now: seconds.
        count: bytes moved so far.
        ahead: bytes that are to move, if that is known.
    """

    __slots__ = ("_begun", "_first", "_goal", "_last", "_looked", "_middle", "_moved", "_next")

    def __init__(self, now: float, count: int, ahead: float = float("inf")) -> None:
        self._begun = self._middle = self._moved = self._looked = now
        self._first = self._next = self._last = count
        self._goal = count + ahead

    def done(self, count: int) -> bool:
        """Whether all that was ahead has moved: how fast more does is another question.

        Args:
            count: bytes moved so far.
        """
        return count >= self._goal

    def excuse(self, now: float) -> None:
        """Do not count the time since the last call: something else was in the way.

        Args:
            now: seconds.
        """
        passed = now - self._looked
        self._begun += passed
        self._middle += passed
        self._moved += passed
        self._looked = now

    def is_slow(self, now: float, count: int, timeout: float, rate: float) -> bool:
        """Whether the bytes move too slowly.

        Args:
            now: seconds.
            count: bytes moved so far.
            timeout: seconds; 0 means never.
            rate: bytes per second.
        """
        self._looked = now
        if count != self._last:
            self._last, self._moved = count, now
        if not timeout:
            return False
        elapsed = now - self._begun
        too_little = elapsed >= timeout and count - self._first < rate * elapsed
        if now - self._middle >= _PERIODS * timeout:
            self._begun, self._first = self._middle, self._next
            self._middle, self._next = now, count
        return too_little or now - self._moved >= timeout
