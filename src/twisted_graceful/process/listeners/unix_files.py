"""UNIX sockets that listen: bound without a race, with a file that is removed by its owner only.

Two that start at the same time must not both find a stale file and both replace it; nor may
one take for stale what the other has bound, but not yet made listen. So both happen under a
lock, which ends with its holder (`lock`). To bind under another name and rename would leave that
name in what the system shows (``ss -lx``), and would replace in silence what another one has put
there meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import TypeAlias

from twisted.logger import Logger

from ...address import UnixAddress
from ...errors import BindError
from ..host import chown
from ..host.lock import locked

File: TypeAlias = tuple[int, int]
"""Device and inode of a socket file. While its socket is open no other file has them."""

_PATIENCE = 2.0
"""Seconds to wait for the lock, which others hold for the time of a bind."""

_LONGEST = 107
"""Bytes of a path (``sun_path`` in unix(7), less the NUL)."""

_log = Logger()


class UnixListener(socket.socket):
    """A listening UNIX socket.

    Attributes:
        file: which file is its own; None if there is none, or if it is not ours to remove.
    """

    file: File | None = None

    def is_reachable(self) -> bool:
        """Whether its path still leads to it; if there is no file of its own, it does."""
        return self.file is None or self.file == _file_at(self.getsockname())

    def remove_file(self) -> None:
        """Remove its file, if that is still its own. Connections in the queue stay there."""
        if self.file is None:
            return
        path = self.getsockname()
        if self.is_reachable():
            try:
                os.unlink(path)
            except OSError as error:
                _log.info(
                    "Cannot remove {path}: {reason}; the next start replaces it",
                    path=path,
                    reason=error.strerror,
                )
        self.file = None


def is_reachable(listener: socket.socket) -> bool:
    """Whether clients find a socket at its path, as far as we can know."""
    return not isinstance(listener, UnixListener) or listener.is_reachable()


def bind(address: UnixAddress, backlog: int, mode: int) -> UnixListener:
    """Bind and listen.

    Args:
        address: where. A file that nobody listens on any more is replaced.
        backlog: how many connections the kernel queues, 1 or more.
        mode: permissions of the file; who may write it may connect. The umask does not count.

    Returns:
        A listening, non-blocking socket. It is the caller's to close.

    Raises:
        BindError: the system refused, somebody listens there, or it is no socket that is there.
    """
    try:
        if not address.file:
            return _listen(address, backlog, None)
        with chown.located(address.file):
            pass  # or root is not to make a file there
        with locked(address.file, _PATIENCE):
            _remove_stale(address.file)
            return _listen(address, backlog, mode)
    except OSError as error:
        raise BindError(f"cannot listen on {address}: {_explain(error, address)}") from error


def _listen(address: UnixAddress, backlog: int, mode: int | None) -> UnixListener:
    listener = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(address.sockaddr)
        if mode is not None:
            listener.file = _file_at(address.file)
            # Until it listens nobody can connect, so it was never more open than this.
            chown.set_mode(address.file, mode, listener.file)
        listener.listen(backlog)
    except BaseException:
        listener.remove_file()
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on.

    Raises:
        OSError: it is no socket, somebody listens, or the system does not say.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(
                errno.EEXIST, "it is there and is no socket; move it away, or use another path"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except PermissionError:
                raise FileExistsError(
                    errno.EEXIST,
                    "it is there, and this user may not connect to it to see whether somebody "
                    "listens; remove it if nobody does",
                ) from None
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                    raise  # not: its queue is full, or it is of another type
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _file_at(path: str) -> File | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _explain(error: OSError, address: UnixAddress) -> str:
    reason = error.strerror or str(error)
    directory = os.path.dirname(address.file)
    size = len(os.fsencode(address.path))
    if error.errno is None and size > _LONGEST:  # it is Python that says so
        return f"its path has {size} bytes, and the system takes {_LONGEST}; use a shorter one"
    if error.errno == errno.EADDRINUSE:
        return f"{reason}; another process listens there (`ss -lxp` shows which)"
    if error.errno == errno.ENOENT:
        return f"there is no directory {directory}"
    if error.errno == errno.ENOTDIR:
        return f"{directory} is no directory"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{reason}; this user must be able to read and write {directory}"
    return reason
