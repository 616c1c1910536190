"""Children that nobody here has started."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_graceful.process.orphans import INTERVAL, Orphans


class OrphanTests(SynchronousTestCase):
    """A process that has ended, and nobody has waited for yet."""

    def setUp(self) -> None:
        """It has ended."""
        self.pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.clock = Clock()

    def look(self, *known: int) -> None:
        """The service looks once."""
        orphans = Orphans(self.clock, known)
        orphans.startService()
        self.clock.advance(INTERVAL)
        orphans.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reaped(self) -> None:
        """It is no zombie any more."""
        self.look()
        self.assertRaises(ChildProcessError, os.waitpid, self.pid, os.WNOHANG)

    def test_the_reactors_own(self) -> None:
        """One that the reactor waits for is left to it, with its exit status."""
        self.look(self.pid)
        self.assertEqual(os.waitpid(self.pid, os.WNOHANG), (self.pid, 0))
