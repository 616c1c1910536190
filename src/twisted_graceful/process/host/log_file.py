"""Log files that several processes append whole lines to, without ever blocking.

A stream is shared with the shell, the supervisor and other processes, and O_NONBLOCK would affect
them too; `streams.write` does without it. A writer thread would not block either, but its queue
would be lost in `os._exit` and in forked children."""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
import time
import weakref

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python import threadable

from ...errors import LogFileError
from ...timer import Timer
from . import streams
from .chown import located, open_file

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

_MODE = 0o644
"""Less what the umask takes away; nginx's."""


_lost = 0


def lost_lines() -> int:
    """How many lines this process could not write to its logs, and has dropped."""
    return _lost


def count_lost(lines: int) -> None:
    """Count lines that have been dropped."""
    global _lost
    _lost += lines


class LogFile:
    """A file that lines are appended to, by any thread.

    Processes that have the same file open do not mix their lines: each write(2) appends whole
    ones, to a pipe at most as many as it takes at once (pipe(7)). Nothing here raises or blocks
    because of the file: what cannot be written is kept, up to a limit, and then lost, and the
    log of the server says so.

    Args:
        path: as `streams.canonical` returned it.
        clock: when to try again: a reactor.
        descriptor: of a file that is already open, which is neither reopened nor closed; None to
            open the path.
        mode: the permissions of a new file, whatever the umask; None for 0644 less the umask.

    Attributes:
        path: what was given.
        patience: seconds that all further writes together may wait for the reader of a pipe.

    Raises:
        LogFileError: it cannot be opened.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        clock: IReactorTime,
        *,
        descriptor: int | None = None,
        mode: int | None = None,
    ) -> None:
        self.path = path
        self.patience = 0.0
        self._clock = clock
        self._mode = mode
        self._is_shared = descriptor is not None or streams.number_of(path) is not None
        self._descriptor = _open(path, mode) if descriptor is None else descriptor
        self._lock = threading.RLock()  # a signal handler may log while it is held
        self._is_flushing = False
        self._buffer = bytearray()
        self._retry_at = 0
        self._timer = Timer(clock)
        self._waits = False
        self._lost = 0
        self._problem = ""
        self._report_at = 0.0
        _files.add(self)

    @property
    def is_regular(self) -> bool:
        """Whether it is a file that can be rotated: standard output may be, but is shared."""
        return not self._is_shared and stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def write(self, lines: bytes) -> None:
        """Append lines: now, or as soon as that is possible."""
        with self._lock:
            self._buffer += lines
            if self._descriptor < 0:
                self._drop(0)
            elif not self._waits or len(self._buffer) >= self._retry_at or self.patience:
                self._flush()

    def _flush(self) -> None:
        if self._is_flushing:
            return  # the caller that is flushing writes these lines, too
        self._is_flushing = True
        try:
            self._write_buffer()
        finally:
            self._is_flushing = False
        if self._problem or self._report_at:
            self._report()

    def _write_buffer(self) -> None:
        buffer, retry = self._buffer, RETRY_PIPE
        begun = time.monotonic()
        try:
            self._append(self.patience)
        except OSError as error:
            self._problem, retry = error.strerror or str(error), RETRY
        if self.patience:
            self.patience = max(0.0, self.patience - (time.monotonic() - begun))
        if len(buffer) > LIMIT:
            self._drop(buffer.rfind(b"\n", 0, LIMIT) + 1)
            self._problem = self._problem or "nobody reads it"
        if buffer:
            self._retry_at = len(buffer) + RETRY_SIZE
            if not self._waits:
                self._waits = True
                self._later(retry)

    def _later(self, seconds: float) -> None:
        """Try again; only the reactor's own thread may set a timer."""

        def set_timer() -> None:
            self._timer.start(seconds, self._retry)

        if threadable.ioThread in (None, threading.get_ident()):
            set_timer()
        else:
            self._clock.callFromThread(set_timer)

    def _retry(self) -> None:
        with self._lock:
            self._waits = False
            if self._descriptor >= 0:
                self._flush()

    def _drop(self, kept: int) -> None:
        """Drop the lines that begin after so many bytes."""
        lines = self._buffer.count(b"\n", kept)
        self._lost += lines
        count_lost(lines)
        del self._buffer[kept:]

    def forget(self) -> None:
        """Start empty in a forked child: the parent writes what is kept, and may hold the lock."""
        self._lock = threading.RLock()
        self._is_flushing = self._waits = False
        self._buffer = bytearray()

    def reopen(self) -> None:
        """Go on in the file that has the path now; what was written before is in the old one."""
        if self._is_shared:
            return
        with self._lock:
            try:
                descriptor = _open(self.path, self._mode)
            except LogFileError as error:
                self._log.error("{error}; the old file is still written", error=error)
                return
            self._flush()
            os.close(self._descriptor)
            self._descriptor = descriptor

    def close(self) -> None:
        """Append what is left, and close. Closed twice it is closed."""
        with self._lock:
            if self._descriptor < 0:
                return
            self._timer.cancel()
            try:
                self._append(PATIENCE)
            except OSError as error:
                self._problem = error.strerror or str(error)
            self._drop(0)
            descriptor, self._descriptor = self._descriptor, -1
            if not self._is_shared:
                os.close(descriptor)
        if self._lost:
            self._problem = self._problem or "nobody reads it"
            self._report_at = 0
            self._report()

    def __del__(self) -> None:
        # Twisted's log files may be dropped without a close, as Python's files may.
        if getattr(self, "_descriptor", -1) >= 0 and not self._is_shared:
            os.close(self._descriptor)

    def _append(self, patience: float) -> None:
        """Append as much as can be.

        Args:
            patience: seconds to wait for a pipe's reader.

        Raises:
            OSError: the system refuses.
        """
        buffer, descriptor = self._buffer, self._descriptor
        until = time.monotonic() + patience
        # Ours is non-blocking; what is shared with other processes must not be.
        write = streams.write if self._is_shared else os.write
        # Asked each time: standard output becomes another file when a successor is ready.
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        while buffer:
            if regular:
                written = os.write(descriptor, buffer)
            elif not streams.writable(descriptor, until - time.monotonic()):
                return
            else:
                # A pipe takes up to PIPE_BUF bytes as one piece (pipe(7)); Linux takes more as one
                # as well while there is room, which keeps most longer lines whole.
                whole = buffer.rfind(b"\n", 0, select.PIPE_BUF) + 1 or buffer.find(b"\n") + 1
                piece = bytes(buffer[: whole or select.PIPE_BUF])
                try:
                    written = write(descriptor, piece)
                except BlockingIOError:
                    if time.monotonic() >= until:
                        return
                    written = 0
            del buffer[:written]
        self._problem = ""

    def _report(self) -> None:
        """Say what is the matter, now and then, and that it is over."""
        now = self._clock.seconds()
        if self._problem and now >= self._report_at:
            self._report_at = now + REPORT_INTERVAL
            self._log.error(
                "Cannot write {path}: {problem}; {lost} lines are lost, and {size} bytes kept",
                path=streams.TITLES.get(self.path, self.path),
                problem=self._problem,
                lost=self._lost,
                size=len(self._buffer),
            )
        elif not self._problem and self._report_at:
            self._report_at = 0
            self._log.info(
                "{path} is written again; {lost} lines were lost",
                path=streams.TITLES.get(self.path, self.path),
                lost=self._lost,
            )
            self._lost = 0


