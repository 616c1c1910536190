"""Finds paths as the user wrote them, through symlinks, from the paths that these lead to.

A release directory is usually entered through a symlink (``current -> releases/7``), but the kernel
reports the directory behind it, and pip writes that directory into the scripts it installs. The
symlink appears only in what the user wrote: ``$PWD``, the command line, ``PYTHONPATH``. A path
spelled through it leads to the current release, even when the old one has been removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator


class Symlinks:
    """The symlinks in some paths, by the directories they lead to.

    Args:
        written: paths and other words; only absolute paths count, and of two that lead to the same
            directory the first.
    """

    def __init__(self, written: Iterable[str]) -> None:
        self._by_target: dict[str, str] = {}
        for path in written:
            for prefix in _prefixes(path):
                target = os.path.realpath(prefix)
                if target != prefix and os.path.isdir(target):
                    self._by_target.setdefault(target, prefix)

    def spell(self, path: str) -> str:
        """An absolute path, through the symlink that leads to the directory it is in, if any.

        A path that names a symlink itself is what the user wrote, and stays as it is. The last
        component is never resolved: ``venv/bin/python`` is a symlink that Python needs.
        """
        directory = os.path.dirname(path)
        if os.path.isabs(path) and os.path.realpath(directory) == directory:
            for prefix in _prefixes(path):
                if prefix in self._by_target:
                    return self._by_target[prefix] + path[len(prefix) :]
        return path


def _prefixes(path: str) -> Iterator[str]:
    """An absolute path and the directories above it, the longest first, without the root."""
    while os.path.isabs(path) and path.strip("/"):
        yield path
        path = os.path.dirname(path.rstrip("/"))


def missing(path: str) -> str:
    """Why a path leads nowhere, as the end of a sentence about it.

    Returns:
        "does not exist", with the component or the symlink where the path ends, or what else the
        system says of it, such as "Permission denied"; empty if the path exists.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a loop of symlinks, or a directory that this user may not search
        return f"cannot be reached: {error.strerror}"
    else:
        return ""
    for prefix in reversed([*_prefixes(path)]):
        if os.path.islink(prefix) and not os.path.exists(prefix):
            return f"does not exist: {prefix} is a symlink to {os.readlink(prefix)}, which is gone"
        if not os.path.lexists(prefix) and prefix != path:
            return f"does not exist: there is no {prefix}"
    return "does not exist"
