"""Descriptors that this process was started with: its standard streams, and others.

``/dev/stdout``, ``/dev/fd/3``, ``/proc/self/fd/3`` and links to them mean the descriptors of the
process that opens them. A successor, or a worker, has other files there: what it writes is
captured until it is ready, and 3 is its control channel. So such a path is translated once, in
the first process, and the descriptor is passed on from process to process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress

STANDARD = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
"""Paths of standard output and standard error, even without a ``/dev``."""

TITLES = {"-": "standard output", "/dev/stderr": "standard error"}
"""What messages call them."""

NAMES = {1: "-", 2: "/dev/stderr"}
"""The canonical paths of the standard streams that can be written to."""

_MOST_LINKS = 40
"""Links that are followed; the kernel's own limit (path_resolution(7))."""

_NO_SUCH_FLAG = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE)
"""What pwritev2(2) says where it cannot write without waiting."""

_FIRST_KEPT = 10
"""The least number of a descriptor that is kept; a shell's redirections use those below."""

_kept: dict[int, int] = {}
"""Other descriptors: their numbers in this process, by their numbers in the first one."""

_are_own = True
"""Whether numbers in paths are those of this process, not those of the first generation."""


def open_missing() -> None:
    """Open ``/dev/null`` as each standard stream that is closed (``>&-``).

    Otherwise the next file that is opened gets its number, a client's connection even, and what
    is written to that stream ends up there.
    """
    for number in range(3):
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:
            # The least number that is free is this one (open(2)).
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def canonical(path: str, directory: str) -> str:
    """What a path means now, as a text that means the same in every process, for good.

    Args:
        path: of a file or a stream; empty for none.
        directory: what a relative path is relative to.

    Returns:
        ``-``, ``/dev/stderr`` or ``/dev/fd/N`` for a stream, otherwise an absolute path.
    """
    if not path:
        return path
    number = _number(path, directory)
    if number is None:
        return os.path.normpath(os.path.join(directory, path))
    if number > 2 and _are_own and number not in _kept:
        with suppress(OSError):  # who opens it says so
            _kept[number] = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_KEPT)
    return NAMES.get(number, f"/dev/fd/{number}")


def number_of(path: str) -> int | None:
    """The number of the stream that a canonical path means; None for a file."""
    if path in STANDARD:
        return STANDARD[path]
    found = re.fullmatch("/dev/fd/([0-9]+)", path)
    return int(found[1]) if found else None


def descriptor_of(number: int) -> int:
    """The descriptor that a stream has in this process.

    Raises:
        OSError: it has no such stream, or it is only read from.
    """
    descriptor = number if number <= 2 else _kept.get(number, -1)
    if descriptor < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return descriptor


def kept() -> Mapping[int, int]:
    """The descriptors that a child needs beside its standard streams, by their first number."""
    return dict(_kept)


def inherit(descriptors: Mapping[int, int]) -> None:
    """Use the descriptors that the parent has kept."""
    global _are_own
    _are_own = False
    _kept.clear()
    _kept.update(descriptors)


def write(descriptor: int, data: bytes) -> int:
    """Write to what other processes write to as well, without waiting for its reader.

    O_NONBLOCK belongs to the open file, which is shared with the shell, or with the other
    processes; so it is not set.

    Args:
        descriptor: not of a regular file.
        data: of up to ``PIPE_BUF`` bytes a pipe takes all or none (pipe(7)), of more maybe a part.

    Returns:
        How many bytes were taken.

    Raises:
        BlockingIOError: there is no room for them now.
        OSError: the system refuses.
    """
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            return connection.send(data, socket.MSG_DONTWAIT)
    try:
        return os.pwritev(descriptor, [data], -1, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in _NO_SUCH_FLAG:
            raise
    except AttributeError:  # not Linux
        pass
    # A terminal, or a pipe of an older kernel: opened again, it is another open file.
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # it is another user's, say
        if not writable(descriptor):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        return os.write(descriptor, data[: select.PIPE_BUF])  # for which there is room
    try:
        return os.write(own, data)
    finally:
        os.close(own)


def writable(descriptor: int, seconds: float = 0) -> bool:
    """Whether something can be written within some time, or writing fails at once."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(max(0, seconds) * 1000))


def _number(path: str, directory: str) -> int | None:
    """The number of the stream that a path leads to now."""
    if path in STANDARD:
        return STANDARD[path]
    own = re.compile(rf"/proc/{os.getpid()}(?:/task/[0-9]+)?/fd")
    path = os.path.join(directory, path)
    for _ in range(_MOST_LINKS):
        parent, name = os.path.split(path)
        parent = os.path.realpath(parent)
        if own.fullmatch(parent) and name.isdigit():
            return int(name)
        path = os.path.join(parent, name)
        try:
            path = os.path.join(parent, os.readlink(path))
        except OSError:
            return None
    return None
