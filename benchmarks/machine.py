"""Processors and processes: what the system tells, and where they run (Linux)."""

from __future__ import annotations

import os
import platform
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import Trouble

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


# Cores


def two_cores() -> tuple[int, int]:
    """A core for the server and another for the load.

    If possible they are not threads of one core.

    Raises:
        Trouble: this process may use only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Trouble("two processors are needed, one for the server and one for the load")
    server = allowed.pop()
    return server, next((core for core in allowed if core not in _siblings(server)), allowed[0])


def _siblings(core: int) -> set[int]:
    """The processors that share a core with this one."""
    topology = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    siblings: set[int] = set()
    with suppress(OSError):
        for part in topology.read_text().strip().split(","):
            first, _, last = part.partition("-")
            siblings.update(range(int(first), int(last or first) + 1))
    return siblings


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run on one core; processes that are started meanwhile stay there (sched_setaffinity(2))."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise Trouble(f"cannot use processor {core}: {error.strerror}") from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# Processes


def _session(leader: int) -> Iterator[list[str]]:
    """For each process of a session, its fields in /proc/PID/stat from the third on (proc(5))."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                # The name before it may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[3] == str(leader):
                    yield fields


def cpu_seconds(leader: int) -> float:
    """The processor time that the processes of a session have used."""
    return sum(int(fields[11]) + int(fields[12]) for fields in _session(leader)) / TICKS


def resident(leader: int) -> int:
    """The memory that the processes of a session have, in bytes (RSS)."""
    return sum(int(fields[21]) for fields in _session(leader)) * PAGE


def children_cpu_seconds() -> float:
    """The processor time of our children that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def raise_file_limit() -> int:
    """Let us, and what we start, have as many files open as the system allows; return how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# The machine


def facts() -> dict[str, str]:
    """What a reader must know about the machine to judge the numbers."""
    models = re.findall(r"(?m)^model name\s*:\s*(.+)$", (PROC / "cpuinfo").read_text())
    return {
        "processor": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "load average": f"{os.getloadavg()[0]:.2f}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }
