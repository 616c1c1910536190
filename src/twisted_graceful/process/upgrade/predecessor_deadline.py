"""Kills a predecessor that does not end in time, so that it cannot hold up the next upgrade.

By then its process id may belong to another process. A pidfd (pidfd_open(2)) that was opened while
its end of the channel was open cannot.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...timer import Timer
from .output import stacks_in

KILL_AFTER = 3.0
"""Seconds between SIGABRT, which makes it write its stacks, and SIGKILL."""

_CREDENTIALS = struct.Struct("3i")


class PredecessorDeadline:
    """Waits for the end of the predecessor, up to a deadline.

    Args:
        clock: keeps the time.
        channel: our end of the control channel; it is not kept.
        stacks: the descriptor of the predecessor's `FaultFile`, which is closed at the end;
            negative if there is none.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, channel: socket.socket, stacks: int = -1) -> None:
        self._stacks = stacks
        self._timer = Timer(clock)
        self._pid, self._pidfd = _process_of(channel)

    def within(self, seconds: float, since: str) -> None:
        """End the predecessor if it is still there by then.

        Args:
            seconds: from now.
            since: what happens now, for the log.
        """
        self._timer.start(seconds, self._is_late, seconds, since)

    def cancel(self) -> None:
        """There is no deadline any more."""
        self._timer.cancel()

    def predecessor_ended(self) -> None:
        """The predecessor has ended; if a fault or this object ended it, its stacks are logged."""
        self.cancel()
        pidfd, self._pidfd = self._pidfd, -1
        stacks, self._stacks = self._stacks, -1
        if pidfd >= 0:
            os.close(pidfd)
        if stacks >= 0:
            text = stacks_in(stacks)
            os.close(stacks)
            if text:
                self._log.error("The predecessor left these stacks:\n{stacks}", stacks=text)

    def kill(self) -> None:
        """Kill the predecessor now, where that is safe. May be called in a thread."""
        if self._pidfd >= 0:
            self._send(signal.SIGKILL)

    def _is_late(self, seconds: float, since: str) -> None:
        self._log.error(
            "The predecessor (pid {pid}) was still running {seconds:.3g} seconds after {since}; "
            "{then}",
            pid=self._pid or "unknown",
            seconds=seconds,
            since=since,
            then="killing it" if self._pidfd >= 0 else "this system offers no safe way to kill it",
        )
        if self._pidfd >= 0:
            self._timer.start(KILL_AFTER, self._send, signal.SIGKILL)
            self._send(signal.SIGABRT)
            self._send(signal.SIGCONT)  # one that was stopped reacts to nothing else before

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._pidfd, number)


def _process_of(channel: socket.socket) -> tuple[int, int]:
    """The pid and the pidfd of the process that made a channel; 0 and -1 if they are not known."""
    try:
        credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(credentials)[0]
        pidfd = os.pidfd_open(pid)
    except (OSError, AttributeError):  # not Linux, an old kernel, or another namespace
        return 0, -1
    # While its end is open it lives, and the pid is its own.
    with suppress(BlockingIOError):
        if not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            os.close(pidfd)
            return pid, -1
    return pid, pidfd
