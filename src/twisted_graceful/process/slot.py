"""The place of one worker in a pool, which outlives the processes that have it."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall

from .backoff import Backoff
from .worker import Worker


class Slot:
    """The place of one worker.

    Attributes:
        number: of the place, 1 or more.
        backoff: when to start the next, if the last one has died.
        worker: who has it; None while there is nobody, or only one that was wished away.
        successor: who will have it, when it is ready.
        restart: starts the next, if the last one has died.
        restarts: how often that had to be.
    """

    def __init__(self, number: int, backoff: Backoff) -> None:
        self.number = number
        self.backoff = backoff
        self.worker: Worker | None = None
        self.successor: Worker | None = None
        self.restart: IDelayedCall | None = None
        self.restarts = 0

    @property
    def workers(self) -> list[Worker]:
        """Both, where they are."""
        return [each for each in (self.worker, self.successor) if each is not None]

    @property
    def is_filled(self) -> bool:
        """Whether who has it can serve."""
        return self.worker is not None and self.worker.is_ready

    def cancel_restart(self) -> None:
        """Start nothing here."""
        restart, self.restart = self.restart, None
        if restart is not None and restart.active():
            restart.cancel()
