"""A delayed call that can be replaced and cancelled."""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_graceful.timer import Timer

from ..case import SynchronousTestCase


class TimerTests(SynchronousTestCase):
    """One timer."""

    def setUp(self) -> None:
        """It is not running."""
        self.clock = Clock()
        self.timer = Timer(self.clock)
        self.called: list[int] = []

    def test_start(self) -> None:
        """The call comes once, after its time; the timer runs until then."""
        self.assertFalse(self.timer.is_running)
        self.timer.start(3, self.called.append, 1)
        self.clock.advance(2)
        self.assertEqual((self.timer.is_running, self.called), (True, []))
        self.clock.advance(1)
        self.assertEqual((self.timer.is_running, self.called), (False, [1]))

    def test_start_again(self) -> None:
        """Another call replaces the first, also from within the first."""
        self.timer.start(3, self.called.append, 1)
        self.timer.start(5, self.timer.start, 1, self.called.append, 2)
        self.clock.pump([5, 1])
        self.assertEqual(self.called, [2])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """The call does not come; a timer that does not run can be cancelled, too."""
        self.timer.start(3, self.called.append, 1)
        for _ in range(2):
            self.timer.cancel()
        self.assertEqual((self.timer.is_running, self.clock.getDelayedCalls()), (False, []))
