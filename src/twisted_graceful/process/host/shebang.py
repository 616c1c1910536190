"""The interpreter that the first line of a script names; see execve(2)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

_READ = 4096
"""Bytes of a script that are read; the kernel reads 256."""


def interpreter(script: str) -> list[str]:
    """The command that runs a script, without the script.

    Returns:
        The interpreter and at most one argument; nothing if the file is not an executable script.
    """
    try:
        if not os.access(script, os.X_OK):
            return []
        with open(script, "rb") as file:
            line, _, _ = file.read(_READ).partition(b"\n")
    except OSError:
        return []
    if not line.startswith(b"#!"):
        return []
    return os.fsdecode(line[2:].strip()).split(None, 1)


def was_used(script: str, words: Sequence[str]) -> bool:
    """Whether a script was run by its own first line, and not by a command that names Python.

    Args:
        script: the path.
        words: what the interpreter found before the script on its command line, its own name
            included.
    """
    command = interpreter(script)
    if not command:
        return False
    name = os.path.basename(command[0])
    if name == "sh":
        # What pip writes where a path is too long for the kernel, and uv in an environment that
        # can be moved: a shell script that runs the Python beside it.
        return len(words) == 1
    if name == "env":
        command = [each for each in shlex.split(" ".join(command[1:])) if each != "-S"]
        while command and "=" in command[0]:
            del command[0]
    return list(words) == command
