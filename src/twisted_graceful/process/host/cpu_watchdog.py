"""Ends a worker that computes in a call that never releases Python's lock (the GIL).

In such a call no handler and no other thread of Python runs. The master notices and kills the
worker; but if the master was killed, nobody does, and the port stays taken. What is left is a timer
of the kernel whose signal has its default action, restarted with every sign of life.

It counts processor time (ITIMER_VIRTUAL, setitimer(2)), which stands still while the process is
stopped by SIGSTOP, by a debugger, in a paused container or on a suspended machine. A timer that
counts real time, such as faulthandler's, would kill healthy workers when they continue; the master,
which counts how often it has looked, does not.
"""

from __future__ import annotations

import faulthandler
import signal
from contextlib import suppress

from .cpu_count import usable

_TIMER: int | None = getattr(signal, "ITIMER_VIRTUAL", None)

_LATER = 1.5
"""How much later than the master: it looks ten times, logs the reason and asks for the stacks."""


class CpuWatchdog:
    """Kills this process (SIGVTALRM) when it has computed for too long without a `restart`.

    The stacks of all threads are written to standard error first. Where the application handles
    that signal it does nothing.

    Args:
        timeout: seconds after which the master would kill the process; 0 for never.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._is_armed = False

    def restart(self) -> None:
        """Count from now on.

        All threads count, so the limit is what all processors together can do in the time. That
        is late on a large machine, but never before the master.
        """
        if not self._timeout or _TIMER is None:
            return
        if signal.getsignal(signal.SIGVTALRM) is not signal.SIG_DFL:
            self._is_armed = False  # the timer may be the application's too, so it is left alone
            return
        if not self._is_armed:
            with suppress(OSError, RuntimeError, ValueError):  # without standard error
                faulthandler.register(signal.SIGVTALRM, file=2, chain=True)
        self._is_armed = True
        signal.setitimer(_TIMER, self._timeout * _LATER * usable())

    def stop(self) -> None:
        """Count no more; the process can be watched again."""
        if self._is_armed and _TIMER is not None:
            self._is_armed = False
            signal.setitimer(_TIMER, 0)
            faulthandler.unregister(signal.SIGVTALRM)
