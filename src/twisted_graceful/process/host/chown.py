"""Opens and chowns files in directories of another user, as root, safely.

twistd starts as root, opens its files and then changes to a user. That user may have put a
symbolic link there instead of a file: to ``/etc/shadow``, say, which root would then write to, or
give away. So root looks up a path step by step, on descriptors, and follows a link of another user
only to a directory of the same user; a file with another name (a hard link) is left alone. Links of
root's own lead anywhere.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager

_MOST_LINKS = 40
"""Links that are followed; the kernel's own limit (path_resolution(7))."""

_PATH = getattr(os, "O_PATH", 0)
"""On Linux this opens a link itself, and opening a FIFO or a device has no effect."""

_STEP = _PATH | os.O_NOFOLLOW | os.O_CLOEXEC

_DESCRIPTORS = "/proc/self/fd"

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def located(path: str) -> Iterator[tuple[int, str]]:
    """The directory that a file is in, or would be made in, once all links are followed.

    Args:
        path: absolute.

    Yields:
        A descriptor of the directory, for ``dir_fd`` arguments, and the name there, which was no
        link a moment ago: open it with ``O_NOFOLLOW``.

    Raises:
        PermissionError: root would follow another user's link to what is not that user's.
        OSError: there is no such directory.
    """
    if not _PATH:
        real = os.path.realpath(path)
        directory = os.open(os.path.dirname(real), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with _closing(directory):
            yield directory, os.path.basename(real)
        return
    directory = os.open("/", _STEP | os.O_DIRECTORY)
    try:
        pending = _names(path)
        owners: set[int] = set()
        links = 0
        name = "."
        while pending:
            name = pending.pop()
            try:
                found = os.open(name, _STEP, dir_fd=directory)
            except FileNotFoundError:
                if pending:
                    raise
                break
            status = os.fstat(found)
            if stat.S_ISLNK(status.st_mode):
                with _closing(found):
                    target = os.readlink("", dir_fd=found)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                owners.add(status.st_uid)
                pending += _names(target)
                if target.startswith("/"):
                    os.close(directory)
                    directory = os.open("/", _STEP | os.O_DIRECTORY)
            elif pending:
                os.close(directory)
                directory = found
                if not stat.S_ISDIR(status.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            else:
                os.close(found)
        _refuse_strangers(owners, os.fstat(directory).st_uid)
        yield directory, name
    finally:
        os.close(directory)


def open_file(path: str, flags: int, mode: int = 0o644) -> int:
    """open(2), for a file that root may share with another user.

    Raises:
        PermissionError: root does not open it, and why.
        OSError: the system refuses.
    """
    if os.geteuid():
        return os.open(path, flags, mode)
    with located(path) as (directory, name):
        return open_in(directory, name, flags, mode)


def open_in(directory: int, name: str, flags: int, mode: int = 0o644) -> int:
    """open(2), for a file in a directory that `located` has found; the errors of `open_file`."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=directory)
    status, around = os.fstat(descriptor), os.fstat(directory)
    # Whoever may write the directory may have made the name; its owner only for its own files.
    is_suspect = status.st_uid != around.st_uid if around.st_uid else around.st_mode & _OTHERS
    if not os.geteuid() and is_suspect and _has_more_names(status):
        os.close(descriptor)
        raise _more_names(name, status)
    return descriptor


def give(path: str, uid: int, gid: int) -> None:
    """Make a user the owner of a file or a socket; anything else, or nothing, is left alone.

    Args:
        path: absolute.
        uid: of the user; -1 for no change.
        gid: of the group; -1 for no change.

    Raises:
        OSError: that cannot be done, or must not.
    """
    with located(path) as (directory, name):
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISSOCK(status.st_mode):
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        elif stat.S_ISREG(status.st_mode):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(name, flags, dir_fd=directory)
            with _closing(file):
                status = os.fstat(file)
                if _has_more_names(status):
                    raise _more_names(path, status)
                if stat.S_ISREG(status.st_mode):
                    os.fchown(file, uid, gid)


def set_mode(path: str, mode: int, file: tuple[int, int] | None) -> None:
    """Set the permissions of a socket file, if it is still the one with this device and inode."""
    with located(path) as (directory, name):
        if not (_PATH and os.path.isdir(_DESCRIPTORS)):  # in a chroot, say
            os.chmod(name, mode, dir_fd=directory)
            return
        found = os.open(name, _STEP, dir_fd=directory)
        with _closing(found):
            status = os.fstat(found)
            if (status.st_dev, status.st_ino) != file:
                raise PermissionError(errno.EPERM, f"{path} has just been replaced")
            # fchmod(2) takes no descriptor made with O_PATH.
            os.chmod(f"{_DESCRIPTORS}/{found}", mode)


def _names(path: str) -> list[str]:
    """The names in a path, last first."""
    return [name for name in reversed(path.split("/")) if name]


def _refuse_strangers(owners: set[int], owner: int) -> None:
    strangers = owners - {0, owner}
    if strangers and os.geteuid() == 0:
        raise PermissionError(
            errno.EPERM,
            f"root does not follow a symbolic link of user {_user(min(strangers))} to a directory "
            f"of user {_user(owner)}; name the file itself, or let root make the link",
        )


def _has_more_names(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink > 1


def _more_names(path: str, status: os.stat_result) -> OSError:
    return PermissionError(
        errno.EPERM,
        f"{path} has {status.st_nlink} names (hard links), and may be another file as well",
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
