"""Starts to accept connections, and retries while the process is out of descriptors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..listeners.listener import Listener

AGAIN = 1.0
"""Seconds between two tries to accept while the system refuses."""

SPARE_DESCRIPTORS = 16
"""What a successor must still be able to open when it is ready, beside a port for each listener:
what waits for its connections, its pid file, the first connections."""


class Acceptor:
    """Accepts, or retries. Meanwhile clients wait in the backlog, or another process serves them.

    Args:
        clock: when to try again.
        accept: of a `Workload`.
        is_wanted: whether this process is to accept.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, accept: Callable[[], None], is_wanted: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._accept = accept
        self._is_wanted = is_wanted

    def accept(self) -> None:
        """Accept now, or as soon as the system lets it; not if that is not wanted any more."""
        if not self._is_wanted():
            return
        try:
            self._accept()
        except OSError as error:
            self._log.error("Cannot accept: {error}; trying again", error=error)
            self._clock.callLater(AGAIN, self.accept)


def require_descriptors(listeners: Sequence[Listener]) -> None:
    """Make sure that this process can accept.

    Args:
        listeners: on which.

    Raises:
        OSError: it has no descriptors for that (EMFILE), or the system has none (ENFILE).
    """
    needed = SPARE_DESCRIPTORS + sum(len(each.sockets) for each in listeners)
    with ExitStack() as opened:
        for _ in range(needed):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
