"""Heartbeats, which a process sends from its reactor, and the parent's watch over them.

A process whose reactor is blocked still has its sockets, so the kernel queues clients for it that
get no response. It sends no heartbeats, and the parent ends it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

INTERVAL = 1.0
"""Seconds between two signs of life; the numbers that come with them are as old as that."""

_LOOKS = 10
"""How often a parent looks in the time that it waits for a sign."""


def interval(timeout: float) -> float:
    """Seconds between two signs of life for a parent that waits so long for one.

    Args:
        timeout: seconds; 0 if it does not wait.
    """
    return min(INTERVAL, timeout / _LOOKS) or INTERVAL


class Heartbeat:
    """Calls a function immediately, and then at an interval.

    Args:
        clock: calls it.
        beat: what is done. If it fails, that is logged, once until it succeeds again, and it is
            repeated all the same.
        seconds: the interval.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, beat: Callable[[], object], seconds: float = INTERVAL
    ) -> None:
        self._beat = beat
        self._seconds = seconds
        self._has_failed = False
        self._loop = LoopingCall(self._once)
        self._loop.clock = clock

    def start(self, now: bool = True) -> None:
        """Begin; if it has begun, nothing changes.

        Args:
            now: whether to do it at once, or after one interval.
        """
        if not self._loop.running:
            self._loop.start(self._seconds, now)

    def stop(self) -> None:
        """End; it can be started again."""
        if self._loop.running:
            self._loop.stop()

    def _once(self) -> None:
        try:
            self._beat()
        except Exception:
            # With the loop the signs of life would end, and with those the process.
            if not self._has_failed:
                self._log.failure("A heartbeat failed; the next one comes all the same")
            self._has_failed = True
        else:
            self._has_failed = False


class HeartbeatWatch:
    """Waits for the heartbeats of a process, and reports that none has come for too long.

    It does not measure time, but looks ten times within the timeout and counts the looks. After the
    parent itself was stopped or suspended, its timers are due before it reads the heartbeats that
    came meanwhile, and that must not look like the death of its children.

    Args:
        clock: keeps the time.
        timeout: seconds without a sign, of which it may take a tenth more; 0 for any time.
        late: is called then, once.
    """

    def __init__(self, clock: IReactorTime, timeout: float, late: Callable[[], object]) -> None:
        self._timeout = timeout
        self._late = late
        self._missed = 0
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def alive(self) -> None:
        """A sign of life has come. The first one begins the watch: some processes give none."""
        self._missed = 0
        if self._timeout and not self._loop.running:
            self._loop.start(self._timeout / _LOOKS, now=False)

    def stop(self) -> None:
        """Watch no more."""
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> None:
        self._missed += 1
        if self._missed > _LOOKS:
            self._loop.stop()
            self._late()
