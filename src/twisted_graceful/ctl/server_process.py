"""A process that is not our child: is it alive, which signals it handles, its command."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from types import TracebackType

from ..process.host.proc_stat import proc_stat

_POLL = 0.05
"""Seconds between two looks, where the system does not wake us."""


class ServerProcess:
    """A process that is not our child, found by its pid.

    Where the system has pidfd_open(2) a pid that is used again is not taken for it.

    Args:
        pid: of the process.

    Raises:
        ProcessLookupError: there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = -1
        if hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                raise
            except OSError:  # a kernel, or a sandbox, without it
                pass
        if not self.alive():
            self.close()
            raise ProcessLookupError(pid)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the process."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def send(self, number: int) -> None:
        """Send a signal.

        Raises:
            PermissionError: it is another user's.
            ProcessLookupError: it has ended.
        """
        if self._descriptor >= 0:
            signal.pidfd_send_signal(self._descriptor, number)
        else:
            os.kill(self.pid, number)

    def alive(self) -> bool:
        """Whether it runs."""
        return not self.ended_within(0)

    def ended_within(self, seconds: float = _POLL) -> bool:
        """Wait for its end, for so long at most.

        Returns:
            Whether it has ended.
        """
        if self._descriptor >= 0:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)  # readable at its end: pidfd_open(2)
            return bool(poll.poll(seconds * 1000))
        time.sleep(seconds)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    @property
    def is_suspended(self) -> bool:
        """Whether a signal (SIGSTOP) or a debugger holds it, so that it does nothing at all."""
        return self._stat()[:1] in (["T"], ["t"])

    @property
    def started(self) -> float:
        """When it was started, in seconds of the time of day; 0 if the system does not tell."""
        fields = self._stat()
        if len(fields) < 20 or not hasattr(time, "CLOCK_BOOTTIME"):
            return 0.0
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")

    def _stat(self) -> list[str]:
        """The fields of `proc_stat`; none if the system does not tell."""
        try:
            return proc_stat(self.pid)[1]
        except OSError:
            return []

    def disposition_of(self, number: int) -> str:
        """What a signal does to it: ``caught``, ``ignored`` or ``default``; empty if unknown."""
        masks = {}
        try:
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("SigCgt", "SigIgn"):
                    masks[name] = int(value, 16)
        except (OSError, ValueError):
            return ""
        bit = 1 << (number - 1)
        for name, does in (("SigCgt", "caught"), ("SigIgn", "ignored")):
            if masks.get(name, 0) & bit:
                return does
        return "default" if masks else ""
