"""What workers know of each other's connections."""

from __future__ import annotations

import os

from twisted_graceful.process.upgrade.inheritance import Inheritance
from twisted_graceful.process.workers.balance import (
    PLACES,
    SLACK,
    ConnectionCounts,
    WorkerBalance,
    share_of,
)

from ..case import SynchronousTestCase
from .support import leaves_nothing_open


class ShareTests(SynchronousTestCase):
    """Workers of one master, each with memory of its own that shows the same."""

    def setUp(self) -> None:
        """Three workers that accept, and one that does not yet."""
        self.counts = ConnectionCounts.create()
        self.addCleanup(self.counts.close)
        self.counts.size = 4
        self.shares = [self.share(place) for place in (1, 2, 3, 4)]
        for each in self.shares[:3]:
            each.begin()

    def share(self, place: int) -> WorkerBalance:
        """That of a worker, which has inherited the memory."""
        counts = ConnectionCounts(os.dup(self.counts.descriptor))
        self.addCleanup(counts.close)
        return WorkerBalance(counts, place)

    def fill(self, place: int, connections: int) -> None:
        """Let a worker have so many more."""
        for _ in range(connections):
            self.shares[place - 1].entered()

    def ahead(self) -> list[int]:
        """The places of those that leave the next connection to others."""
        return [place for place, each in enumerate(self.shares, 1) if each.is_ahead]

    def test_some_more_are_no_matter(self) -> None:
        """Who has a few more than another takes what comes, and with one more it does not."""
        self.fill(1, SLACK)
        self.assertEqual(self.ahead(), [])
        self.fill(1, 1)
        self.assertEqual(self.ahead(), [1])
        self.shares[0].left()
        self.assertEqual(self.ahead(), [])

    def test_of_many_an_eighth(self) -> None:
        """Where all have hundreds an eighth more is no matter either."""
        for place in (1, 2, 3):
            self.fill(place, 800)
        self.fill(1, 100 + SLACK)
        self.assertEqual(self.ahead(), [])
        self.fill(1, 1)
        self.assertEqual(self.ahead(), [1])

    def test_who_does_not_accept(self) -> None:
        """A worker that loads, has died, or stands in a place that was given up is not waited for.

        One that accepts what is queued when it ends leaves that to nobody.
        """
        for place in (1, 2, 3):
            self.fill(place, 50)
        self.assertEqual(self.ahead(), [])
        self.shares[3].begin()
        self.assertEqual(self.ahead(), [1, 2, 3])
        self.shares[2].end()
        self.assertEqual(self.ahead(), [1, 2])
        self.counts.clear(4)
        self.assertEqual(self.ahead(), [])
        self.shares[3].entered()
        self.counts.size = 3
        self.assertEqual(self.ahead(), [])

    def test_the_next_of_a_place(self) -> None:
        """A worker that drains does not write over what its replacement has."""
        self.fill(1, 50)
        self.shares[0].end()
        self.share(1).begin()
        self.shares[0].left()
        self.assertEqual(self.counts.fewest, 0)

    def test_again(self) -> None:
        """Who accepts again after a drain has what it has then."""
        self.fill(1, 3)
        self.shares[0].end()
        self.shares[0].left()
        self.counts.size = 1
        self.shares[0].begin()
        self.assertEqual(self.counts.fewest, 2)

    def test_more_than_there_are_places(self) -> None:
        """Workers that find no place in the memory take what comes."""
        self.counts.size = PLACES + 5
        last = self.share(PLACES + 5)
        last.begin()
        for _ in range(SLACK + 1):
            last.entered()
        self.counts.clear(PLACES + 5)
        self.assertEqual(self.counts.size, PLACES)
        self.assertTrue(last.is_ahead)


class InheritedTests(SynchronousTestCase):
    """What comes from the master."""

    def test_workers_only(self) -> None:
        """Whoever is no worker has no share."""
        self.assertIsNone(share_of(None))
        self.assertIsNone(share_of(Inheritance(1, 3, 4, 5)))

    def test_no_memory(self) -> None:
        """A worker whose master has no such memory takes what comes."""
        with leaves_nothing_open(self):
            share = share_of(Inheritance(0, 3, 4, 5, worker=1))
            assert share is not None
            share.begin()
            for _ in range(SLACK + 1):
                share.entered()
            self.assertFalse(share.is_ahead)

    def test_nothing_stays_open(self) -> None:
        """Closed memory has no descriptors; and those are not inherited by chance."""
        with leaves_nothing_open(self):
            counts = ConnectionCounts.create()
            self.assertFalse(os.get_inheritable(counts.descriptor))
            counts.close()
