"""What the system tells about processes: /proc, and who reaps orphans (Linux)."""

from __future__ import annotations

import ctypes
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
TCP_LISTEN = "0A"


def _stat(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()  # the name before it may hold anything


def pids() -> list[int]:
    """Every process."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def exists(pid: int) -> bool:
    """Whether there is a process, be it a zombie."""
    return bool(_stat(pid))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def children(pid: int) -> list[int]:
    """The children of a process, zombies too."""
    return [each for each in pids() if _stat(each)[1:2] == [str(pid)]]


def environment(pid: int) -> dict[str, str]:
    """What a process was started with; nothing if it is a zombie or not ours to see."""
    try:
        text = (PROC / str(pid) / "environ").read_text(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind: files by their path, the rest by its type."""
    return Counter(re.sub(r":\[\d+\]$", "", each) for each in _descriptors(pid))


def _descriptors(pid: int) -> Iterator[str]:
    """What each descriptor of a process is, as readlink(1) shows it."""
    for entry in (PROC / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(entry)


def watches_files(pid: int) -> bool:
    """Whether a process is told of changes of some files, see inotify(7)."""
    return any("inotify wd:" in each.read_text() for each in (PROC / str(pid) / "fdinfo").iterdir())


def resident(pid: int) -> int:
    """How much memory a process has, in KiB."""
    status = (PROC / str(pid) / "status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def _sockets() -> list[tuple[int, str, str]]:
    """The local port, the state and the inode of every IPv4 TCP socket."""
    rows = [line.split() for line in (PROC / "net/tcp").read_text().splitlines()[1:]]
    return [(int(row[1].rpartition(":")[2], 16), row[3], row[9]) for row in rows]


def listening_sockets() -> list[tuple[int, str]]:
    """The port and the inode of every IPv4 socket that listens."""
    return [(port, inode) for port, state, inode in _sockets() if state == TCP_LISTEN]


def connections(port: int) -> int:
    """How many connections to a port of this host some process has open at its end."""
    return sum(
        local == port and state != TCP_LISTEN and inode != "0" for local, state, inode in _sockets()
    )


def sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    return {
        found[1]
        for entry in _descriptors(pid)
        if (found := re.fullmatch(r"socket:\[(\d+)\]", entry)) is not None
    }


def has_ended_sockets(pid: int) -> bool:
    """Whether a process has a TCP socket open whose connection is over.

    The system does not list it any more (TCP_CLOSE), but it is a descriptor still.
    """
    listed = [(PROC / "net" / name).read_text() for name in ("tcp", "tcp6", "unix")]
    return not sockets(pid) <= set(" ".join(listed).split())


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Be the parent of orphans among our descendants, and so learn their exit status."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
