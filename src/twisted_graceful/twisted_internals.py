"""Every private part of Twisted that we call or change, with the reason.

For each, `tests/unit/test_twisted_internals.py` has a test that fails when Twisted changes it.
What a subclass must share with its base is where the subclass is: in `http.channel`, `http.port`,
`http.request` and `http.transport`. The internals of hpack that decode header blocks are in
`http.http2.field_decoder`, which a test compares with hpack itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import wraps
from inspect import unwrap
from operator import attrgetter
from socket import socket
from typing import Any, Protocol

from twisted.internet._producer_helpers import _PullToPush as PullToPush
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LegacyLogObserverWrapper,
    LogPublisher,
    globalLogPublisher,
)
from twisted.python import log
from twisted.python.logfile import BaseLogFile, LogFile
from twisted.web.http_headers import Headers
from twisted.web.resource import _IEncodingResource as IEncodingResource

__all__ = [
    "IEncodingResource",
    "PullToPush",
    "close_without_shutdown",
    "headers",
    "is_log_file",
    "log_files",
    "log_observers",
    "logging_has_begun",
    "observe_first",
    "port",
    "raw_headers",
    "replace_log_streams",
    "share_log_files",
    "take_over_twistd",
    "was_told_to_stop",
]


def close_without_shutdown(transport: Any) -> None:
    """Make a transport's close leave other descriptors of the same socket alone.

    Twisted calls shutdown(2) before close(2), which ends the connection for every
    process and every descriptor that shares it. There is no public switch.
    """
    assert transport._shouldShutdown in (True, False)
    transport._shouldShutdown = False


def port(kind: Any, reactor: Any, listener: socket, factory: Any) -> Any:
    """A port of a listening socket, as `adoptStreamPort` makes it, but of a class of our own.

    Args:
        kind: a subclass of `twisted.internet.tcp.Port`.
        reactor: what waits for connections.
        listener: is duplicated; it remains the caller's to close.
        factory: makes the protocols.

    Returns:
        The port; it does not listen yet.
    """
    return kind._fromListeningDescriptor(reactor, listener.fileno(), listener.family, factory)


class _SharedFile(Protocol):
    """What a shared log file is written through."""

    @property
    def is_regular(self) -> bool:
        """Whether it can be rotated."""

    def fileno(self) -> int:
        """Its descriptor."""

    def close(self) -> None:
        """Close it."""


def share_log_files(
    opened: Callable[[str, int | None], _SharedFile],
    locked: Callable[[str], AbstractContextManager[None]],
) -> None:
    """Let Twisted's log files, from now on, be shared by several processes; once is enough.

    Twisted writes where it believes the end to be: two processes that share a log overwrite what
    the other one has just written. So they are opened for appending. And a process whose file
    another one has rotated, or logrotate has moved, goes on in the one that has the path now.
    If several rotate it at the same time only one does. Streams and devices such as ``/dev/null``
    are neither rotated nor renamed; if the path is a link, its target is.

    Args:
        opened: opens a file; a new one gets the permissions.
        locked: holds the lock of a path; raises `OSError` if another process holds it.
    """
    if getattr(LogFile.rotate, "is_shared", False):
        return
    should_rotate, rotate = LogFile.shouldRotate, LogFile.rotate

    @wraps(BaseLogFile._openFile)
    def _openFile(self: BaseLogFile) -> None:
        file = opened(self.path, self.defaultMode)
        if file.is_regular:
            self.path = os.path.realpath(self.path)
        self._file = file  # type: ignore[assignment]
        self.closed = False

    def is_regular(self: BaseLogFile) -> bool:
        return self._file.is_regular  # type: ignore[attr-defined,no-any-return]

    def follow(self: LogFile) -> bool:
        """Go on in the file that has the path, if that is another one; whether it was."""
        status = os.fstat(self._file.fileno())
        with suppress(OSError):
            if os.path.samestat(status, os.stat(self.path)):
                self.size = status.st_size  # what others have written counts too
                return False
        old = self._file
        try:
            self._openFile()
        except OSError:
            self._file = old  # there may be no right to make it anew
            return False
        old.close()
        return True

    @wraps(should_rotate)
    def shouldRotate(self: LogFile) -> bool:
        if not is_regular(self):
            return False
        follow(self)
        return bool(should_rotate(self))

    @wraps(rotate)
    def rotate_once(self: LogFile) -> None:
        if is_regular(self):
            # Another process that rotates it does so for this one, too.
            with suppress(OSError), locked(self.path):
                if not follow(self):
                    rotate(self)

    rotate_once.is_shared = True  # type: ignore[attr-defined]
    BaseLogFile._openFile = _openFile  # type: ignore[method-assign]
    LogFile.shouldRotate = shouldRotate  # type: ignore[method-assign]
    LogFile.rotate = rotate_once  # type: ignore[method-assign]


def is_log_file(stream: object) -> bool:
    """Whether a stream is one of Twisted's log files, which are shared."""
    return isinstance(stream, BaseLogFile)


def log_files() -> list[str]:
    """The paths of the files that Twisted logs to."""
    found = []

    def note(stream: Any) -> Any:
        if is_log_file(stream):
            found.append(stream.path)
        return stream

    replace_log_streams(note)
    return found


