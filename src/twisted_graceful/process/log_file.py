"""Files of lines that several processes append to: whole, bounded, opened anew on demand."""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..errors import LogFileError

LIMIT = 4 << 20
"""Bytes that are kept while they cannot be written; what comes on top is lost, and counted."""

RETRY = 1.0
"""Seconds between two attempts to write while the system refuses."""

RETRY_PIPE = 0.05
"""Seconds after which a full pipe is looked at again: at 64 KiB each time, 1.3 MB/s."""

RETRY_SIZE = 64 * 1024
"""Bytes more that are kept after which it is tried without waiting so long."""

REPORT_INTERVAL = 60.0
"""Seconds between two complaints about a file that cannot be written."""

PATIENCE = 0.5
"""Seconds that a close may wait for the reader of a pipe."""

STANDARD = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
"""What is not opened: a successor's streams are other files until it is ready."""

_MODE = 0o644
"""Less what the umask takes away; nginx's."""


class LogFile:
    """A file that lines are appended to.

    Processes that have the same file open do not mix their lines: each write(2) appends whole
    ones, to a pipe at most as many as it takes at once (pipe(7)). Nothing here raises or blocks
    because of the file: what cannot be written is kept, up to a limit, and then lost, and the
    log of the server says so.

    Args:
        path: absolute, or one of `STANDARD`.
        clock: when to try again.

    Raises:
        LogFileError: it cannot be opened.
    """

    _log = Logger()

    def __init__(self, path: str, clock: IReactorTime) -> None:
        self.path = path
        self._clock = clock
        self._descriptor = _open(path)
        self._buffer = bytearray()
        self._retry_at = 0
        self._timer: IDelayedCall | None = None
        self._lost = 0
        self._problem = ""
        self._report_at = 0.0

    def write(self, lines: bytes) -> None:
        """Append lines: now, or as soon as that is possible."""
        self._buffer += lines
        if self._timer is None or len(self._buffer) >= self._retry_at:
            self._flush()

    def _flush(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        buffer, retry = self._buffer, RETRY_PIPE
        try:
            self._append(0)
        except OSError as error:
            self._problem, retry = error.strerror or str(error), RETRY
        if len(buffer) > LIMIT:
            kept = buffer.rfind(b"\n", 0, LIMIT) + 1
            self._lost += buffer.count(b"\n", kept)
            del buffer[kept:]
            self._problem = self._problem or "nobody reads it"
        if buffer:
            self._retry_at = len(buffer) + RETRY_SIZE
            self._timer = self._clock.callLater(retry, self._flush)
        if self._problem or self._report_at:
            self._report()

    def reopen(self) -> None:
        """Go on in the file that has the path now; what was written before is in the old one."""
        if self.path in STANDARD:
            return
        try:
            descriptor = _open(self.path)
        except LogFileError as error:
            self._log.error("{error}; the file that was open is written on", error=error)
            return
        self._flush()
        os.close(self._descriptor)
        self._descriptor = descriptor

    def close(self) -> None:
        """Append what is left, and close. Closed twice it is closed."""
        if self._descriptor < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._append(PATIENCE)
        except OSError as error:
            self._problem = error.strerror or str(error)
        self._lost += self._buffer.count(b"\n")
        self._buffer.clear()
        if self._lost:
            self._problem = self._problem or "nobody reads it"
            self._report_at = 0
            self._report()
        if self.path not in STANDARD:
            os.close(self._descriptor)
        self._descriptor = -1

    def _append(self, patience: float) -> None:
        """Append as much as can be.

        Args:
            patience: seconds to wait for a pipe's reader.

        Raises:
            OSError: the system refuses.
        """
        buffer, descriptor = self._buffer, self._descriptor
        until = time.monotonic() + patience
        # Asked each time: standard output becomes another file when a successor is ready.
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        while buffer:
            if regular:
                written = os.write(descriptor, buffer)
            elif not _writable(descriptor, until - time.monotonic()):
                return
            else:
                # What poll(2) allows does not block, up to PIPE_BUF bytes (pipe(7)).
                whole = buffer.rfind(b"\n", 0, select.PIPE_BUF) + 1
                try:
                    written = os.write(descriptor, buffer[: whole or select.PIPE_BUF])
                except BlockingIOError:
                    return
            del buffer[:written]
        self._problem = ""

    def _report(self) -> None:
        """Say what is the matter, now and then, and that it is over."""
        now = self._clock.seconds()
        if self._problem and now >= self._report_at:
            self._report_at = now + REPORT_INTERVAL
            self._log.error(
                "Cannot write {path}: {problem}; {lost} lines are lost, and {size} bytes kept",
                path=self.path,
                problem=self._problem,
                lost=self._lost,
                size=len(self._buffer),
            )
        elif not self._problem and self._report_at:
            self._report_at = 0
            self._log.info(
                "{path} is written again; {lost} lines were lost", path=self.path, lost=self._lost
            )
            self._lost = 0


class LogFiles:
    """The log files of a process, one for each path.

    Args:
        clock: when to try again.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._open: dict[str, tuple[LogFile, int]] = {}

    def open(self, path: str) -> LogFile:
        """The file of a path; whoever opens it closes it here.

        Args:
            path: as `resolve` returned it.

        Raises:
            LogFileError: it cannot be opened.
        """
        file, users = self._open.get(path) or (LogFile(path, self._clock), 0)
        self._open[path] = file, users + 1
        return file

    def close(self, file: LogFile) -> None:
        """Say that one user does not need it any more; after the last it is closed."""
        _, users = self._open.pop(file.path)
        if users > 1:
            self._open[file.path] = file, users - 1
        else:
            file.close()

    def reopen(self) -> None:
        """Go on in the files that have the paths now."""
        for file, _ in self._open.values():
            file.reopen()


def check_writable(path: str) -> None:
    """See whether a log file can be opened, without making one.

    Args:
        path: as `resolve` returned it.

    Raises:
        LogFileError: it cannot.
    """
    if not path or path in STANDARD:
        return
    directory = os.path.dirname(path)
    if os.path.exists(path):
        os.close(_open(path))
    elif not os.path.isdir(directory):
        raise LogFileError(f"cannot open the log file {path}: there is no directory {directory}")
    elif not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise LogFileError(f"cannot open the log file {path}: {os.strerror(errno.EACCES)}")


def resolve(path: str) -> str:
    """What a path means in the present directory, for later; no path is none."""
    return path if path in STANDARD or not path else os.path.abspath(path)


def _open(path: str) -> int:
    try:
        if path in STANDARD:
            os.fstat(STANDARD[path])
            return STANDARD[path]
        flags = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        # A FIFO that nobody reads yet can be opened in this way only (fifo(7)).
        return os.open(path, flags | (os.O_RDWR if _is_fifo(path) else os.O_WRONLY), _MODE)
    except OSError as error:
        raise LogFileError(f"cannot open the log file {path}: {_explain(error, path)}") from None


def _explain(error: OSError, path: str) -> str:
    if error.errno == errno.ENOENT:
        return f"there is no directory {os.path.dirname(path)}"
    if error.errno == errno.EBADF:
        return "this process has no such stream"
    if error.errno == errno.ENXIO:
        return "it is a socket; - is standard output, whatever that is"
    return error.strerror or str(error)


def _is_fifo(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _writable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(max(0, seconds) * 1000))
