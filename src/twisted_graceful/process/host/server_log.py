"""Lets Twisted's observers write the log of the server through `LogFile`, which never blocks.

Twisted writes with blocking calls: a pipe that nobody reads, a supervisor's or that of ``| tee``,
would stop the reactor after 64 KiB, and with it requests, signals and stops. `LogFile` keeps what
cannot be written, up to a limit, and counts what it then drops.
"""

from __future__ import annotations

import stat
from os import fstat
from typing import Any

from twisted.logger import ILogObserver

from ... import twisted_internals
from ...reactors import IServerReactor
from .log_file import LogFile
from .streams import NAMES

PATIENCE = 0.5
"""Seconds that the last lines may wait for a reader, all together."""


class LogLines:
    """A `LogFile` in the form that Twisted's observers and log files write to.

    Args:
        file: where the lines go.
        original: what was written to before; kept, since its descriptor would be closed with it.
    """

    def __init__(self, file: LogFile, original: object = None) -> None:
        self.file = file
        self._original = original
        self.fileno = file.fileno
        self.close = file.close

    @property
    def is_regular(self) -> bool:
        """Whether it can be rotated."""
        return self.file.is_regular

    def write(self, text: str | bytes) -> None:
        """Write an event, which ends with its line."""
        self.file.write(text.encode("utf-8", "replace") if isinstance(text, str) else text)

    def flush(self) -> None:
        """Nothing: only what cannot be written is held back."""

    def tell(self) -> int:
        """How long the file is; 0 for a stream."""
        return fstat(self.fileno()).st_size if self.is_regular else 0


def never_wait(reactor: IServerReactor, observer: ILogObserver | None = None) -> None:
    """Write the streams that Twisted logs to without waiting; can be called again.

    Args:
        reactor: when to write what could not be written.
        observer: one that does not observe yet; None for all, when logging has begun.
    """
    files: dict[int, LogFile] = {}

    def replaced(stream: Any) -> Any:
        try:
            number = stream.fileno()
            is_file = stat.S_ISREG(fstat(number).st_mode)
        except (AttributeError, OSError, ValueError):
            return stream  # it is not a file, or it is closed
        # A standard stream that is a file may be something else when this process is ready.
        if (
            isinstance(stream, LogLines)
            or twisted_internals.is_log_file(stream)
            or (is_file and number > 2)
        ):
            return stream
        stream.flush()
        if number not in files:
            name = NAMES.get(number, f"descriptor {number}")
            files[number] = LogFile(name, reactor, descriptor=number)
        return LogLines(files[number], stream)

    twisted_internals.replace_log_streams(replaced, observer)

    def be_patient() -> None:
        # Nobody is served any more, and the timer that would try again does not run.
        for file in files.values():
            file.patience = PATIENCE

    if files:
        reactor.addSystemEventTrigger("after", "shutdown", be_patient)
