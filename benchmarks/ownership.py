"""Whose a TCP connection is: what the system tells of sockets and of who has them open (Linux)."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

from machine import PROC, Process

LOOKS = 2
"""How often the table of connections is read: what changes amid a reading can hide a line of it."""

STOP_TIMEOUT = 5.0
"""Seconds that a process may take to stand still."""

_OPEN, _CLOSED_BY_CLIENT = "01", "08"
"""ESTABLISHED and CLOSE_WAIT, as /proc/net/tcp has them."""


def stand_still(pid: int) -> bool:
    """Stop a process (SIGSTOP), and wait until it does nothing more: what it has then it keeps.

    Returns:
        Whether it does; False if it has ended, or takes too long.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + STOP_TIMEOUT
    while (process := Process.look(pid)) is not None and process.runs:
        if process.state == "T":
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return False


def clients_of(pid: int, port: int) -> frozenset[int]:
    """The ports of the clients that a process has accepted.

    Args:
        pid: of a process that stands still.
        port: on which it accepts.
    """
    has = _sockets(pid)
    return frozenset(
        client for _ in range(LOOKS) for client, _, inode in _connections(port) if inode in has
    )


def queued(port: int) -> frozenset[int]:
    """The ports of the clients that wait in the kernel until somebody accepts them."""
    return frozenset(
        client
        for client, state, inode in _connections(port)
        if inode == "0" and state in (_OPEN, _CLOSED_BY_CLIENT)
    )


def _connections(port: int) -> list[tuple[int, str, str]]:
    """The client's port, the state and the inode of each connection that came in on a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        (_port(remote), state, row[9])
        for row in rows
        for _, local, remote, state in [row[:4]]
        if _port(local) == port and _port(remote)
    ]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    for entry in (PROC / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):  # a thread of it may have closed it
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
            if match is not None:
                found.add(match[1])
    return found
