"""The command that starts a successor: that of this process, from the same directory."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import LaunchError, UpgradeRefused
from ..host import shebang
from ..host.supervisors import ParentSupervisor, parent_supervisor
from ..host.symlinks import Symlinks, missing
from .handed_over import handed_over
from .inheritance import VARIABLE

TWISTD_AGAIN = "twisted_graceful.process.twistd"

_TWISTD = re.compile(r"twistd[0-9.]*")
"""The names under which twistd is installed, with some version of Python in it."""

_NOT_INHERITED = (VARIABLE, "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID")
"""What names descriptors of this process only: ours, and socket activation (sd_listen_fds(3))."""

_SEARCHED = ("PATH", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables that name directories of a virtual environment or of a release."""


@dataclass(frozen=True)
class Launch:
    """A command, its working directory and its environment.

    Paths are spelled as the user wrote them, through symlinks, and looked up when the command is
    started: where ``current`` leads to another release by then, that one is started, with the
    interpreter and the libraries of its virtual environment.

    Attributes:
        executable: the path of the Python interpreter, or of a script that was run by its own first
            line.
        arguments: all that follows it.
        directory: where it starts.
        environment: what it starts with.
        refusal: why it cannot be started again; empty if it can.
        pid: the process that was started.
        supervisor: what waits for the end of that process, if anything does.
    """

    executable: str
    arguments: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    refusal: str = ""
    pid: int = 0
    supervisor: ParentSupervisor | None = None

    @classmethod
    def of_this_process(
        cls,
        environ: Mapping[str, str],
        *,
        executable: str = sys.executable,
        orig_argv: Sequence[str] = tuple(sys.orig_argv),
        argv: Sequence[str] | None = None,
        skips_twistd_steps: bool = False,
        detaches: bool = False,
        pid: int | None = None,
    ) -> Launch:
        """How this process was started; ask before anything changes directory.

        Args:
            environ: the environment that this process was started with.
            executable: the interpreter.
            orig_argv: the command line as the interpreter got it.
            argv: the command line as the program got it; None for ``sys.argv``.
            skips_twistd_steps: whether the successor tells twistd itself what not to do
                again. A plugin can; a ``.tac`` file is read too late.
            detaches: whether it is about to become a daemon.
            pid: of this process; None to ask the system.
        """
        argv = sys.argv if argv is None else argv
        pid = os.getpid() if pid is None else pid
        symlinks = _symlinks(environ, orig_argv)
        directory = working_directory(environ, orig_argv)
        command, refusal = _command(
            executable, orig_argv, argv, directory, symlinks, skips_twistd_steps
        )
        return cls(
            executable=command[0],
            arguments=tuple(command[1:]),
            directory=directory,
            environment=_environment(environ, directory, symlinks),
            refusal=refusal,
            pid=pid,
            supervisor=None
            if detaches
            else parent_supervisor(
                environ,
                pid,
                notifies=bool(handed_over().supervision.socket),
                ignores_hup=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
            ),
        )

    def with_variables(self, variables: Mapping[str, str]) -> Launch:
        """The same command, with these variables in its environment too."""
        return replace(self, environment={**self.environment, **variables})

    def supervised(self, pid: int) -> ParentSupervisor | None:
        """What waits for the end of this process.

        Args:
            pid: of this process, which is another one than at the start if it is a daemon now.
        """
        return self.supervisor if pid == self.pid else None

    def require_possible(self) -> None:
        """Make sure that the command can be started again.

        Raises:
            UpgradeRefused: it cannot; the text says why, and what to do.
        """
        if self.refusal:
            raise UpgradeRefused(self.refusal)

    def require_present(self) -> None:
        """Make sure that the directory and the program exist now.

        Raises:
            UpgradeRefused: one does not; the text names it, and says what to do.
        """
        if not os.path.isdir(self.directory):
            raise UpgradeRefused(
                f"the directory it starts in, {self.directory}, "
                f"{missing(self.directory) or 'is not a directory'}. Put it back, or restart "
                "the server in a directory that stays, such as a symlink to the current release"
            )
        if not os.access(self.directory, os.X_OK):
            raise UpgradeRefused(
                f"the directory it starts in, {self.directory}, may not be entered by this user"
            )
        if not os.path.isabs(self.executable):
            return
        if gone := missing(self.executable):
            raise UpgradeRefused(
                f"the program it starts with, {self.executable}, {gone}. Put it back, or "
                "restart the server by a path that stays, such as current/venv/bin/twistd"
            )
        if not os.access(self.executable, os.X_OK):
            raise UpgradeRefused(
                f"the program it starts with, {self.executable}, may not be executed"
            )
        name = next(iter(shebang.interpreter(self.executable)), "")
        if os.path.isabs(name) and (gone := missing(name)):
            raise UpgradeRefused(
                f"{name}, which the first line of {self.executable} names, {gone}. Install the "
                "virtual environment of this release again"
            )


