"""Programs of the system that the tests run: clients, proxies, attackers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any
from unittest import SkipTest

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Debian has servers where only root looks."""

QUIET = ("--silent", "--max-time", "30")
"""curl says nothing but what it was asked for; and one that hangs is a failure of its own."""


CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A process in a namespace of its own, where it has the id 1; see unshare(1)."""


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


def curl(url: str, *options: str, send: bytes = b"") -> dict[str, Any]:
    """One transfer with curl.

    Args:
        url: from where, or to where.
        options: of curl, before the URL.
        send: its standard input.

    Returns:
        What curl says of it (``--write-out`` in curl(1)), and what it printed as ``body``.

    Raises:
        SkipTest: it is not installed.
    """
    facts = ("--write-out", "%{stderr}%{json}")
    done = run("curl", *QUIET, *facts, *options, url, send=send)
    return {**json.loads(done.stderr), "body": done.stdout.decode()}
