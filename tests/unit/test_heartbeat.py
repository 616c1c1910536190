"""Signs of life, sent and missed."""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_graceful.process.workers.heartbeat import Heartbeat, HeartbeatWatch, interval

from ..case import SynchronousTestCase


class HeartbeatTests(SynchronousTestCase):
    """Who sends."""

    def setUp(self) -> None:
        """A heart that counts."""
        self.clock = Clock()
        self.beats: list[float] = []
        self.heart = Heartbeat(self.clock, lambda: self.beats.append(self.clock.seconds()), 2)

    def test_at_once_and_at_an_interval(self) -> None:
        """It beats when it is started, and then at its interval."""
        self.heart.start()
        self.heart.start()
        self.clock.pump([1] * 5)
        self.assertEqual(self.beats, [0, 2, 4])

    def test_a_stop_ends_it(self) -> None:
        """When it is stopped nothing waits for a time."""
        self.heart.start()
        self.heart.stop()
        self.heart.stop()
        self.assertEqual((self.beats, self.clock.getDelayedCalls()), ([0], []))

    def test_a_failure_does_not_end_it(self) -> None:
        """A beat that fails is logged once until one succeeds, and the next one comes."""
        tried: list[float] = []

        def fails() -> None:
            tried.append(self.clock.seconds())
            if len(tried) != 3:
                raise RuntimeError("no number")

        Heartbeat(self.clock, fails, 1).start()
        self.clock.pump([1, 1, 1])
        self.assertEqual(tried, [0, 1, 2, 3])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_the_interval_fits_the_timeout(self) -> None:
        """A second, and less for a parent that waits for less than ten."""
        self.assertEqual([interval(each) for each in (0, 30, 10, 1)], [1, 1, 1, 0.1])


class WatchTests(SynchronousTestCase):
    """Who waits, for ten seconds."""

    def setUp(self) -> None:
        """Nothing has been missed."""
        self.clock = Clock()
        self.late: list[float] = []
        self.watch = HeartbeatWatch(self.clock, 10, lambda: self.late.append(self.clock.seconds()))

    def run_for(self, seconds: int) -> None:
        """Let the reactor run, never blocked."""
        self.clock.pump([0.5] * seconds * 2)

    def test_silence_is_noticed(self) -> None:
        """It is told once, not before the time, and soon after it."""
        self.watch.alive()
        self.run_for(60)
        self.assertEqual(self.late, [11])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_signs_of_life(self) -> None:
        """Who gives a sign in time is not late, and the time begins anew with each."""
        for _ in range(10):
            self.watch.alive()
            self.run_for(10)
        self.assertEqual(self.late, [])
        self.run_for(1)
        self.assertEqual(len(self.late), 1)

    def test_it_begins_with_the_first_sign(self) -> None:
        """A process that never gives a sign is not waited for: its version may know none."""
        self.run_for(60)
        self.assertEqual((self.late, self.clock.getDelayedCalls()), ([], []))

    def test_a_stop_ends_it(self) -> None:
        """When it is stopped nothing waits for a time."""
        self.watch.alive()
        self.watch.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_timeout(self) -> None:
        """With 0 nothing is waited for."""
        HeartbeatWatch(self.clock, 0, lambda: self.late.append(0)).alive()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_our_own_sleep_is_not_that_of_others(self) -> None:
        """After an hour in which this process did not run there is time to read what has come."""
        self.watch.alive()
        self.clock.advance(3600)
        self.assertEqual(self.late, [])
        self.watch.alive()
        self.run_for(9)
        self.assertEqual(self.late, [])
