"""What ps(1) and top(1) show of a process, where the extra ``titles`` is installed."""

from __future__ import annotations

from collections.abc import Sequence

PREFIX = "twisted-graceful"


def title(generation: int, worker: int, *, is_master: bool, apps: Sequence[str]) -> str:
    """The title of a process.

    Args:
        generation: its number.
        worker: the number of a worker; 0 for any other process.
        is_master: whether it has workers.
        apps: the names of what is served; none if nobody knows them.
    """
    role = "master, " if is_master else f"worker {worker}, " if worker else ""
    served = f" [{', '.join(apps)}]" if apps else ""
    return f"{PREFIX}: {role}generation {generation}{served}"


def set_title(text: str) -> None:
    """Show a title in the place of the command line; without the extra nothing happens."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(text)
