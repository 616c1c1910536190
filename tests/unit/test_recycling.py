"""When a process is to be replaced for what it has done, or for its size."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from twisted_graceful.process.workers.recycling import ASK_AGAIN, Recycling

from ..case import SynchronousTestCase

MIB = 1 << 20


class RetirementTests(SynchronousTestCase):
    """One process."""

    def setUp(self) -> None:
        """It has just been started."""
        self.clock = Clock()

    def test_no_limit(self) -> None:
        """Without limits there is nothing to look at, and no reason."""
        retirement = Recycling(self.clock)
        self.assertFalse(retirement)
        self.assertEqual(retirement.reason(1 << 40, 1 << 40), "")

    def test_requests(self) -> None:
        """It has answered enough when it has answered so many."""
        retirement = Recycling(self.clock, max_requests=100)
        self.assertTrue(retirement)
        self.assertEqual(retirement.reason(99, MIB), "")
        self.assertIn("has answered 100 requests", retirement.reason(100, MIB))

    def test_it_is_not_said_all_the_time(self) -> None:
        """What has been said is said again when there was time enough to do something about it."""
        retirement = Recycling(self.clock, max_requests=100)
        said = []
        for _ in range(3):
            said += [bool(retirement.reason(100, 0)), bool(retirement.reason(200, 0))]
            self.clock.advance(ASK_AGAIN)
        self.assertEqual(said, [True, False] * 3)

    def test_jitter(self) -> None:
        """By chance it may answer so many more, and what was drawn is its own for good."""
        asked: list[tuple[int, int]] = []

        def draw(least: int, most: int) -> int:
            asked.append((least, most))
            return 7

        retirement = Recycling(self.clock, max_requests=100, jitter=20, draw=draw)
        self.assertEqual((retirement.reason(106, 0), retirement.reason(106, 0)), ("", ""))
        self.assertIn("107 requests", retirement.reason(107, 0))
        self.assertEqual(asked, [(0, 20)])

    def test_jitter_alone_is_no_limit(self) -> None:
        """Without a number of requests the jitter means nothing."""
        self.assertFalse(Recycling(self.clock, jitter=20, draw=lambda least, most: most))

    def test_size(self) -> None:
        """It is too large when it has so many bytes."""
        retirement = Recycling(self.clock, max_rss=100 * MIB)
        self.assertTrue(retirement)
        self.assertEqual(retirement.reason(0, 40 * MIB), "")
        self.assertEqual(
            retirement.reason(0, 100 * MIB),
            "it has 100.0 MiB of memory, and may have 100.0 MiB (max_rss)",
        )

    def test_too_large_from_the_start(self) -> None:
        """A limit under what every such process has is told and ignored: it would never end."""
        retirement = Recycling(self.clock, max_rss=10 * MIB)
        with capturedLogs() as events:
            reasons = [retirement.reason(0, size * MIB) for size in (40, 50)]
        self.assertEqual(reasons, ["", ""])
        (text,) = map(formatEvent, events)
        self.assertIn("max_rss (10.0 MiB) is less than", text)
        self.assertIn("from its start (40.0 MiB)", text)
