"""The place of one worker in a pool, which outlives the processes that have it."""

from __future__ import annotations

import re

from twisted.internet.interfaces import IDelayedCall

from .backoff import Backoff
from .worker_handle import WorkerHandle

IN_FULL_AGAIN = 20
"""How many in a row may have written the same until it is said again; log files rotate."""


class WorkerSlot:
    """The place of one worker.

    Attributes:
        number: of the place, 1 or more.
        backoff: when to start the next, if the last one has died.
        worker: who has it; None while there is nobody, or only one that was wished away.
        successor: who will have it, when it is ready.
        restart: starts the next, if the last one has died.
        restarts: how often that had to be.
        ready_at: when the last one of its workers became ready, in seconds of the pool's clock.
    """

    def __init__(self, number: int, backoff: Backoff) -> None:
        self.number = number
        self.backoff = backoff
        self.worker: WorkerHandle | None = None
        self.successor: WorkerHandle | None = None
        self.restart: IDelayedCall | None = None
        self.restarts = 0
        self.ready_at = 0.0
        self._words = ""
        self._repeated = 0

    @property
    def workers(self) -> list[WorkerHandle]:
        """Both, where they are."""
        return [each for each in (self.worker, self.successor) if each is not None]

    @property
    def is_filled(self) -> bool:
        """Whether who has it can serve."""
        return self.worker is not None and self.worker.is_ready

    def is_said(self, words: str) -> bool:
        """Whether the last words of one that has died need no place in the log.

        They do not if those of the one before were the same, but for numbers, such as times.
        """
        words = re.sub(r"\d+", "0", words)
        is_same, self._words = bool(words) and words == self._words, words
        self._repeated = (self._repeated + 1) % IN_FULL_AGAIN if is_same else 0
        return self._repeated > 0

    def cancel_restart(self) -> None:
        """Start nothing here."""
        restart, self.restart = self.restart, None
        if restart is not None and restart.active():
            restart.cancel()
