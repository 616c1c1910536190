"""Finds the server that a pid file names, and recognizes a file that is stale."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from .outcome import CtlError, Exit, require_time
from .record import RecordMissing, RecordReader, readable_records
from .server_process import ServerProcess

_POLL = 0.05
"""Seconds between two checks for a successor."""

_CLOCK_SLACK = 5.0
"""Seconds by which the time of day may have been set, or file systems differ."""


class PidFileLookup:
    """A pid file, read from outside the server.

    Args:
        path: of the file.
        timeout: seconds to wait for a successor that does not serve yet.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def process(self) -> ServerProcess:
        """The process that the file names, if it is a server of ours; or its successor.

        Raises:
            CtlError: it is neither.
        """
        pid = self.read_pid()
        if pid is None:
            raise CtlError(
                Exit.NOT_RUNNING, f"there is no pid file {self._path!r}: no server runs there"
            )
        try:
            process = ServerProcess(pid)
        except ProcessLookupError:
            process = self._successor_of(pid)
            pid = process.pid
        # Those who handle neither are ended by the signals that a server is told with.
        for number in (signal.SIGTERM, signal.SIGUSR2):
            if process.disposition_of(number) == "default":
                process.close()
                raise CtlError(
                    Exit.NOT_RUNNING,
                    f"{self._path!r} names process {pid}, which does not handle {number.name}: "
                    "it has just been started, or is no server of ours, and the pid file is stale",
                )
        try:
            with RecordReader(pid) as record:
                reason = self._why_stale(process, record)
            if reason:
                process.close()
                raise CtlError(
                    Exit.NOT_RUNNING,
                    f"{self._path!r} is stale: process {pid}, which it names, {reason}",
                )
        except RecordMissing:
            if hasattr(os, "memfd_create"):  # else the server's Python has none either
                process.close()
                raise CtlError(
                    Exit.NOT_RUNNING,
                    f"{self._path!r} names process {pid}, which is no server of ours, or has just "
                    "been started: the pid file is stale",
                ) from None
        except OSError:
            pass
        return process

    def _successor_of(self, pid: int) -> ServerProcess:
        """Wait for the process that takes over from one that has ended, if there is one.

        A successor whose predecessor is killed while it loads writes the pid file when it serves.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            loading = next(
                (it for it, record in readable_records() if self._has_this_pid_file(it, record)),
                None,
            )
            named = self.read_pid()
            if named is not None and named != pid:
                try:
                    return ServerProcess(named)
                except ProcessLookupError:
                    pass
            elif loading is None:
                raise self.not_running(pid)
            require_time(
                deadline,
                self._timeout,
                f"{self._path!r} names process {pid}, which has ended, and process {loading}, its "
                "successor, does not serve yet",
            )
            time.sleep(_POLL)

    def _why_stale(self, process: ServerProcess, record: RecordReader) -> str:
        """Why a server is not the one that wrote the pid file; empty if it may have."""
        if record.pid_file and not self._has_this_pid_file(process.pid, record):
            return f"is another server, whose pid file is {record.pid_file!r}"
        if not record.pid_file:
            # Whoever started it may have written the file, but not before that.
            try:
                written = os.stat(self._path).st_mtime
            except OSError:
                return ""
            if written + _CLOCK_SLACK < process.started:
                return "is another server: it was started after that file was written"
        return ""

    def _has_this_pid_file(self, pid: int, record: RecordReader) -> bool:
        """Whether the pid file of a server is ours."""
        if not record.pid_file:
            return False
        if os.path.realpath(record.pid_file) == os.path.realpath(self._path):
            return True
        for root in ("", f"/proc/{pid}/root"):  # another one in a container, or after chroot(2)
            try:
                if os.path.samefile(root + record.pid_file, self._path):
                    return True
            except OSError:
                pass
        return False

    def not_running(self, pid: int) -> CtlError:
        """What is wrong if the process that the file names does not run."""
        return CtlError(
            Exit.NOT_RUNNING,
            f"{self._path!r} is stale: process {pid}, which it names, does not run",
        )

    def read_pid(self) -> int | None:
        """The pid in the file; None if there is none."""
        try:
            text = Path(self._path).read_text().strip()
        except FileNotFoundError:
            return None
        except PermissionError:
            raise CtlError(
                Exit.NOT_ALLOWED, f"{self._path!r} may not be read by this user"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise CtlError(Exit.USAGE, f"{self._path!r} cannot be read: {error}") from None
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
            if not text:
                return None  # overwritten in place, where it cannot be replaced
            raise CtlError(Exit.USAGE, f"{self._path!r} is no pid file: it holds {text[:40]!r}")
        return int(text)
