"""Counts the processors that this process may use, by its affinity mask and its CPU quota."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Where systemd and container runtimes mount the hierarchies of cgroups(7)."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""The cgroups of this process."""


def usable(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The number of processors that are worth a process each; 1 or more.

    A quota is rounded up, as the JVM does it: half a processor more is worth another process.

    Args:
        root: as for `quota`.
        membership: likewise.
    """
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:  # elsewhere than on Linux
        available = os.cpu_count() or 1
    return max(1, math.ceil(min(available, quota(root, membership))))


def quota(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float:
    """The least processor time that a cgroup of this process lets it have, see cgroups(7).

    Args:
        root: the directory where the hierarchies are mounted.
        membership: a file as ``/proc/self/cgroup``.

    Returns:
        Seconds of all processors in a second; infinite if nothing limits it.
    """
    return min(_quotas(root, membership), default=math.inf)


def _quotas(root: Path, membership: Path) -> Iterator[float]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # elsewhere than on Linux, or there are no cgroups
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, files = root, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            mount, files = root / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        # Each group is within the limits of those above. What a container sees may begin below
        # what its path names: then only the root is there, and that is its own.
        within = Path(path.lstrip("/"))
        for group in (within, *within.parents):
            with suppress(OSError, ValueError):  # no such group or limit; "max", which is none
                text = " ".join((mount / group / each).read_text() for each in files)
                allowed, period = map(int, text.split())
                if allowed > 0:  # -1 is none
                    yield allowed / period
