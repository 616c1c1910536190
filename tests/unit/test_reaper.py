"""Orphans, and children that this process has started."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable

from twisted.internet.task import Clock

from twisted_graceful.process.host.reaper import INTERVAL, OrphanReaper, started_here

from ..case import SynchronousTestCase


def ended(pid: int) -> int:
    """Wait for the end of a process, and leave it a zombie; its pid."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


class OrphanTests(SynchronousTestCase):
    """A process that has ended, and nobody has waited for yet."""

    def setUp(self) -> None:
        """It has ended."""
        self.pid = ended(os.posix_spawn("/bin/true", ["true"], {}))
        self.clock = Clock()

    def tearDown(self) -> None:
        """Nothing is left of it."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def look(
        self, *known: int, times: int = 3, started: Callable[[], set[int]] = started_here
    ) -> None:
        """The service looks some times."""
        orphans = OrphanReaper(self.clock, known, started)
        orphans.startService()
        self.clock.pump([INTERVAL] * times)
        orphans.stopService()

    def test_reaped(self) -> None:
        """An orphan that was seen twice is reaped."""
        self.look(times=1)
        self.assertEqual(ended(self.pid), self.pid)
        self.look(times=2)
        self.assertRaises(ChildProcessError, os.waitpid, self.pid, os.WNOHANG)

    def test_the_reactors_own(self) -> None:
        """One that the reactor waits for is left to it, with its exit status."""
        self.look(self.pid)
        self.assertEqual(os.waitpid(self.pid, os.WNOHANG), (self.pid, 0))

    def test_the_programs_own(self) -> None:
        """What subprocess and multiprocessing have started keeps its status; orphans go."""
        script = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        forked = multiprocessing.get_context("fork").Process(target=os._exit, args=(4,))
        forked.start()
        assert forked.pid is not None
        ended(script.pid)
        ended(forked.pid)
        looks = []

        def started() -> set[int]:
            looks.append(1)
            return started_here()

        self.look(times=9, started=started)
        self.assertRaises(ChildProcessError, os.waitpid, self.pid, os.WNOHANG)
        self.assertEqual(script.wait(), 3)
        forked.join()
        self.assertEqual(forked.exitcode, 4)
        self.assertEqual(len(looks), 1)  # it is asked for once, since it takes time