def replace_log_streams(replaced: Callable[[Any], Any], observer: Any = None) -> None:
    """Let the observers of the log, however they are nested, write to other streams.

    An observer gets its stream when it is made, by twistd, twist or the program, depending on their
    options; so it is replaced afterwards.

    Args:
        replaced: returns what to write to instead of a stream, or the same stream.
        observer: an observer that has not been added yet; None for all that have.
    """
    pending: list[Any] = [observer or globalLogPublisher]
    while pending:
        each = pending.pop()
        if isinstance(each, LogPublisher):
            pending += each._observers
        elif isinstance(each, FilteringLogObserver):
            pending += [each._observer, each._negativeObserver]
        elif isinstance(each, FileLogObserver):
            each._outFile = replaced(each._outFile)
        elif isinstance(each, LegacyLogObserverWrapper):
            old = getattr(each.legacyObserver, "__self__", None)
            stream = getattr(getattr(old, "write", None), "__self__", None)
            if isinstance(old, log.FileLogObserver) and stream is not None:
                new = replaced(stream)
                old.write, old.flush = new.write, new.flush


def take_over_twistd(
    started: Callable[[str], None],
    sheds: Callable[[int | None, int | None], bool],
    ends: Callable[[], None],
    located: Callable[[str], str],
    observes: Callable[[Any], None],
) -> None:
    """Do what twistd does with files instead of it; nothing if this is not twistd.

    twistd writes its pid file through links, and unlinks the path at exit even if another process,
    our successor, owns it by then. It looks for the directory of its log when an application may
    have changed to another one. It drops privileges that a successor does not have, and leaves
    files behind that the successor cannot open. Its configuration cannot be reached from a
    ``.tac`` file, but its runner class can.

    Args:
        started: is called when twistd has detached, with the absolute path of the pid file, which
            twistd does not write; empty if there is none.
        sheds: is called with user and group before twistd changes to them; returns whether it may.
        ends: is called at exit, also when the start fails, and has to remove the pid file.
        located: makes the path of the log absolute.
        observes: is called with the observer that will write the log, before it does.
    """
    twistd = sys.modules.get("twisted.scripts._twistd_unix")
    if twistd is None:
        return

    runner_class = twistd.UnixApplicationRunner
    set_up_environment = unwrap(runner_class.setupEnvironment)
    shed_privileges = unwrap(runner_class.shedPrivileges)
    remove_pid_file = unwrap(runner_class.removePID)
    logger_class = runner_class.loggerFactory
    get_log_observer = unwrap(logger_class._getLogObserver)

    @wraps(set_up_environment)
    def setupEnvironment(runner: object, *args: Any) -> None:
        set_up_environment(runner, *args[:-1], "")
        started(args[-1] or "")

    @wraps(shed_privileges)
    def shedPrivileges(runner: object, euid: bool, uid: int | None, gid: int | None) -> None:
        if sheds(uid, gid):
            shed_privileges(runner, euid, uid, gid)

    @wraps(remove_pid_file)
    def removePID(runner: object, pidfile: str) -> None:
        ends()

    @wraps(get_log_observer)
    def _getLogObserver(logger: Any) -> Any:
        if logger._logfilename or not logger._nodaemon:
            logger._logfilename = located(logger._logfilename or "twistd.log")
        observer = get_log_observer(logger)
        observes(observer)
        return observer

    logger_class._getLogObserver = _getLogObserver
    runner_class.setupEnvironment = setupEnvironment
    runner_class.shedPrivileges = shedPrivileges
    runner_class.removePID = removePID


def was_told_to_stop(reactor: Any) -> bool:
    """Whether it was a signal that stopped a reactor whose signals are its own.

    An application that stops its reactor is a fault of new code; a signal is somebody's wish.
    """
    return getattr(reactor, "_exitSignal", None) is not None


def logging_has_begun() -> bool:
    """Whether somebody has told twisted.logger where to log to; it cannot be asked."""
    from twisted.logger import globalLogBeginner

    return globalLogBeginner._temporaryObserver is None


def log_observers() -> tuple[Any, ...]:
    """The observers of the log now.

    twistd removes its own before the interpreter has ended; they still write to the log then.
    """
    return tuple(globalLogPublisher._observers)


def observe_first(observer: Any, publisher: LogPublisher) -> None:
    """Add an observer before those that a publisher has already.

    A program may have begun to log before it makes a service, and `addObserver` appends: what the
    observer adds to an event would not be seen by those that write it.
    """
    publisher._observers.insert(0, observer)


def headers(values: dict[bytes, list[bytes]]) -> Headers:
    """Header fields whose names and values are known to be clean; the dictionary is taken over.

    Twisted's way in checks each name and value again, which takes as long as all of the rest
    of the parsing.
    """
    made = Headers.__new__(Headers)
    made._rawHeaders = values
    return made


raw_headers: Callable[[Headers], dict[bytes, list[bytes]]] = attrgetter("_rawHeaders")
"""The values of header fields by name, in Twisted's spelling; what is put in is sent as it is.

To ask Twisted for one field costs as much as to make half a line of the access log.
"""