def _command(
    executable: str,
    orig_argv: Sequence[str],
    argv: Sequence[str],
    directory: str,
    symlinks: Symlinks,
    skips_twistd_steps: bool,
) -> tuple[list[str], str]:
    """The command that starts this program again, and why that is refused; empty if it is not."""
    # Every option of the interpreter comes before the script.
    place = max(1, len(orig_argv) - len(argv))
    before, after = list(orig_argv[1:place]), list(orig_argv[place:])
    script = ""
    if after and argv and after[0] == argv[0]:
        script = symlinks.spell(os.path.join(directory, after[0]))
        if os.path.isabs(after[0]):
            after[0] = script
    command = [symlinks.spell(executable), *before, *after]
    if not argv or argv[0] in ("", "-"):
        return command, (
            "this program was typed in or piped in, so there is no command to start again; "
            "put it into a file"
        )
    is_twistd = _TWISTD.fullmatch(Path(argv[0]).name) is not None
    if is_twistd and not skips_twistd_steps and TWISTD_AGAIN not in orig_argv:
        command[place:] = ["-m", TWISTD_AGAIN, *argv[1:]]
    elif script and shebang.was_used(script, orig_argv[:place]):
        # A new release has a script of its own, which names the interpreter of that release.
        command = [script, *after[1:]]
    return command, ""


def _environment(environ: Mapping[str, str], directory: str, symlinks: Symlinks) -> dict[str, str]:
    """The environment of the successor, in which paths are written as they were at the start."""
    kept = {name: value for name, value in environ.items() if name not in _NOT_INHERITED}
    for name in set(_SEARCHED).intersection(kept):
        kept[name] = os.pathsep.join(map(symlinks.spell, kept[name].split(os.pathsep)))
    if directory != os.path.realpath(directory):
        kept["PWD"] = directory  # else the successor would not know how it is written
    return kept


def working_directory(
    environ: Mapping[str, str], written: Sequence[str] = tuple(sys.orig_argv)
) -> str:
    """The working directory by the path through which it was entered, as far as that is known.

    In a release directory behind a symlink (``current -> releases/7``) the next generation must
    start where the symlink leads by then. ``$PWD`` says how a shell came here (pwd(1), ``-L``).
    Without one (systemd, supervisord, cron) the symlink may be in the command line.

    Args:
        environ: the environment of this process.
        written: the command line as the interpreter got it.

    Raises:
        LaunchError: this process was started in a directory that has been removed.
    """
    logical = environ.get("PWD", "")
    try:
        physical = os.getcwd()
    except FileNotFoundError:
        raise LaunchError(
            f"the working directory {logical or '(of unknown path)'} has been removed: "
            "change to one that exists, or enter it again, and start from there"
        ) from None
    if _is_here(logical, physical):
        return logical
    return _symlinks(environ, written).spell(physical)


def _is_here(path: str, directory: str) -> bool:
    try:
        return os.path.isabs(path) and os.path.samefile(path, directory)
    except OSError:
        return False


def _symlinks(environ: Mapping[str, str], written: Sequence[str]) -> Symlinks:
    """The symlinks that the user wrote, in the directory, the command line and the environment."""
    here = environ.get("PWD", "")
    places = [here] if _is_here(here, os.curdir) else []
    for each in written:
        _, _, value = each.partition("=")
        places += [value, each]  # --rundir=/srv/app/current is a path, too
    for name in ("VIRTUAL_ENV", "PYTHONPATH"):
        places += environ.get(name, "").split(os.pathsep)
    return Symlinks(places)
