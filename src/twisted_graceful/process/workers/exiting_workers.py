"""The workers of a pool that have left their slots, and have not ended yet."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred

from .worker_handle import WorkerHandle


class ExitingWorkers:
    """Workers that drain and exit, or are about to.

    Args:
        patience: seconds that a worker may take to exit when it is told to.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._workers: set[WorkerHandle] = set()
        self._waiting: list[Deferred[None]] = []

    def __iter__(self) -> Iterator[WorkerHandle]:
        """All of them."""
        return iter(list(self._workers))

    def __contains__(self, worker: WorkerHandle) -> bool:
        """Whether it is one of them."""
        return worker in self._workers

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._workers)

    def add(self, worker: WorkerHandle) -> None:
        """Note a worker that is told to exit later."""
        self._workers.add(worker)

    def tell(self, worker: WorkerHandle, others_serve: bool) -> None:
        """Tell a worker to exit, unless it has ended.

        Args:
            worker: one of them.
            others_serve: whether other workers take its connections.
        """
        if worker not in self._workers:
            return
        if others_serve:
            worker.hand_over_and_leave(self._patience)
        else:
            worker.leave(self._patience)

    def ended(self, worker: WorkerHandle) -> None:
        """A worker has ended, maybe one of them."""
        self._workers.discard(worker)
        self._check()

    def when_ended(self) -> Deferred[None]:
        """A Deferred that fires when there are none."""
        ended: Deferred[None] = Deferred()
        self._waiting.append(ended)
        self._check()
        return ended

    def _check(self) -> None:
        if not self._workers:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)
