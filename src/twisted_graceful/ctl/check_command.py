"""``gracefulctl check``: checks whether the code on disk could serve."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NoReturn

from .outcome import CtlError, Exit
from .record import RecordReader

_RUNNERS = re.compile(r"(twistd?[0-9.]*)")
"""The names under which Twisted's runners are installed, or given to ``python -m``."""

_ADVICE = "run `twistd graceful --check` with its options"


def run_check(pid: int) -> NoReturn:
    """Become ``twistd graceful --check`` with all else as a process was started.

    Raises:
        CtlError: how it was started cannot be seen, or is no command of ours.
    """
    try:
        with RecordReader(pid) as record:
            launch = record.launch
        command = [launch["executable"], *launch["arguments"]]
        directory, environ = launch["directory"], launch["environment"]
    except PermissionError:
        raise CtlError(
            Exit.NOT_ALLOWED,
            f"how process {pid} was started may not be seen: run this as its user, or as root",
        ) from None
    except (OSError, LookupError, TypeError) as error:
        raise CtlError(
            Exit.NOT_SUPPORTED,
            f"how process {pid} was started is not known: {error}; {_ADVICE}",
        ) from None
    if not takes_check(command):
        raise CtlError(
            Exit.NOT_SUPPORTED,
            f"process {pid} was not started by `twistd graceful`, but by "
            f"{' '.join(command)[:200]!r}; {_ADVICE}",
        )
    try:
        os.chdir(directory)
    except OSError as error:
        raise CtlError(
            Exit.FAILED, f"the server's directory {directory!r}: {error.strerror}"
        ) from None
    try:
        os.execve(command[0], [*command, "--check"], environ)
    except OSError as error:
        raise CtlError(Exit.FAILED, _cannot_run(command[0], error)) from None


def _cannot_run(program: str, error: OSError) -> str:
    """Why a program that a server was started with cannot be executed."""
    text = f"the server was started with {program!r}, which cannot be executed: {error.strerror}"
    if not os.path.lexists(program):
        return f"{text}. Install the virtual environment or the interpreter again"
    if not os.path.exists(program):
        return f"{text}. It is a symlink to {os.path.realpath(program)!r}, which does not exist"
    if isinstance(error, FileNotFoundError):
        return f"{text}. The interpreter that its first line names does not exist"
    return text


def takes_check(command: Sequence[str]) -> bool:
    """Whether a command takes ``--check`` as its last argument."""
    if "graceful" not in command:
        return False
    before = command[: command.index("graceful")]
    return any(_RUNNERS.fullmatch(os.path.basename(each)) for each in before) or (
        "twisted" in before
    )
