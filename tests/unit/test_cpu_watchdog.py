"""The watchdog of processor time, in real processes."""

from __future__ import annotations

import signal

from ..case import SynchronousTestCase
from .support import run_python

PROGRAM = """\
import signal, sys, time
from twisted_graceful.process.host import cpu_watchdog
cpu_watchdog.usable = lambda: 1
CpuWatchdog = cpu_watchdog.CpuWatchdog
watchdog = CpuWatchdog(0.1)
def compute(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until: pass
"""


class CpuWatchdogTests(SynchronousTestCase):
    """A process whose limit is 0.15 seconds."""

    def status(self, code: str) -> tuple[int, str]:
        """The exit status of a program, and what it wrote to standard error."""
        done = run_python("-c", PROGRAM + code)
        return done.returncode, done.stderr

    def test_it_ends_a_call_that_keeps_the_gil(self) -> None:
        """The kernel kills the process, and the stack of the call is on standard error."""
        status, written = self.status(
            "def stuck(): sum(range(10**13))\nwatchdog.restart(); stuck()\n"
        )
        self.assertEqual(status, -signal.SIGVTALRM)
        self.assertRegex(written, r"line \d+ in stuck")

    def test_what_it_leaves_alone(self) -> None:
        """Restarted in time, stopped, without a timeout, in a process that only waits or was
        stopped itself, and where the application has that signal, it kills nobody."""
        for name, code in {
            "restarted": "for _ in range(10): watchdog.restart(); compute(0.05)",
            "stopped": "watchdog.restart(); watchdog.stop(); compute(0.5)",
            "no timeout": "watchdog = CpuWatchdog(0); watchdog.restart(); compute(0.5)",
            "waits": "watchdog.restart(); time.sleep(0.5)",
            "the application's": (
                "signal.signal(signal.SIGVTALRM, lambda *_: sys.exit(0))\n"
                "signal.setitimer(signal.ITIMER_VIRTUAL, 0.3)\n"
                "watchdog.restart(); watchdog.stop(); compute(30); sys.exit('no timer')"
            ),
        }.items():
            with self.subTest(name):
                self.assertEqual(self.status(code), (0, ""))