_files: weakref.WeakSet[LogFile] = weakref.WeakSet()


def _forget() -> None:
    for file in _files:
        file.forget()


os.register_at_fork(after_in_child=_forget)


class LogFiles:
    """The log files of a process, one for each path.

    Args:
        clock: when to try again.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._open: dict[str, tuple[LogFile, int]] = {}

    def open(self, path: str) -> LogFile:
        """The file of a path; each caller closes it with `close`.

        Args:
            path: as `streams.canonical` returned it.

        Raises:
            LogFileError: it cannot be opened.
        """
        file, users = self._open.get(path) or (LogFile(path, self._clock), 0)
        self._open[path] = file, users + 1
        return file

    def close(self, file: LogFile) -> None:
        """Release a file; it is closed with its last user."""
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
        path: as `streams.canonical` returned it; empty for none.

    Raises:
        LogFileError: it cannot.
    """
    try:
        _check_writable(path)
    except LogFileError:
        raise
    except OSError as error:
        raise LogFileError(f"cannot open the log file {path}: {error.strerror}") from None


def _check_writable(path: str) -> None:
    if not path:
        return
    directory = os.path.dirname(path)
    if streams.number_of(path) is not None:
        _open(path, None)
    elif os.path.exists(path):
        os.close(_open(path, None))
    elif not os.path.isdir(directory):
        raise LogFileError(f"cannot open the log file {path}: there is no directory {directory}")
    elif not os.geteuid():
        with located(path):
            pass
    elif not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise LogFileError(f"cannot open the log file {path}: {os.strerror(errno.EACCES)}")


def _open(path: str, mode: int | None) -> int:
    number = streams.number_of(path)
    try:
        if number is not None:
            return streams.descriptor_of(number)
        flags = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        # A FIFO that nobody reads yet can be opened in this way only (fifo(7)).
        flags |= os.O_RDWR if _is_fifo(path) else os.O_WRONLY
        if mode is None or os.path.lexists(path):
            return open_file(path, flags, _MODE)
        descriptor = open_file(path, flags, mode)
        os.fchmod(descriptor, mode)
        return descriptor
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
