"""How many log lines of a kind are written."""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_graceful.log_limit import LogLimit

from ..case import SynchronousTestCase


class LogLimitTests(SynchronousTestCase):
    """Two lines of a kind in ten seconds."""

    def setUp(self) -> None:
        """A limit, of a clock that only the tests advance."""
        self.clock = Clock()
        self.limit = LogLimit(self.clock, 2, 10.0)

    def test_a_burst(self) -> None:
        """The lines of a burst are counted down to none, until the interval is over."""
        self.assertEqual([self.limit.left("a") for _ in range(4)], [2, 1, 0, 0])
        self.clock.advance(4)
        self.assertEqual(self.limit.seconds_left("a"), 6.0)
        self.clock.advance(6)
        self.assertEqual(self.limit.left("a"), 2)

    def test_kinds(self) -> None:
        """The lines of one kind leave those of another alone."""
        self.limit.left("a")
        self.assertEqual(self.limit.left("b"), 2)
