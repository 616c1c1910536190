"""Fairness among processes that accept from the same sockets.

A connection wakes all of them. The one that wakes first would take a whole burst, and one with many
idle clients as many new ones as another with none; with EPOLLEXCLUSIVE the kernel would wake the
same one most of the time. So a process that is ahead pauses for a moment. That costs nothing under
load that the others have no time for, and a process that has died or hangs delays nobody by more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ...timer import Timer

PAUSE = 0.001
"""Seconds for which connections are left to processes that have fewer."""

_RECENT = 0.05
"""Seconds after a pause for which it counts; more than a turn of a busy reactor takes."""

_LARGEST = 64
"""Connections that are accepted at most between two pauses."""


class AcceptBalance(Protocol):
    """The connections of this process, where several accept from the same sockets."""

    @property
    def workers(self) -> int:
        """How many processes accept; 0 if that is unknown."""

    def entered(self) -> None:
        """A connection has begun."""

    def left(self) -> None:
        """A connection has ended."""

    @property
    def is_ahead(self) -> bool:
        """Whether another process has so many fewer that it should have the next."""


class AcceptPacer:
    """Makes a port of a process that is ahead of the others pause, so that they can accept.

    Nobody else has time for connections that are still in the backlog after a pause. So one of them
    is accepted, two after the next pause, then four, as long as the burst goes on.

    Args:
        clock: keeps the time.
        pause: called when the port is to stop accepting.
        resume: called when it is to go on.
    """

    def __init__(
        self, clock: IReactorTime, pause: Callable[[], None], resume: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._resume = resume
        self._end = Timer(clock)
        self._paused_until = float("-inf")
        self._grant = 1
        self._granted = 0  # what may still be accepted after the last pause

    def must_pause(self) -> bool:
        """Whether this process, which is ahead, leaves the next connection to others.

        If so the port has been paused.
        """
        has_paused = self._clock.seconds() - self._paused_until < _RECENT
        if self._granted and has_paused:
            self._granted -= 1
            return False
        self._grant = min(2 * self._grant, _LARGEST) if has_paused else 1
        self._pause()
        self._end.start(PAUSE, self._go_on)
        return True

    def _go_on(self) -> None:
        self._paused_until = self._clock.seconds()
        self._granted = self._grant
        self._resume()

    def burst_over(self) -> None:
        """The backlog is empty."""
        self._granted = 0

    def stop(self) -> None:
        """The port is closed: do not resume it."""
        self._end.cancel()
