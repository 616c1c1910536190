"""Does what twistd does with files at its start and end, with successors in mind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import Logger

from ... import twisted_internals
from .chown import give
from .pid_file import PidFile
from .streams import number_of


class TwistdFiles:
    """The pid file, and the files that root makes for the user that twistd changes to.

    Args:
        pid_file: its path, absolute; empty if that is not known yet, or if there is none.
        located: makes the path of the log absolute.
        is_successor: whether the first generation has done all that.
        written: the paths of files and UNIX sockets that successors open or write, beside
            the pid file and the log.
        ends: is called at the end of the program.
        observes: is called with the observer that is to write twistd's log.

    Attributes:
        pid_file: None if there is none.
    """

    _log = Logger()

    def __init__(
        self,
        pid_file: str,
        *,
        located: Callable[[str], str],
        is_successor: bool,
        written: Callable[[], Iterable[str]],
        ends: Callable[[], None],
        observes: Callable[[Any], None],
    ) -> None:
        self.pid_file = PidFile(pid_file, os.getpid()) if pid_file else None
        self._is_successor = is_successor
        self._written = written
        twisted_internals.take_over_twistd(
            self._started,
            self._sheds_privileges,
            ends,
            located=located,
            observes=observes,
        )

    def _started(self, path: str) -> None:
        """Write the pid file: twistd has detached, so the pid is the one that stays."""
        if self.pid_file is not None:
            path = path or self.pid_file.path
        if path and not self._is_successor:
            self.pid_file = PidFile(path, os.getpid())
            self.pid_file.create()

    def _sheds_privileges(self, uid: int | None, gid: int | None) -> bool:
        """Chown the files that successors write; returns whether twistd has to change the user."""
        if self._is_successor:
            return uid is not None and os.geteuid() != uid
        if (uid, gid) != (None, None):
            self._give(-1 if uid is None else uid, -1 if gid is None else gid)
        return True

    def _give(self, uid: int, gid: int) -> None:
        own = [] if self.pid_file is None else [self.pid_file.path]
        for path in dict.fromkeys([*twisted_internals.log_files(), *own, *self._written()]):
            try:
                if path and number_of(path) is None:
                    give(path, uid, gid)
            except OSError as error:
                self._log.warn(
                    "Cannot chown {path}: {reason}. A successor may not be able to open it",
                    path=path,
                    reason=error.strerror,
                )
