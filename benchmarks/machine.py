"""Processors and processes: what the system tells, and where they run (Linux)."""

from __future__ import annotations

import os
import platform
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Process:
    """A process, as it was at one moment.

    Attributes:
        pid: its number.
        session: the number of the process that leads its session.
        state: what it does, a letter; proc(5) has them.
        cpu: the processor time that it has used, in seconds.
        resident: its memory, in bytes (RSS).
    """

    pid: int
    session: int
    state: str
    cpu: float
    resident: int

    @classmethod
    def look(cls, pid: int) -> Process | None:
        """It, from /proc/PID/stat (proc(5)); None if there is none of this number."""
        try:
            text = (PROC / str(pid) / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name, which may hold anything, ends with the last parenthesis.
        state, *fields = text.rpartition(")")[2].split()
        return cls(
            pid,
            session=int(fields[2]),
            state=state,
            cpu=(int(fields[10]) + int(fields[11])) / TICKS,
            resident=int(fields[20]) * PAGE,
        )

    @property
    def runs(self) -> bool:
        """Whether it has not ended; who has ended stays until it is waited for."""
        return self.state not in "ZX"

    def descriptors(self) -> int:
        """How many it has open; 0 if it has ended."""
        try:
            return len(os.listdir(PROC / str(self.pid) / "fd"))
        except OSError:
            return 0


def session(leader: int) -> list[Process]:
    """The processes of a session."""
    found = (Process.look(int(each.name)) for each in PROC.iterdir() if each.name.isdigit())
    return [each for each in found if each is not None and each.session == leader]


def resident(leader: int) -> int:
    """The memory that the processes of a session have, in bytes (RSS)."""
    return sum(each.resident for each in session(leader))


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
