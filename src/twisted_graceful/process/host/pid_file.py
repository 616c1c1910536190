"""The pid file: names the serving process, and is removed by that process only.

The pid in it does not show whether a server runs, since it may be another program's by now. A
process that serves holds a lock on its pid file, which ends with it (fcntl(2)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import ExitStack, suppress

from twisted.logger import Logger

from ...errors import PidFileError
from .chown import located, open_in
from .lock import locked

_OVERWRITTEN = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors that prevent a new file, but may not prevent overwriting the old one."""

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDWR | os.O_NONBLOCK

_PATIENCE = 1.0
"""Seconds to wait for another server that is just being started with the same pid file."""


class PidFile:
    """A file that holds the pid of this process, or of its successor.

    A link to it stays: its target is what is written, replaced and removed. Faults of the file
    system are logged; they never end a service that runs.

    Args:
        path: absolute.
        pid: of this process.
    """

    _log = Logger()

    def __init__(self, path: str, pid: int) -> None:
        self.path = path
        self.pid = pid
        self._held = -1

    def create(self) -> None:
        """Write it for the first time.

        Raises:
            PidFileError: another server of ours has this pid file, and runs, or it cannot be
                written.
            OSError: it could not be written after all.
        """
        with ExitStack() as stack:
            with suppress(OSError):  # where no lock can be had, only the one on the file counts
                stack.enter_context(locked(self.path, _PATIENCE))
            require_writable(self.path)
            require_free(self.path)
            self._put()

    def write(self) -> None:
        """Put this process's pid in place, by rename: a reader sees the old or the new one.

        Where the directory may not be written but the file may, or the disk is full, the file is
        overwritten.
        """
        try:
            self._put()
        except OSError as error:
            self._log.error(
                "Cannot write the pid file {path}: {error}; "
                "it does not name the serving process, which is {pid}",
                path=self.path,
                error=error,
                pid=self.pid,
            )

    def _put(self) -> None:
        with located(self.path) as (directory, name):
            status = _status(directory, name)
            if status is not None and stat.S_ISCHR(status.st_mode):
                return  # /dev/null, say
            if status is not None and not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EEXIST, "it is not a regular file", self.path)
            try:
                self._replace(directory, name, 0o644 if status is None else status.st_mode & 0o777)
            except OSError as error:
                if error.errno not in _OVERWRITTEN or status is None:
                    raise
                self._overwrite(directory, name)

    def _replace(self, directory: int, name: str, mode: int) -> None:
        temporary = f".{name}.{self.pid}"
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)  # of a process that was killed
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=directory)
        try:
            self._fill(descriptor)
            os.fchmod(descriptor, mode)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.close(descriptor)
            os.unlink(temporary, dir_fd=directory)
            raise
        self._hold(descriptor)

    def _overwrite(self, directory: int, name: str) -> None:
        # Any close of the file would give up the lock on it (fcntl(2)).
        self._hold(-1)
        descriptor = open_in(directory, name, _OLD)
        try:
            self._fill(descriptor)
            os.ftruncate(descriptor, len(str(self.pid)))
        except OSError:
            os.close(descriptor)
            raise
        self._hold(descriptor)

    def _fill(self, descriptor: int) -> None:
        _lock(descriptor)
        os.pwrite(descriptor, b"%d" % self.pid, 0)

    def _hold(self, descriptor: int) -> None:
        held, self._held = self._held, descriptor
        if held >= 0:
            os.close(held)

    def hold(self) -> None:
        """Lock it, now that the predecessor has ended, which had it if it was overwritten."""
        if self._held >= 0:
            _lock(self._held)

    def remove(self) -> None:
        """Remove the file if it holds this process's pid; where that is forbidden, empty it."""
        try:
            with located(self.path) as (directory, name):
                if _read(directory, name).strip() != b"%d" % self.pid:
                    return
                try:
                    os.unlink(name, dir_fd=directory)
                except PermissionError:
                    os.close(open_in(directory, name, _OLD | os.O_TRUNC))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.error(
                "Cannot remove the pid file {path}: {error}", path=self.path, error=error
            )
        finally:
            self._hold(-1)


def require_writable(path: str) -> None:
    """Make sure that a pid file can be written, without writing it.

    Raises:
        PidFileError: it cannot.
    """
    try:
        with located(path) as (directory, name):
            status = _status(directory, name)
            if status is not None and not (
                stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)
            ):
                raise PidFileError(f"the pid file {path} is not a regular file; name another one")
            may_replace = os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True)
            may_overwrite = status is not None and os.access(
                name, os.R_OK | os.W_OK, dir_fd=directory, effective_ids=True
            )
            if not (may_replace or may_overwrite):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        parent = os.path.dirname(os.path.realpath(path))
        reason = error.strerror if os.path.isdir(parent) else f"there is no directory {parent}"
        raise PidFileError(
            f"cannot write the pid file {path}: {reason}; give another --pidfile"
        ) from None


def require_free(path: str) -> None:
    """Make sure that no running server has a pid file.

    One that is empty, or that names a process that has ended or is another program, is free.

    Raises:
        PidFileError: one has it.
    """
    try:
        with located(path) as (directory, name):
            status = _status(directory, name)
            if status is None or not stat.S_ISREG(status.st_mode):
                return
            descriptor = open_in(directory, name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return  # to write it says why
    try:
        try:
            # A lock for reading is refused only by the one for writing, which readers cannot have.
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
        except OSError:
            return  # there are no locks on this file system
        else:
            return
    finally:
        os.close(descriptor)
    raise PidFileError(
        f"a server is running with the pid file {path} (pid {pid}); stop that one, "
        "or give this one another --pidfile"
    )


def _lock(descriptor: int) -> None:
    # The predecessor may have it, or the file system none: then it is not found out who runs.
    with suppress(OSError):
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _status(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _read(directory: int, name: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return os.read(descriptor, 64)
    finally:
        os.close(descriptor)
