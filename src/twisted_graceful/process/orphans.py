"""The orphans of a container: whoever is its process 1 is their parent, and must wait for them."""

from __future__ import annotations

import os
from collections.abc import Container
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.process import reapProcessHandlers
from twisted.internet.task import LoopingCall

INTERVAL = 1.0
"""Seconds between two looks. An orphan that has ended holds no more than an entry in a table."""


class Orphans(Service):
    """Waits for children that nobody in this process has started, so that none stays a zombie.

    Nothing else in it may start processes but by the reactor: what `subprocess` started would be
    waited for here, and its exit status lost.

    Args:
        clock: calls it.
        known: the processes that the reactor waits for itself.
    """

    def __init__(self, clock: Any, known: Container[int] = reapProcessHandlers) -> None:
        self._known = known
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
        """Wait for all that have ended."""
        with suppress(ChildProcessError):
            # Without WNOWAIT the reactor's own would be lost to it.
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in self._known:
                    return  # the reactor is about to; then we see who is behind
                os.waitpid(ended.si_pid, 0)
