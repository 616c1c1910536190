"""Limits the open connections; further clients wait in the kernel's backlog."""

from __future__ import annotations

import resource
import sys
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...log_limit import LogLimit
from ...timer import Timer
from .accept_balance import AcceptBalance

_RETRY = 1.0
"""Seconds until we try again what the system refused: nothing tells us when it would succeed."""

_QUIET = 60.0
"""Seconds for which a message is not logged again."""

_RELIEVED = 0.9
"""The part of the limit at which it is no longer reached; lower, so that it is not logged all the
time."""


class LimitedPort(Protocol):
    """What the limit asks of a port."""

    def startReading(self) -> None:
        """Accept connections."""

    def stopReading(self) -> None:
        """Accept no connections."""


def limit_of_descriptors() -> int:
    """How many connections the descriptors of this process are enough for.

    Three quarters of the soft RLIMIT_NOFILE. The rest is for listeners, logs and upgrades, some
    twenty, and for what applications open: every third connection may have a file of its own, such
    as a spooled body, a file that is sent, or the socket of a database.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft * 3 // 4)


class ConnectionLimit:
    """Limits the open connections of one or more ports together.

    Args:
        clock: says when to try again, and when to log again.
        limit: how many connections may be open; 0 for as many as the descriptors of this
            process are enough for, which is looked up whenever one is accepted.
        balance: counts the connections among those of all processes that accept from the same
            sockets; None if no other process does.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, limit: int = 0, balance: AcceptBalance | None = None
    ) -> None:
        self._clock = clock
        self.balance = balance
        self._limit = limit
        self._taken = 0
        self._waiting: dict[LimitedPort, None] = {}
        self._retry = Timer(clock)
        self._warnings = LogLimit(clock, 1, _QUIET)
        self._is_full = False

    @property
    def limit(self) -> int:
        """How many connections may be open."""
        return self._limit or limit_of_descriptors()

    def check(self) -> None:
        """Warn of a limit for which there are not enough descriptors."""
        if self._limit > limit_of_descriptors():
            self._log.warn(
                "max_connections is {limit}, for which RLIMIT_NOFILE should be {descriptors}; "
                "it is {soft} (`ulimit -n`, systemd's LimitNOFILE)",
                limit=self._limit,
                descriptors=-(-self._limit * 4 // 3),
                soft=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )

    @property
    def free(self) -> int:
        """How many more connections may be opened."""
        return max(0, self.limit - self._taken)

    @property
    def is_waited_for(self) -> bool:
        """Whether a connection is in a backlog that may not be accepted."""
        return bool(self._waiting)

    def enter(self) -> None:
        """A connection has begun."""
        self._taken += 1
        if self.balance is not None:
            self.balance.entered()

    def leave(self) -> None:
        """A connection has ended."""
        self._taken -= 1
        if self.balance is not None:
            self.balance.left()
        if self._waiting:
            self._wake()
        if self._is_full and self._taken <= self.limit * _RELIEVED:
            self._is_full = False
            self._log.info("{taken} connections are open: there is room again", taken=self._taken)

    def wait(self, port: LimitedPort, error: OSError | None = None) -> None:
        """Let a port accept nothing until a connection ends.

        Args:
            port: the port.
            error: the error of the system, if it is the system that refused a connection.
        """
        self._waiting[port] = None
        port.stopReading()
        if error is not None:
            if not self._retry.is_running:
                self._retry.start(_RETRY, self._wake)
            self._warn(
                "No connection can be accepted: {error}. Trying again; the kernel queues them. "
                "RLIMIT_NOFILE is {descriptors} (`ulimit -n`, systemd's LimitNOFILE)",
                error=error.strerror,
                descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )
        elif not self._is_full:
            self._is_full = self._warn(
                "{limit} connections are open, as many as {reason}: "
                "the kernel queues the next until one ends",
                limit=self.limit,
                reason="max_connections allows"
                if self._limit
                else "three quarters of RLIMIT_NOFILE (`ulimit -n`, systemd's LimitNOFILE)",
            )

    def __contains__(self, port: LimitedPort) -> bool:
        """Whether a port waits."""
        return port in self._waiting

    def forget(self, port: LimitedPort) -> None:
        """A port has been closed."""
        self._waiting.pop(port, None)
        if not self._waiting:
            self._retry.cancel()

    def _wake(self) -> None:
        self._retry.cancel()
        waiting, self._waiting = self._waiting, {}
        for port in waiting:
            port.startReading()

    def _warn(self, text: str, **values: object) -> bool:
        """Log a warning, unless the same one was logged a short time ago; whether it was."""
        is_due = self._warnings.left(text) > 0
        if is_due:
            self._log.warn(text, **values)
        return is_due
