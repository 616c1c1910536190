"""Captures what a child writes before it is ready, and its last words after that, for the log.

A pipe to the parent would break when the parent is killed, and would block when it is busy. So the
child's standard streams are files in memory until it is ready; then the child copies their contents
to the real streams and continues there. From then on, as long as the parent may still report the
child's death, warnings and worse are also written to the emptied files, and so are the stacks of
all threads when a fault ends the child.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import select
import stat
import sys
import tempfile
import time
from contextlib import suppress

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, globalLogPublisher
from zope.interface import implementer

from ..host import streams
from ..host.log_file import count_lost

_COPY_LIMIT = 1 << 20
"""Bytes of early output that are copied; more than an application should say."""

_PATIENCE = 0.1
"""Seconds that early output may wait for the reader of a pipe."""

_WORDS_LIMIT = 1 << 16
"""Bytes of log entries for the parent; then the file is emptied."""

_FAULT = "Fatal Python error"
"""How what faulthandler writes begins."""


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("output", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    # What the child writes is added at the end, by whichever of its descriptors, also when the
    # file was emptied meanwhile.
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


class Capture:
    """The standard output and standard error of a child that is not ready yet."""

    def __init__(self) -> None:
        self.stdout = _memory_file()
        try:
            self.stderr = _memory_file()
        except OSError:
            os.close(self.stdout)
            raise

    def tail(self, lines: int = 30) -> str:
        """The last lines that were written, to standard output first, then to standard error.

        If the child was ended by a fault, the stacks of its threads come on top, whole.
        """
        out = _end_of(self.stdout)
        err, fault, stacks = _end_of(self.stderr).partition(_FAULT)
        last = [*out.splitlines()[-lines:], *err.splitlines()[-lines:]]
        return "\n".join([*last, *f"{fault}{stacks}".splitlines()])

    def close(self) -> None:
        """Forget the output. The child can still write."""
        os.close(self.stdout)
        os.close(self.stderr)


def _end_of(descriptor: int, limit: int = 16384) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, limit, max(0, size - limit)).decode("utf-8", "replace")


class FaultFile:
    """Keeps the stacks of this process, for its successor, if it has to be killed.

    Attributes:
        descriptor: of a file in memory.
    """

    def __init__(self) -> None:
        self.descriptor = _memory_file()
        self._had_faulthandler: bool | None = None

    def begin(self) -> None:
        """A fault, or SIGABRT, writes the stacks of all threads there from now on."""
        if self._had_faulthandler is None:
            self._had_faulthandler = faulthandler.is_enabled()
            faulthandler.enable(self.descriptor)

    def end(self) -> None:
        """From now on they are written where they were before."""
        had, self._had_faulthandler = self._had_faulthandler, None
        if had is not None:
            _restore_faulthandler(had)

    def close(self) -> None:
        """Nobody will read it."""
        self.end()
        os.close(self.descriptor)


def stacks_in(descriptor: int) -> str:
    """What a process has left in its `FaultFile`; empty if nothing."""
    return _end_of(descriptor, _WORDS_LIMIT).strip()


def _restore_faulthandler(was_enabled: bool) -> None:
    if was_enabled:
        faulthandler.enable(2)
    else:
        faulthandler.disable()


@implementer(ILogObserver)
class CapturedOutput:
    """A log observer that leaves warnings and worse where the parent finds them.

    So are the stacks of all threads, when this process ends by a fault (SIGSEGV, SIGBUS, SIGFPE,
    SIGILL), or by SIGABRT, with which a parent asks for them.

    Args:
        descriptor: a file in memory; it is duplicated.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.dup(descriptor)
        globalLogPublisher.addObserver(self)
        self._had_faulthandler = faulthandler.is_enabled()
        faulthandler.enable(self._file)

    def __call__(self, event: LogEvent) -> None:
        """Something was logged."""
        if event.get("log_level", LogLevel.info) < LogLevel.warn:
            return
        text = eventAsText(event).encode("utf-8", "replace") + b"\n"
        with suppress(OSError):
            if os.fstat(self._file).st_size > _WORDS_LIMIT:
                os.ftruncate(self._file, 0)
            os.write(self._file, text)

    def close(self) -> None:
        """Nobody will read more of them."""
        globalLogPublisher.removeObserver(self)
        _restore_faulthandler(self._had_faulthandler)
        os.close(self._file)


_words: CapturedOutput | None = None


def capture_warnings() -> None:
    """Leave warnings and worse for the parent already before this process is ready.

    This is for processes that log to a file; on a standard stream the whole log is captured.
    """
    global _words
    if _words is None and _is_capture(2):
        _words = CapturedOutput(2)


def release(stdout: int, stderr: int) -> CapturedOutput | None:
    """Let the standard streams of this process be the real ones from now on.

    Args:
        stdout: the descriptor of the real standard output; it is closed.
        stderr: that of the real standard error; it is closed.

    Returns:
        What keeps the last words of this process, until it is closed; None if the parent
        has nothing to read them from.
    """
    global _words
    words, _words = _words, None
    if words is None and _is_capture(2):
        with suppress(OSError):  # no descriptor is left
            words = CapturedOutput(2)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    for standard, real in ((1, stdout), (2, stderr)):
        if _is_capture(standard):  # else the application has put something else there
            _write(real, os.pread(standard, _COPY_LIMIT, 0))
            os.ftruncate(standard, 0)
            os.dup2(real, standard)
        os.close(real)
    # Python chose the buffering when the streams were files.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and stream is not None and stream.isatty():
            reconfigure(line_buffering=True)
    return words


def _is_capture(descriptor: int) -> bool:
    """Whether this is a file without a name, as a capture is."""
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 0


def _write(descriptor: int, data: bytes) -> None:
    # Nobody may be reading the terminal or the pipe; that must neither end nor hold an upgrade.
    until = time.monotonic() + _PATIENCE
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    with suppress(OSError):
        while data and (regular or streams.writable(descriptor, until - time.monotonic())):
            with suppress(BlockingIOError):
                write = os.write if regular else streams.write
                data = data[write(descriptor, data[: select.PIPE_BUF]) :]
    count_lost(data.count(b"\n"))
