"""Binds UNIX sockets without races, and removes their files again.

Two processes that start at the same time must not both find a stale file and replace it, and
neither may take for stale a socket that the other has bound but that does not listen yet. So the
check and the bind happen under a lock, on a file beside the socket (`lock`). Binding under another
name and renaming would leave that name in ``ss -lx``, and would silently replace a file that
another process has put there in the meantime.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass

from twisted.logger import Logger

from ...address import UnixAddress
from ...errors import BindError
from ..host import chown
from ..host.lock import locked

_PATIENCE = 2.0
"""Seconds to wait for the lock, which others hold for the time of a bind."""

_LONGEST = 107
"""Bytes of a path (``sun_path`` in unix(7), less the NUL)."""

_log = Logger()


@dataclass(frozen=True)
class SocketFile:
    """The file of a UNIX socket.

    Device and inode prove that a file is this one: no other file can have them while the socket is
    open.
    """

    path: str
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> SocketFile | None:
        """The file that a path leads to now; None if there is none."""
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return cls(path, found.st_dev, found.st_ino)

    def is_in_place(self) -> bool:
        """Whether the path still leads to it."""
        return SocketFile.at(self.path) == self

    def remove(self) -> None:
        """Remove it, unless something else has the path by now."""
        if not self.is_in_place():
            return
        try:
            os.unlink(self.path)
        except OSError as error:
            _log.info(
                "Cannot remove {path}: {reason}; the next start replaces it",
                path=self.path,
                reason=error.strerror,
            )


def bind(address: UnixAddress, backlog: int, mode: int) -> tuple[socket.socket, SocketFile | None]:
    """Bind and listen.

    Args:
        address: where. A file that nobody listens on any more is replaced.
        backlog: how many connections the kernel queues, 1 or more.
        mode: permissions of the file; who may write it may connect. The umask does not count.

    Returns:
        A listening, non-blocking socket, which is the caller's to close, and its file; an abstract
        socket has none.

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


def _listen(
    address: UnixAddress, backlog: int, mode: int | None
) -> tuple[socket.socket, SocketFile | None]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    file = None
    try:
        listener.setblocking(False)
        listener.bind(address.sockaddr)
        if mode is not None:
            file = SocketFile.at(address.file)
            # Nobody can connect until it listens, so it was never open to more users than this.
            chown.set_mode(address.file, mode, None if file is None else (file.device, file.inode))
        listener.listen(backlog)
    except BaseException:
        if file is not None:
            file.remove()
        listener.close()
        raise
    return listener, file


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
