"""The delays between the starts of a process that dies."""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_graceful.process.workers.backoff import (
    HEALTHY,
    LONGEST,
    LONGEST_IF_MISSED,
    LONGEST_IF_READY,
    Backoff,
    in_words,
)

from ..case import SynchronousTestCase


class BackoffTests(SynchronousTestCase):
    """One process, again and again."""

    def setUp(self) -> None:
        """Nothing has died yet."""
        self.clock = Clock()
        self.backoff = Backoff(self.clock)

    def lived(self, seconds: float, is_missed: bool = False) -> float:
        """The delay after a process that was ready has lived so long."""
        self.backoff.ready()
        self.clock.advance(seconds)
        return self.backoff.ended(is_missed)

    def test_the_first_is_replaced_at_once(self) -> None:
        """After the first death there is no delay."""
        self.assertEqual(self.backoff.ended(), 0)

    def test_the_delay_grows_to_the_longest(self) -> None:
        """Each delay is twice the one before, and none is longer than the longest."""
        delays = [self.backoff.ended() for _ in range(10)]
        self.assertEqual(delays, [0, 0.25, 0.5, 1, 2, 4, 8, 16, LONGEST, LONGEST])

    def test_it_grows_for_ever(self) -> None:
        """After thousands of deaths it is still the longest delay."""
        delays = {self.backoff.ended() for _ in range(5000)}
        self.assertEqual(max(delays), LONGEST)

    def test_a_minute_of_crashes_has_few_starts(self) -> None:
        """A process that dies at its start, at once, is started nine times in a minute."""
        seconds, starts = 0.0, 0
        while seconds < 60:
            starts += 1
            seconds += self.backoff.ended()
        self.assertEqual(starts, 9)

    def test_who_was_ready_comes_back_sooner(self) -> None:
        """A process that serves, and dies soon, is away for two seconds at most."""
        delays = [self.lived(HEALTHY / 2) for _ in range(6)]
        self.assertEqual(delays, [0, 0.25, 0.5, 1, 2, LONGEST_IF_READY])

    def test_who_is_missed_comes_back_soon(self) -> None:
        """Where nobody else serves who did serve is away for a short time, however often it dies;
        what never served is no help."""
        delays = [self.lived(HEALTHY / 2, is_missed=True) for _ in range(6)]
        self.assertEqual(delays, [0] + [LONGEST_IF_MISSED] * 5)
        self.assertEqual(self.backoff.ended(is_missed=True), 8)

    def test_who_has_lived_begins_anew(self) -> None:
        """After one that has served for a while there is no delay, and then the first again."""
        for _ in range(5):
            self.backoff.ended()
        self.assertEqual(self.lived(HEALTHY), 0)
        self.assertEqual(self.backoff.ended(), 0.25)

    def test_a_long_load_is_no_life(self) -> None:
        """Only the time since ready counts."""
        self.backoff.ended()
        self.clock.advance(HEALTHY * 10)
        self.assertEqual(self.backoff.ended(), 0.25)

    def test_readiness_is_that_of_the_present_process(self) -> None:
        """That an earlier process was ready says nothing of the next."""
        self.lived(1)
        self.clock.advance(HEALTHY)
        self.assertEqual(self.backoff.ended(), 0.25)

    def test_other_code_begins_anew(self) -> None:
        """After a reset the next death is the first."""
        for _ in range(5):
            self.backoff.ended()
        self.backoff.reset()
        self.assertEqual(self.backoff.ended(), 0)

    def test_words(self) -> None:
        """The log says when the next start is."""
        self.assertEqual([in_words(0), in_words(0.25), in_words(30)], _WORDS)


_WORDS = ["at once", "in 0.25 seconds", "in 30 seconds"]
