"""The phases in which this process ends; each has a deadline, which signals shorten.

=================================== ==============================================================
phase                               deadline
=================================== ==============================================================
told to stop, until the services    the deadlines of all parts of a stop, and `SLACK`
have stopped
then, until the reactor has ended:  what is left of the drain timeout, but at least `GRACE`
its thread pool, other triggers
the program goes on after the       none: that is the program's own time
reactor
the program is over: threads,       as for the thread pool
executors, children, exit handlers
told to stop again, or by QUIT      less than a second
=================================== ==============================================================
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorCore

from .exit_deadline import GRACE, ExitDeadline, at_interpreter_exit


class ExitPhases:
    """Sets the deadline of each phase.

    Args:
        reactor: whose shutdown is the end of the process.
        takes: the seconds that a stop may take by its own deadlines.
        patience: the seconds of these that unfinished work has: a request or a thread.
        deadline: what ends the process.
        clock: the time in seconds; never set.

    Attributes:
        has_begun: whether the reactor stops, or has stopped.
    """

    def __init__(
        self,
        reactor: IReactorCore,
        takes: Callable[[], float],
        patience: Callable[[], float],
        deadline: ExitDeadline,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reactor = reactor
        self._takes = takes
        self._patience = patience
        self._deadline = deadline
        self._clock = clock
        self._until = 0.0
        self._drains_since: float | None = None
        self._trigger: object = None
        self._is_stop_requested = False
        self._is_stopped = False
        self.has_begun = False

    def watch(self) -> None:
        """Notice the end of the reactor, whatever stops it."""
        self._deadline.adopt()
        self._trigger = self._reactor.addSystemEventTrigger(
            "before", "shutdown", self._reactor_stops
        )

    def stop_requested(self, number: int) -> bool:
        """A signal tells this process to stop. Called within the handler.

        Returns:
            Whether a further one is to be handled; if not, the kernel's default ends the process.
        """
        is_first, self._is_stop_requested = not self._is_stop_requested, True
        if number == signal.SIGQUIT or not is_first:
            self._deadline.at_once()
            return False
        if not self._is_stopped:
            self._begin()
        return True

    def drains(self, now: bool) -> None:
        """This process has begun to drain without having been told to stop; or it accepts again."""
        self._drains_since = self._clock() if now else None

    def disarm(self) -> None:
        """The service has stopped, and the process goes on without it."""
        self._deadline.cancel()
        if self._trigger is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
        self._trigger = None
        self._is_stop_requested = self._is_stopped = False

    def stopped(self) -> None:
        """All services have stopped. Nothing has asked what still runs to stop."""
        self._is_stopped = True
        self._limit_rest("its services had stopped")

    def must_stop_within(self, seconds: float, since: str) -> None:
        """End this process unless its reactor begins to stop it by then.

        Args:
            seconds: from now.
            since: what happens now, for the log.
        """
        if not self.has_begun:
            self._deadline.within(min(seconds, self._takes()), since)
            if self.has_begun:  # meanwhile: this may be another thread
                self._begin()

    def _begin(self) -> None:
        drained_for = 0.0 if self._drains_since is None else self._clock() - self._drains_since
        self._until = self._clock() + self._patience() - drained_for
        self._deadline.within(self._takes(), "it was told to stop")

    def _limit_rest(self, since: str) -> None:
        left = self._until - self._clock()
        self._deadline.within(max(left, GRACE), since)

    def _reactor_stops(self) -> None:
        self.has_begun = True
        self._trigger = None
        self._begin()
        # Added now, so it comes after all others.
        self._reactor.addSystemEventTrigger("after", "shutdown", self._reactor_ended)

    def _reactor_ended(self) -> None:
        self._is_stopped = True
        if at_interpreter_exit(self._program_over):
            self._deadline.pause()
            self._deadline.prepare()

    def _program_over(self) -> None:
        self._limit_rest("the end of its main program")
