"""Finds a parent that waits for the end of this process: a supervisor, or a container's init.

In an upgrade the first process ends and another one serves. A supervisor that watches the process
it has started takes that for the end of the service: it stops what is left, or starts a second
server. So an upgrade is refused there; with workers, the watched process stays.

systemd learns of the new main process by a notification (``Type=notify``), or from the pid file of
a daemon (``Type=forking``). A daemon has left its parent; this process has become one if its pid is
no longer that of the start.

A terminal that runs a command, and not a shell where somebody types, closes when that ends, and
the kernel sends HUP to what is left in it (``tmux new-session 'twistd ...'``, ``screen -dm``,
``ssh -t``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from .proc_stat import proc_stat

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
    """What a process can see of one of its ancestors.

    Attributes:
        names: of its program, the best one first: the kernel's (15 characters), and that of its
            command line; for a script also that of its interpreter. Empty if it cannot be seen.
        parent: the process id of its parent; 0 if that is outside the container.
        group: its process group.
        session: its session.
        terminal: whether it has a controlling terminal.
    """

    names: tuple[str, ...] = ()
    parent: int = 0
    group: int = 0
    session: int = 0
    terminal: bool = False

    def is_one_of(self, names: Collection[str]) -> bool:
        """Whether it has one of some names."""
        return any(each in names for each in self.names)


_WAIT = frozenset(
    (
        # inits of containers
        *("tini", "tini-static", "docker-init", "dumb-init", "catatonit"),
        # programs that run a command
        *("sudo", "su", "runuser", "doas", "timeout", "unshare", "strace", "pidproxy"),
        *("flock", "time", "bwrap"),
        *("uv", "hatch", "conda", "mamba", "pdm", "pixi"),
    )
)
"""Programs that end when the process that they have started does."""

_SHELLS = frozenset(("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "busybox"))

_RUNTIMES = frozenset(("containerd-shim", "conmon"))
"""What starts containers, seen where a container has no process ids of its own."""

_PAUSES = frozenset(("pause", "podman-pause", "catatonit"))
"""Process 1 of a pod whose containers share their process ids."""

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
"""Programs that end all their children when one has ended."""


def look(pid: int) -> Ancestor:
    """A process; all is empty if it cannot be seen."""
    try:
        name, (_, parent, group, session, terminal, *_) = proc_stat(pid)
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return Ancestor()
    names = [name, os.path.basename(words[0]).lstrip("-")]
    if names[1].startswith(("python", "ruby")):
        # python /usr/bin/supervisord, python -m circus.circusd
        names += [os.path.basename(each).rpartition(".")[2] for each in words[1:4]]
    numbers = int(parent), int(group), int(session)
    return Ancestor(tuple(filter(None, names)), *numbers, terminal=terminal != "0")


def parent_supervisor(
    environ: Mapping[str, str],
    pid: int,
    *,
    notifies: bool = False,
    ignores_hup: bool = False,
    look: Callable[[int], Ancestor] = look,
) -> ParentSupervisor | None:
    """What watches a process that has just been started.

    Args:
        environ: its environment at the start.
        pid: the process.
        notifies: whether a service manager listens for which process is the main one.
        ignores_hup: whether it survives the end of its terminal (nohup(1)).
        look: finds out about a process.

    Returns:
        None if nothing does, or if that cannot be seen.
    """
    this = look(pid)
    watched, top = _watched_with(pid, this, look)
    parent = look(top.parent)
    entered = bool(top.names) and not top.parent  # from outside: by the runtime, or docker exec
    if (
        watched[-1] == 1
        or (entered and not _has_main_process(look(1)))
        or parent.is_one_of(_RUNTIMES)
    ):
        return _container(watched[-1], "" if watched[-1] == pid else top.names[0])
    # A shell in a terminal below a supervisor inherits the supervisor's variables, too.
    if not parent.is_one_of(_SHELLS):
        if "SUPERVISOR_ENABLED" in environ:  # supervisord sets it
            return _restarting("supervisord")
        if "PM2_HOME" in environ and "pm_id" in environ:
            return _restarting("PM2")
    if (found := _named(parent.names)) is not None:
        return found
    if not notifies and _is_systemd(environ, watched, top, parent):
        return ParentSupervisor(
            "systemd watches this process",
            "and would take its end for the end of the service. Set Type=notify-reload or "
            f"Type=notify in its unit; or, {_HUP}",
        )
    if this.terminal and this.session in watched and not ignores_hup:
        return ParentSupervisor(
            "this process is the command that its terminal runs (tmux, screen, ssh -t)",
            "and the terminal would close together with it, and stop the new process. Start it as "
            f"a daemon, with nohup, or from a shell in the terminal; or, {_HUP}",
            restarts=False,
        )
    return None


def _watched_with(
    pid: int, this: Ancestor, look: Callable[[int], Ancestor]
) -> tuple[list[int], Ancestor]:
    """The processes that only wait for this one, from it upwards; and the highest of them."""
    watched, top = [pid], this
    while watched[-1] != 1:
        above = look(top.parent)
        # A shell without job control has its children in its own process group, and waits for them.
        in_its_group = above.is_one_of(_SHELLS) and above.group == top.group
        if not in_its_group and not above.is_one_of(_WAIT):
            break
        watched.append(top.parent)
        top = above
    return watched, top


def _named(names: Collection[str]) -> ParentSupervisor | None:
    """The supervisor that a parent with these names is."""
    for name in names:
        if name in _SUPERVISORS:
            return _restarting(_SUPERVISORS[name])
        if name in _RUNS_TOGETHER:
            return ParentSupervisor(
                f"{name} watches this process",
                f"and would end all others with it. Do not upgrade it: {_HUP}",
                restarts=False,
            )
    return None


def _has_main_process(first: Ancestor) -> bool:
    """Whether process 1 is the main one of its container, and not a pod's, which does nothing."""
    return bool(first.names) and not first.is_one_of(_PAUSES)


def _container(top: int, init: str) -> ParentSupervisor:
    if init:
        watches = f"this is the process for which {init} runs its container"
    elif top == 1:
        watches = "this is process 1 of its container"
    else:
        watches = "this is the main process of its container"
    return ParentSupervisor(
        watches,
        "and the container would end together with it. Start a new container with the new code "
        f"instead; {_HUP}",
        restarts=False,  # or it is; that cannot be seen from inside
    )


def _restarting(name: str) -> ParentSupervisor:
    return ParentSupervisor(
        f"{name} watches this process",
        f"and would take its end for the end of the service. Do not upgrade it: {_HUP}",
    )


def _is_systemd(
    environ: Mapping[str, str], watched: list[int], top: Ancestor, parent: Ancestor
) -> bool:
    """Whether the topmost of the processes that wait for this one is the main one of a unit."""
    main = environ.get("SYSTEMD_EXEC_PID", "")
    if main:
        return main in map(str, watched)
    # Before systemd 248 there is a mark that every descendant inherits. The main process leads a
    # session of its own.
    is_its_child = parent.is_one_of(("systemd",))
    return "INVOCATION_ID" in environ and is_its_child and top.session == watched[-1]
