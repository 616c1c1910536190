"""How a turn of the reactor is shared."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock

from twisted_graceful.http.time_sharing import SLICE, TurnScheduler

from ..case import SynchronousTestCase


class TurnsTests(SynchronousTestCase):
    """Work of several connections."""

    def setUp(self) -> None:
        """A clock that work moves."""
        self.clock = Clock()
        self.turns = TurnScheduler(self.clock)
        self.done: list[str] = []

    def work(self, name: str, *, again: int = 0) -> Callable[[], None]:
        """Work that takes a slice of time, and wants as many more turns."""
        left = again

        def run() -> None:
            nonlocal left
            self.done.append(name)
            self.clock.rightNow += SLICE * 1.01
            if left:
                left -= 1
                self.turns.queue(run)

        return run

    def turn(self) -> list[str]:
        """What one turn of the reactor does."""
        self.done.clear()
        for call in tuple(self.clock.calls):  # not those that are made meanwhile
            work = call.func
            call.cancel()
            work()
        return list(self.done)

    def test_one(self) -> None:
        """Work is done at once while there is time."""
        self.assertTrue(self.turns.run(self.work("a")))
        self.assertEqual(self.done, ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many(self) -> None:
        """Beyond the time of a turn, work waits for the next ones, in its order."""
        ran = [self.turns.run(self.work(name)) for name in "abcdefghijk"]
        self.assertEqual((self.done, ran), (list("abcd"), [True] * 4 + [False] * 7))
        self.assertEqual(self.turn(), list("efgh"))
        self.assertEqual(self.turn(), list("ijk"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fair(self) -> None:
        """Work without end gets one turn after the other, between those of the others."""
        for name in "abcdef":
            self.turns.run(self.work(name, again=2))
        self.assertEqual(self.turn(), list("abcd"))
        self.assertEqual(self.turn(), list("efab"))

    def test_queued_once(self) -> None:
        """Work that is queued already does not run twice."""
        work = self.work("a")
        self.turns.queue(work)
        self.assertFalse(self.turns.run(work))
        self.assertEqual(self.turn(), ["a"])

    def test_forgotten(self) -> None:
        """Work that is forgotten does not run, and leaves no timer."""
        work = self.work("a")
        self.turns.queue(work)
        self.turns.forget(work)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.turn(), [])
