"""A clock that does not jump when the system's clock is set.

Twisted's reactors keep time by ``time.time()``. When the system's clock is set forward, by NTP or
after a virtual machine was suspended, every deadline ends immediately; when it is set back, none
ends until the clock has caught up. Times for people, in logs and ``Date`` fields, do not use this
clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime


class SteadySeconds:
    """Seconds since the epoch, as the system's clock had it once, and from then on at its pace.

    Args:
        wall: the time of day.
        monotonic: seconds since some moment or other, which nobody can set.

    Attributes:
        wall: the time of day.
    """

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self.wall = wall
        self._monotonic = monotonic
        self._begin = wall() - monotonic()

    def __call__(self) -> float:
        """What time it would be if nobody had set the clock."""
        return self._begin + self._monotonic()


def keep_steady(
    reactor: Any,
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Let a reactor keep its time by a clock that nobody can set; once is enough.

    Args:
        reactor: what it is to do stays due when it was; one that does not keep time by ``wall``
            is left alone.
        wall: the time of day.
        monotonic: seconds since some moment or other.
    """
    if reactor.seconds is wall:
        reactor.seconds = SteadySeconds(wall, monotonic)
        for call in reactor.getDelayedCalls():
            call.seconds = reactor.seconds


def time_of_day(clock: IReactorTime) -> Callable[[], float]:
    """What tells the time of day where a clock keeps time: what is shown to people goes by it."""
    seconds: Callable[[], float] = clock.seconds
    told: Callable[[], float] = getattr(seconds, "wall", seconds)
    return told
