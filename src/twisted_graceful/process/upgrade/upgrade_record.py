"""The record that ``gracefulctl`` reads: how a process was started, and its last operation.

That is an upgrade or a rolling restart, with its events, and a stop. The record is a file in memory
(memfd_create(2)), which has no path. A process that may look into this one finds it in
``/proc/PID/fd`` by its name: the user of the process, and root (proc(5), ptrace(2)). So it needs no
place, no option and no permissions, is never stale, and reveals no more than ``/proc/PID/environ``
does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone

from ...event_names import EventName
from .launch import Launch
from .upgrade_events import RollingRestartProgress, UpgradeProgress

NAME = "twisted-graceful"
"""Of the file in memory; by it ``gracefulctl`` knows a process of ours."""


class UpgradeRecord:
    """Lines of JSON: how the process was started, then the events of its last operation.

    Each upgrade or rolling restart replaces the file by a new one, so that a reader can tell them
    apart. The successor inherits it. Where there are no such files, or no descriptors are left,
    nothing is recorded.

    Args:
        launch: how this process was started, and its successor will be.
        pid_file: the path of the pid file that names the serving process; empty if there is none.
        inherited: the descriptor of the file that the predecessor began; it belongs to this
            object from now on. Negative for none.
    """

    def __init__(self, launch: Launch, inherited: int = -1, pid_file: str = "") -> None:
        self._launch = launch
        self._pid_file = pid_file
        self._file = inherited
        if inherited < 0:
            self.begin()

    def begin(self) -> None:
        """Start a new record, for an upgrade or a rolling restart."""
        if not hasattr(os, "memfd_create"):
            return
        try:
            new = os.memfd_create(NAME, os.MFD_CLOEXEC)
        except OSError:
            return
        if self._file < 0:
            self._file = new
        else:
            os.dup2(new, self._file, inheritable=False)  # who reads need not look for it again
            os.close(new)
        launch = self._launch
        self._write(
            {
                "executable": launch.executable,
                "arguments": launch.arguments,
                "directory": launch.directory,
                "environment": dict(launch.environment),
                "pid_file": self._pid_file,
            }
        )

    def note(self, progress: UpgradeProgress | RollingRestartProgress) -> None:
        """Add an event of an upgrade or a rolling restart."""
        self.add(progress.event, **progress.facts)

    def add(self, event: EventName, **facts: object) -> None:
        """Add another event, such as a stop.

        Args:
            event: what.
            facts: about it, as JSON has them.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._write({"time": now, "event": event.value, **facts})

    @property
    def descriptor(self) -> int:
        """Of the file, which a successor inherits; negative if there is none."""
        return self._file

    def close(self) -> None:
        """Record nothing more."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _write(self, line: Mapping[str, object]) -> None:
        if self._file < 0:
            return
        try:
            # At the end, also of what another process has written.
            os.lseek(self._file, 0, os.SEEK_END)
            os.write(self._file, json.dumps(line).encode() + b"\n")
        except OSError:  # no memory is left
            pass
