"""How many connections each worker has, in memory that all workers share.

All accept from the same sockets, and the one that wakes first would take most. So each leaves
connections to those that have fewer; `http.io.accept_balance` says for how long. The memory is a
file without a path (memfd_create(2)), which workers inherit. It holds numbers of 32 bits: first the
number of workers that are wanted, then, by their places, what each of them wrote. Each number has
one writer. A wrong one does little harm: it delays a connection for a moment.
"""

from __future__ import annotations

import mmap
import os

from ..upgrade.inheritance import Inheritance

_SIZE = 4096
"""Bytes: of a page."""

PLACES = _SIZE // 4 - 1
"""Workers that are counted; those beyond take what comes."""

SLACK = 4
"""Connections that one may have more than another: to be even is not worth a wait for each."""


class ConnectionCounts:
    """The numbers of connections of all workers, in shared memory.

    Args:
        descriptor: of the file; it belongs to this object from now on. Negative for memory that
            nobody else sees.
    """

    def __init__(self, descriptor: int = -1) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._numbers = memoryview(self._memory).cast("I")

    @classmethod
    def create(cls) -> ConnectionCounts:
        """Memory that children can inherit, where the system has such files."""
        if not hasattr(os, "memfd_create"):
            return cls()
        descriptor = os.memfd_create("twisted-graceful-balance", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, _SIZE)
            return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size(self) -> int:
        """How many workers are wanted."""
        return self._numbers[0]

    @size.setter
    def size(self, size: int) -> None:
        self._numbers[0] = min(size, PLACES)

    def note(self, place: int, connections: int) -> None:
        """A worker has so many connections, and accepts more.

        Args:
            place: 1 or more.
            connections: 0 or more.
        """
        if place <= PLACES:
            self._numbers[place] = connections + 1

    def clear(self, place: int) -> None:
        """In this place nobody accepts."""
        if place <= PLACES:
            self._numbers[place] = 0

    @property
    def fewest(self) -> int | None:
        """The fewest connections that a worker has which accepts; None if none does."""
        numbers = self._numbers
        # A worker of a place that was given up may still write there.
        found = min(filter(None, numbers[1 : min(numbers[0], PLACES) + 1]), default=0)
        return found - 1 if found else None

    def close(self) -> None:
        """Give the memory back; others that have it keep it."""
        descriptor, self.descriptor = self.descriptor, -1
        self._numbers.release()
        self._memory.close()
        if descriptor >= 0:
            os.close(descriptor)


class WorkerBalance:
    """The connections of this process, among those of all workers.

    Args:
        counts: of all.
        place: of this worker, 1 or more.
    """

    def __init__(self, counts: ConnectionCounts, place: int) -> None:
        self._counts = counts
        self._place = place
        self._connections = 0
        self._is_accepting = False

    @property
    def workers(self) -> int:
        """How many workers the master wants; 0 if that is unknown."""
        return self._counts.size

    def begin(self) -> None:
        """This process accepts."""
        self._is_accepting = True
        self._note()

    def end(self) -> None:
        """It accepts what is queued, and no more: the place is another's, or will be."""
        self._is_accepting = False

    def entered(self) -> None:
        """A connection has begun."""
        self._connections += 1
        self._note()

    def left(self) -> None:
        """One has ended."""
        self._connections -= 1
        self._note()

    def _note(self) -> None:
        if self._is_accepting:
            self._counts.note(self._place, self._connections)

    @property
    def is_ahead(self) -> bool:
        """Whether another one that accepts has so many fewer that it should take the next."""
        fewest = self._counts.fewest if self._is_accepting else None
        # An eighth: where each has hundreds, some more or less make no difference.
        return fewest is not None and self._connections > fewest + SLACK + fewest // 8


def share_of(inheritance: Inheritance | None) -> WorkerBalance | None:
    """The share of this process, if it is a worker; the inherited memory is this share's then."""
    if inheritance is None or not inheritance.worker:
        return None
    return WorkerBalance(ConnectionCounts(inheritance.balance), inheritance.worker)
