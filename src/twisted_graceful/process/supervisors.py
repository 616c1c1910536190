"""What started this process and waits for its end: a supervisor, or the init of a container.

In an upgrade the first process ends and another one serves. A supervisor that watches the process
it has started takes that for the end of the service: it stops what is left, or starts a second
server. There an upgrade is refused; with workers the process that is watched stays.

systemd is told of the new main process where it listens (``Type=notify``), and reads it from the
pid file of a daemon (``Type=forking``). A daemon is nobody's child; whether this process has become
one is seen by its pid, which is not that of the start any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

RECYCLED = os.EX_TEMPFAIL
"""The exit status with which a process asks its supervisor for another one in its place. It is not
0, after which supervisord and systemd's ``Restart=on-failure`` start nothing."""

_HUP = "with --workers 1 or more HUP replaces the workers, and this process stays"


@dataclass(frozen=True)
class ParentSupervisor:
    """What takes the end of this process for the end of the service.

    Attributes:
        watches: who watches whom, a sentence without its full stop.
        advice: what would happen, and what to do instead.
        restarts: whether the program is started again when it ends.
    """

    watches: str
    advice: str
    restarts: bool = True

    @property
    def refusal(self) -> str:
        """Why there is no upgrade, and what to do."""
        return f"{self.watches}, {self.advice}"


@dataclass(frozen=True)
class Ancestor:
    """A process as its descendants see it.

    Attributes:
        name: of its program; the kernel keeps 15 characters.
        parent: the process id of its parent.
        group: its process group.
        session: its session.
    """

    name: str = ""
    parent: int = 0
    group: int = 0
    session: int = 0


_WAIT = frozenset(
    (
        # inits of containers
        *("tini", "tini-static", "docker-init", "dumb-init", "catatonit"),
        # programs that run a command
        *("sudo", "su", "runuser", "doas", "timeout", "unshare", "pidproxy", "strace"),
    )
)
"""Programs that end when the process that they have started does."""

_SHELLS = frozenset(("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "busybox"))

_SUPERVISORS = {
    "supervisord": "supervisord",
    "circusd": "circusd",
    "runsv": "runsv (runit)",
    "s6-supervise": "s6-supervise",
    "supervise": "supervise (daemontools)",
    "supervise-daemo": "supervise-daemon (OpenRC)",
    "perpd": "perpd",
    "dinit": "dinit",
}
"""Supervisors that start a child again when it ends, by the names of their processes."""

_RUNS_TOGETHER = frozenset(("honcho", "foreman", "overmind", "hivemind", "goreman"))
"""Those that end all their children when one has ended."""


def look(pid: int) -> Ancestor:
    """A process; all is empty if it cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        before, _, after = text.rpartition(")")  # a name may hold anything
        _, parent, group, session, *_ = after.split()
        name = before.partition("(")[2]
        if name.startswith("python"):  # python -m circus.circusd
            words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
            programs = {os.path.basename(each).rpartition(".")[2] for each in words[1:4]}
            known = programs.intersection((*_SUPERVISORS, *_RUNS_TOGETHER))
            name = known.pop() if known else name
        return Ancestor(name, int(parent), int(group), int(session))
    except (OSError, ValueError):
        return Ancestor()


def parent_supervisor(
    environ: Mapping[str, str],
    pid: int,
    *,
    notifies: bool = False,
    look: Callable[[int], Ancestor] = look,
) -> ParentSupervisor | None:
    """What watches a process that has just been started.

    Args:
        environ: its environment at the start.
        pid: the process.
        notifies: whether a service manager listens for which process is the main one.
        look: finds out about a process.

    Returns:
        None if nothing does, or if that cannot be seen.
    """
    watched = [pid]
    ancestor = look(pid)
    while watched[-1] != 1 and (above := look(ancestor.parent)).name:
        # A shell without job control has its children in its own process group, and waits for them.
        if (above.name in _SHELLS and above.group == ancestor.group) or above.name in _WAIT:
            watched.append(ancestor.parent)
            ancestor = above
        else:
            break
    if watched[-1] == 1:
        return _container(pid, ancestor.name)
    name = look(ancestor.parent).name
    if "SUPERVISOR_ENABLED" in environ:  # supervisord sets it
        name = "supervisord"
    if name.startswith("PM2 v") or ("PM2_HOME" in environ and "pm_id" in environ):
        return _restarting("PM2")
    if name in _SUPERVISORS:
        return _restarting(_SUPERVISORS[name])
    if name in _RUNS_TOGETHER:
        return ParentSupervisor(
            f"{name} watches this process",
            f"and would end all others with it. Do not upgrade it: {_HUP}",
            restarts=False,
        )
    if not notifies and _is_systemd(environ, watched, ancestor, name):
        return ParentSupervisor(
            "systemd watches this process",
            "and would take its end for the end of the service. Set Type=notify-reload or "
            f"Type=notify in its unit; or, {_HUP}",
        )
    return None


def _container(pid: int, init: str) -> ParentSupervisor:
    return ParentSupervisor(
        "this is process 1 of its container"
        if pid == 1
        else f"this is the process for which {init} runs its container",
        "and the container would end together with it. Start a new container with the new code "
        f"instead; {_HUP}",
        restarts=False,  # or not; that cannot be seen from inside
    )


def _restarting(name: str) -> ParentSupervisor:
    return ParentSupervisor(
        f"{name} watches this process",
        f"and would take its end for the end of the service. Do not upgrade it: {_HUP}",
    )


def _is_systemd(environ: Mapping[str, str], watched: list[int], top: Ancestor, parent: str) -> bool:
    """Whether the topmost of the processes that wait for this one is the main one of a unit."""
    main = environ.get("SYSTEMD_EXEC_PID", "")
    if main:
        return main in map(str, watched)
    # Before systemd 248 there is a mark that every descendant inherits. The main process leads a
    # session of its own.
    return "INVOCATION_ID" in environ and parent == "systemd" and top.session == watched[-1]
