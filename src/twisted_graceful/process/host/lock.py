"""A lock between processes that only this user, and root, can hold.

flock(2) needs only the permission to read: any user who may read a directory, or a log, could hold
a lock on it and keep us waiting. So the lock is on a file of its own, which no other user may open.
Its last holder removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_INTERVAL = 0.01
"""Seconds between two attempts."""


@contextmanager
def locked(path: str, patience: float) -> Iterator[None]:
    """Hold the lock of a file.

    Args:
        path: of the file, which need not exist.
        patience: seconds to wait while another process holds the lock.

    Raises:
        OSError: the lock cannot be had; it names the lock file.
    """
    directory, name = os.path.split(path)
    lock = os.path.join(directory, f".{name}.lock")
    until = time.monotonic() + patience
    while True:
        descriptor = _open(lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, lock):
                break
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(descriptor)
                raise BlockingIOError(
                    errno.EWOULDBLOCK, f"another process holds {lock} (`lslocks` shows which)"
                ) from None
            time.sleep(_INTERVAL)
        os.close(descriptor)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(lock)
        os.close(descriptor)


def _open(lock: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(lock, flags, 0o600)
    except PermissionError as error:
        if not os.path.lexists(lock):
            raise
        raise PermissionError(
            error.errno, f"{lock} belongs to another user; remove it if that user starts no server"
        ) from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, f"{lock} is a symbolic link; remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EEXIST, f"{lock} is not a regular file; remove it")
    return descriptor


def _is_at(descriptor: int, path: str) -> bool:
    """Whether a file is still the one at its path: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
