"""HUP and the terminal of a process."""

from __future__ import annotations

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from twisted_graceful.process.host.terminal import INTERVAL, REMEMBERED, ControllingTerminal

from ..case import SynchronousTestCase


class TerminalTests(SynchronousTestCase):
    """A process in a terminal, or not."""

    def setUp(self) -> None:
        """It is in one."""
        self.clock = Clock()
        self.is_there = True
        self.terminal = ControllingTerminal(self.clock, lambda: self.is_there)

    def hup(self) -> Deferred[bool]:
        """HUP comes; whether that is a hang-up."""
        return ensureDeferred(self.terminal.has_closed())

    def test_closed(self) -> None:
        """HUP is a hang-up if the terminal has just been closed, however often it comes."""
        self.terminal.start()
        self.clock.pump([INTERVAL] * 60)
        self.is_there = False
        self.assertTrue(self.successResultOf(self.hup()))
        self.clock.advance(INTERVAL)
        self.assertTrue(self.successResultOf(self.hup()))

    def test_about_to_be_closed(self) -> None:
        """HUP is a hang-up if the terminal is closed right after it."""
        self.terminal.start()
        hup = self.hup()
        self.assertNoResult(hup)
        self.is_there = False
        self.clock.advance(INTERVAL)
        self.assertTrue(self.successResultOf(hup))

    def test_there(self) -> None:
        """HUP is not a hang-up if the terminal stays."""
        self.terminal.start()
        hup = self.hup()
        self.clock.advance(INTERVAL)
        self.assertFalse(self.successResultOf(hup))

    def test_closed_long_ago(self) -> None:
        """HUP is not a hang-up for a process that its shell has left in the background."""
        self.terminal.start()
        self.is_there = False
        self.clock.pump([INTERVAL] * (int(REMEMBERED / INTERVAL) + 2))
        self.assertFalse(self.successResultOf(self.hup()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_none(self) -> None:
        """HUP is known at once not to be a hang-up if there was no terminal at the start."""
        self.is_there = False
        self.terminal.start()
        self.assertFalse(self.successResultOf(self.hup()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """Nothing is left of it when the process stops."""
        self.terminal.start()
        self.terminal.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.successResultOf(self.hup()))
