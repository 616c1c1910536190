"""Lets several processes write the log files of Twisted (``--logfile``).

Twisted writes where it believes the end of a file to be: two processes that share a log overwrite
each other's lines. So the files are opened for appending, and written through `LogFile`. A process
whose file another one has rotated, or logrotate has moved, goes on in the file that has the path
now. If several processes rotate a file at the same time, only one does. Streams and devices such
as ``/dev/null`` are neither rotated nor renamed; of a link, the target is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import wraps
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python import logfile

from .lock import locked
from .log_file import LogFile
from .server_log import LogLines
from .streams import canonical

_twisted_open = logfile.BaseLogFile._openFile
_twisted_should_rotate = logfile.LogFile.shouldRotate
_twisted_rotate = logfile.LogFile.rotate


def share_log_files(reactor: IReactorTime) -> None:
    """Replace methods of Twisted's log files, from now on; a second call changes nothing.

    Args:
        reactor: retries what could not be written.
    """
    if logfile.LogFile.rotate is _rotate:
        return

    @wraps(_twisted_open)
    def open_file(self: Any) -> None:
        path = canonical(self.path, "/")  # it is absolute already
        self._file = LogLines(LogFile(path, reactor, mode=self.defaultMode))
        if self._file.is_regular:
            self.path = os.path.realpath(self.path)
        self.closed = False

    logfile.BaseLogFile._openFile = open_file  # type: ignore[method-assign]
    logfile.LogFile.shouldRotate = _should_rotate  # type: ignore[method-assign]
    logfile.LogFile.rotate = _rotate  # type: ignore[method-assign]


@wraps(_twisted_should_rotate)
def _should_rotate(self: Any) -> bool:
    if not self._file.is_regular:
        return False
    _follow(self)
    return bool(_twisted_should_rotate(self))


@wraps(_twisted_rotate)
def _rotate(self: Any) -> None:
    if self._file.is_regular:
        # A process that holds the lock rotates the file for this one, too.
        with suppress(OSError), locked(self.path, patience=0.0):
            if not _follow(self):
                _twisted_rotate(self)


def _follow(file: Any) -> bool:
    """Go on in the file that has the path now; returns whether it is another one."""
    status = os.fstat(file._file.fileno())
    with suppress(OSError):
        if os.path.samestat(status, os.stat(file.path)):
            file.size = status.st_size  # what others have written counts too
            return False
    old = file._file
    try:
        file._openFile()
    except OSError:
        file._file = old  # a new file may not be allowed here
        return False
    old.close()
    return True
