"""The orphans of a container: its process 1 becomes their parent, and must wait for them.

The program may have children of its own, whose exit status it asks for at any time; so a child is
an orphan only if nothing here has started it. What Twisted, `subprocess`, asyncio and
multiprocessing have started is known by their objects. A bare os.fork(2) leaves no object: such a
child must be waited for within a second.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Container
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.process import reapProcessHandlers
from twisted.internet.task import LoopingCall

from .proc_stat import proc_stat

INTERVAL = 1.0
"""Seconds between two looks. An orphan that has ended holds no more than an entry in a table."""


def started_here() -> set[int]:
    """The children that something in this process waits for, besides the reactor.

    This looks through all objects, so it is called only if a child has ended.
    """
    objects = (each for each in gc.get_objects() if issubclass(type(each), subprocess.Popen))
    found = {each.pid for each in objects}
    if "multiprocessing.process" in sys.modules:
        active = sys.modules["multiprocessing.process"].active_children()
        found.update(each.pid for each in active)
    return found


class OrphanReaper(Service):
    """Waits for children that nothing in this process has started, so that none stays a zombie.

    Args:
        clock: calls it.
        known: the processes that the reactor waits for itself.
        started_here: finds the processes that something else here waits for.
    """

    def __init__(
        self,
        clock: IReactorTime,
        known: Container[int] = reapProcessHandlers,
        started_here: Callable[[], Container[int]] = started_here,
    ) -> None:
        self._known = known
        self._started_here = started_here
        self._seen: set[int] = set()  # zombies at the last look
        self._ours: set[int] = set()  # of these, those that are not orphans
        self._loop = LoopingCall(self.reap)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        self._loop.stop()

    def reap(self) -> None:
        """Wait for the orphans that had ended at the last look."""
        zombies = {each for each in _zombies() if each not in self._known}
        seen, self._seen = self._seen, zombies
        self._ours &= zombies
        candidates = zombies & seen - self._ours
        if not candidates:
            return
        ours = self._started_here()
        for pid in candidates:
            if pid in ours:
                self._ours.add(pid)
            else:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _zombies() -> list[int]:
    """The children of this process that have ended and that nothing has waited for."""
    try:
        # WNOWAIT leaves its status to what waits for it.
        if not os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return []
    except ChildProcessError:
        return []
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            state, parent, *_ = proc_stat(int(name))[1]
            if state == "Z" and int(parent) == os.getpid():
                found.append(int(name))
    return found
