"""Decides when a process has served enough requests, or uses too much memory, and is replaced.

It is asked once a second, and costs nothing per request."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

ASK_AGAIN = 60.0
"""Seconds after which it is told again, if the process is still there: its replacement failed."""


class Recycling:
    """The limits of a process: how many requests it may serve, and how much memory it may use.

    Args:
        clock: tells when to ask again.
        max_requests: how many requests it may answer; 0 for any number.
        jitter: how many more at most, by chance, so that those that were started together do not
            end together.
        max_rss: how many bytes of memory it may have (its resident set); 0 for any number.
        draw: a number between two others, both included.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        max_requests: int = 0,
        jitter: int = 0,
        max_rss: int = 0,
        draw: Callable[[int, int], int] = random.randint,
    ) -> None:
        self._clock = clock
        self._quiet_until = 0.0
        self._max_requests = max_requests and max_requests + draw(0, jitter)
        self._max_rss = max_rss
        self._is_first = True

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return bool(self._max_requests or self._max_rss)

    def reason(self, answered: int, rss: int) -> str:
        """Look at a process, for the first time when it begins to serve.

        Args:
            answered: how many requests it has answered.
            rss: bytes of its memory.

        Returns:
            Why it is to be replaced; empty if it is not, or if that was said a moment ago.
        """
        is_first, self._is_first = self._is_first, False
        if is_first and self._max_rss and rss >= self._max_rss:
            # Each of its successors would be as large, and be replaced for it, without end.
            self._log.warn(
                "max_rss ({limit}) is less than what this process has from its start ({rss}), and "
                "is ignored: give it room to grow",
                limit=in_mebibytes(self._max_rss),
                rss=in_mebibytes(rss),
            )
            self._max_rss = 0
        reason = self._reason(answered, rss)
        now = self._clock.seconds()
        if not reason or now < self._quiet_until:
            return ""
        self._quiet_until = now + ASK_AGAIN
        return reason

    def _reason(self, answered: int, rss: int) -> str:
        if self._max_requests and answered >= self._max_requests:
            return f"it has answered {answered} requests (max_requests)"
        if self._max_rss and rss >= self._max_rss:
            limit = in_mebibytes(self._max_rss)
            return f"it has {in_mebibytes(rss)} of memory, and may have {limit} (max_rss)"
        return ""


def in_mebibytes(size: int) -> str:
    """A number of bytes, for the log."""
    return f"{size / (1 << 20):.1f} MiB"
