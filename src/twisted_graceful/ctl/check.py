"""``gracefulctl check``: whether the code that is on disk now would serve."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from .outcome import CtlError, Exit

_RUNNERS = re.compile(r"(twistd?[0-9.]*)")
"""The names under which Twisted's runners are installed, or given to ``python -m``."""

_NOT_ITS_OWN = re.compile(
    r"(TWISTED_GRACEFUL_\w+|LISTEN_(FDS|FDNAMES|PID)|NOTIFY_SOCKET|WATCHDOG_\w+)"
)
"""Variables with which another process was told what is none of ours."""

_ADVICE = "run `twistd graceful --check` with its options"


def run_check(pid: int) -> NoReturn:
    """Become ``twistd graceful --check`` with all else as a process was started.

    Raises:
        CtlError: how it was started cannot be seen, or is no command of ours.
    """
    proc = Path(f"/proc/{pid}")
    try:
        command = _texts(proc / "cmdline")
        pairs = (each.partition("=") for each in _texts(proc / "environ"))
        environ = {name: value for name, _, value in pairs if name}
        executable = os.readlink(proc / "exe")
        directory = _directory(environ, str(proc / "cwd"))
    except PermissionError:
        raise CtlError(
            Exit.NOT_ALLOWED,
            f"how process {pid} was started may not be seen: run this as its user, or as root",
        ) from None
    except OSError as error:
        raise CtlError(
            Exit.NOT_SUPPORTED,
            f"how process {pid} was started is not known: {error}; {_ADVICE}",
        ) from None
    if not is_ours(command):
        raise CtlError(
            Exit.NOT_SUPPORTED,
            f"process {pid} was not started by `twistd graceful`, or shows a title (the extra "
            f"`titles`) instead of its command, {' '.join(command).strip()[:200]!r}; {_ADVICE}",
        )
    # A virtual environment is found by the name under which its interpreter is called.
    interpreter = shutil.which(command[0], path=environ.get("PATH")) or executable
    os.chdir(directory)
    for name in list(environ):
        if _NOT_ITS_OWN.fullmatch(name):
            del environ[name]
    os.execve(interpreter, [*command, "--check"], environ)


def _texts(path: Path) -> list[str]:
    return os.fsdecode(path.read_bytes()).split("\0")[:-1]


def is_ours(command: Sequence[str]) -> bool:
    """Whether a command takes ``--check`` as its last argument."""
    if "graceful" not in command:
        return False
    before = command[: command.index("graceful")]
    return any(_RUNNERS.fullmatch(os.path.basename(each)) for each in before) or (
        "twisted" in before
    )


def _directory(environ: Mapping[str, str], physical: str) -> str:
    """The directory of the start, by its own name: a release may be behind a symlink.

    Where that link points elsewhere by now, the code on disk is there.
    """
    logical = environ.get("PWD", "")
    is_there = os.path.isabs(logical) and os.path.isdir(logical)
    if is_there and (
        os.path.samefile(logical, physical) or os.path.realpath(logical) != logical.rstrip("/")
    ):
        return logical
    return os.readlink(physical)
