"""What is too slow."""

from __future__ import annotations

from twisted_graceful.http.data_rate import RateWatch

from ..case import SynchronousTestCase


class ProgressTests(SynchronousTestCase):
    """A count that must grow by 10 a second, and every 5 seconds."""

    def until_slow(self, progress: RateWatch, counts: list[int]) -> int | None:
        """The second in which these counts, one for each second, are too slow; None if never."""
        for second, count in enumerate(counts, 1):
            if progress.is_slow(second, count, 5, 10):
                return second
        return None

    def test_rates(self) -> None:
        """No growth, or too little on average, is slow, after the timeout."""
        self.assertEqual(self.until_slow(RateWatch(0, 0), [0] * 9), 5)
        self.assertEqual(self.until_slow(RateWatch(0, 0), [9 * n for n in range(1, 9)]), 5)
        self.assertIsNone(self.until_slow(RateWatch(0, 0), [10 * n for n in range(1, 99)]))

    def test_fast_beginning(self) -> None:
        """A fast start does not make up forever for what comes later."""
        slow = self.until_slow(RateWatch(0, 0), [10**6 + n for n in range(1, 99)])
        self.assertEqual(slow, 41)

    def test_excused(self) -> None:
        """Time in which something else was in the way does not count."""
        progress = RateWatch(0, 0)
        for second in range(1, 99):
            progress.excuse(second)
        self.assertFalse(progress.is_slow(102.9, 0, 5, 10))
        self.assertTrue(progress.is_slow(103, 0, 5, 10))
