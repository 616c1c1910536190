"""Tells whether SIGHUP means that the terminal of this process was closed.

A terminal that closes sends HUP to the processes in it, directly or through their shell. They have
no controlling terminal any more, some before and some after the signal (setsid(2), tty(4)).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater

INTERVAL = 1.0
"""Seconds between two looks, and for which HUP waits while the terminal is still there: zsh sends
it to its jobs before it exits."""

REMEMBERED = 3.0
"""Seconds for which a HUP is believed to come from a terminal that has been closed. A process that
was left in the background by a shell that has exited is sent HUP by its operator, later."""


def is_there() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class ControllingTerminal:
    """The terminal in which this process was started, if any.

    Args:
        clock: keeps the time.
        is_there: whether there is one now.
    """

    def __init__(self, clock: IReactorTime, is_there: Callable[[], bool] = is_there) -> None:
        self._clock = clock
        self._is_there = is_there
        self._seen: float | None = None  # when it was there for the last time
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to look; without a terminal nothing is done, and a HUP is never a hang-up."""
        if self._is_there() and not self._loop.running:
            self._seen = self._clock.seconds()
            self._loop.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Stop looking."""
        self._seen = None
        if self._loop.running:
            self._loop.stop()

    async def has_closed(self) -> bool:
        """Whether a HUP that has just come is a hang-up; known at once where there is no terminal.

        Returns:
            Whether there was a terminal a moment ago, and is none now or in a moment.
        """
        if self._seen is None:
            return False
        if self._is_there():
            waited: Deferred[None] = deferLater(self._clock, INTERVAL)
            await waited
        return not self._is_there()

    def _look(self) -> None:
        if self._is_there():
            self._seen = self._clock.seconds()
        elif self._seen is not None and self._clock.seconds() - self._seen > REMEMBERED:
            self.stop()
