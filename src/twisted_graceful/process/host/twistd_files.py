"""Replaces what twistd does with files at its start and end, which would harm a successor.

twistd writes its pid file through links, and unlinks the path at exit even if another process, our
successor, owns it by then. It looks for the directory of its log when an application may have
changed to another one. It drops privileges that a successor does not have, and leaves files behind
that the successor cannot open. A ``.tac`` file cannot reach its configuration, but it can reach the
class of its runner.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import unwrap
from typing import Any

from twisted.logger import ILogObserver, Logger

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
        ends: removes the pid file; called at the end of the program, also if its start fails.
        observes: is called with the observer that is to write twistd's log, before it does.

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
        observes: Callable[[ILogObserver], object],
    ) -> None:
        self.pid_file = PidFile(pid_file, os.getpid()) if pid_file else None
        self._located = located
        self._is_successor = is_successor
        self._written = written
        self._ends = ends
        self._observes = observes

    def take_over_twistd(self) -> None:
        """Replace methods of twistd's runner and log; nothing if this program is not twistd."""
        twistd = sys.modules.get("twisted.scripts._twistd_unix")
        if twistd is None:
            return
        runner = twistd.UnixApplicationRunner
        _replace(runner, "setupEnvironment", self._set_up_environment)
        _replace(runner, "shedPrivileges", self._shed_privileges)
        _replace(runner, "removePID", lambda original, runner, path: self._ends())
        _replace(runner.loggerFactory, "_getLogObserver", self._get_log_observer)

    def _set_up_environment(
        self, original: Callable[..., object], runner: object, *args: Any
    ) -> None:
        """Write the pid file: twistd has detached by then, so the pid is the one that stays."""
        *others, path = args
        original(runner, *others, "")  # without a path it writes none
        if self.pid_file is not None:
            path = path or self.pid_file.path
        if path and not self._is_successor:
            self.pid_file = PidFile(path, os.getpid())
            self.pid_file.create()

    def _shed_privileges(
        self,
        original: Callable[..., object],
        runner: object,
        euid: bool,
        uid: int | None,
        gid: int | None,
    ) -> None:
        """Chown the files that successors write, and change the user unless that is done."""
        if self._is_successor:
            if uid is None or os.geteuid() == uid:
                return
        elif (uid, gid) != (None, None):
            self._give(-1 if uid is None else uid, -1 if gid is None else gid)
        original(runner, euid, uid, gid)

    def _get_log_observer(self, original: Callable[..., ILogObserver], logger: Any) -> ILogObserver:
        if logger._logfilename or not logger._nodaemon:
            logger._logfilename = self._located(logger._logfilename or "twistd.log")
        observer = original(logger)
        self._observes(observer)
        return observer

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


def _replace(owner: type, name: str, replacement: Callable[..., object]) -> None:
    """Replace a method, or its last replacement; the new one also gets the original."""
    original = unwrap(getattr(owner, name))

    @wraps(original)
    def method(*args: object) -> object:
        return replacement(original, *args)

    setattr(owner, name, method)
