"""What Linux says about a process in ``/proc/PID/stat`` (proc_pid_stat(5))."""

from __future__ import annotations

from pathlib import Path


def proc_stat(pid: int) -> tuple[str, list[str]]:
    """The name of a process, and the fields that follow it: its state first, then its parent.

    Raises:
        OSError: there is no such process, or no such file system.
    """
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    before, _, after = text.rpartition(")")  # the name may contain spaces and parentheses
    return before.partition("(")[2], after.split()
