"""Programs of the system that the tests run: clients, proxies, attackers."""

from __future__ import annotations

import os
import shutil
import subprocess
from unittest import SkipTest

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Debian has servers where only root looks."""


def program(name: str) -> str:
    """The path of a program.

    Raises:
        SkipTest: it is not installed.
    """
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise SkipTest(f"{name} is not installed")
    return path


def run(
    name: str, *arguments: str, send: bytes = b"", seconds: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, whatever its exit status.

    Args:
        name: of the program.
        arguments: of the program.
        send: its standard input.
        seconds: after which it is killed.

    Raises:
        SkipTest: it is not installed.
        subprocess.TimeoutExpired: it did not end in time.
    """
    return subprocess.run(
        [program(name), *arguments], input=send, capture_output=True, timeout=seconds, check=False
    )
