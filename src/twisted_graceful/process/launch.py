"""What starts the successor: this process's own command, again, from the same place."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UpgradeRefused
from .inheritance import VARIABLE

TWISTD_AGAIN = "twisted_graceful.process.twistd"

_TWISTD = re.compile(r"twistd[0-9.]*")
"""The names under which twistd is installed, with some version of Python in it."""

_ENDS_WITH_ITS_CHILD = ("tini", "tini-static", "docker-init", "dumb-init", "catatonit")
"""Inits of containers that end when the process that they have started does."""

_NOT_INHERITED = (VARIABLE, "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID")
"""What names descriptors of this process only: ours, and socket activation (sd_listen_fds(3))."""


@dataclass(frozen=True)
class Launch:
    """A command, its working directory and its environment.

    Attributes:
        executable: the path of the Python interpreter.
        arguments: all that follows it.
        directory: where it starts.
        environment: what it starts with.
        refusal: why it cannot be started again; empty if it can.
        holder: why this process must not end; empty if it may.
    """

    executable: str
    arguments: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    refusal: str = ""
    holder: str = ""

    @classmethod
    def of_this_process(
        cls,
        environ: Mapping[str, str],
        *,
        executable: str = sys.executable,
        orig_argv: Sequence[str] = tuple(sys.orig_argv),
        argv: Sequence[str] | None = None,
        twistd_is_told: bool = False,
        pid: int | None = None,
    ) -> Launch:
        """How this process was started; ask before anything changes directory.

        Args:
            environ: the environment that this process was started with.
            executable: the interpreter.
            orig_argv: the command line as the interpreter got it.
            argv: the command line as the program got it; None for ``sys.argv``.
            twistd_is_told: whether the successor tells twistd itself what not to do
                again. A plugin can; a ``.tac`` file is read too late.
            pid: of this process; None to ask the system.
        """
        argv = sys.argv if argv is None else argv
        arguments = tuple(orig_argv[1:])
        refusal = ""
        if not argv or argv[0] in ("", "-"):
            refusal = (
                "this program was typed in or piped in, so there is no command to start again; "
                "put it into a file"
            )
        elif (
            _TWISTD.fullmatch(Path(argv[0]).name) is not None
            and not twistd_is_told
            and TWISTD_AGAIN not in orig_argv
        ):
            # Every option of the interpreter comes before the script.
            script = len(orig_argv) - len(argv)
            arguments = (*orig_argv[1:script], "-m", TWISTD_AGAIN, *argv[1:])
        return cls(
            executable=executable,
            arguments=arguments,
            directory=working_directory(environ),
            environment={
                name: value for name, value in environ.items() if name not in _NOT_INHERITED
            },
            refusal=refusal,
            holder=_holds_container(os.getpid() if pid is None else pid),
        )

    def with_variables(self, variables: Mapping[str, str]) -> Launch:
        """The same command, with these variables in its environment too."""
        return replace(self, environment={**self.environment, **variables})

    def require_possible(self) -> None:
        """Make sure that the command can be started again.

        Raises:
            UpgradeRefused: it cannot; the text says why, and what to do.
        """
        if self.refusal:
            raise UpgradeRefused(self.refusal)

    def require_replaceable(self) -> None:
        """Make sure that the command can be started again, and take the place of this process.

        Raises:
            UpgradeRefused: it cannot; the text says why, and what to do.
        """
        self.require_possible()
        if self.holder:
            raise UpgradeRefused(
                f"{self.holder}, and the container would end together with it. "
                "Start a new container with the new code instead; with --workers HUP brings it "
                "to the workers, and this process stays"
            )


def _holds_container(pid: int) -> str:
    """Why a container ends when a process does; empty if it does not."""
    if pid == 1:
        return "this is process 1 of its container"
    try:
        init = Path("/proc/1/comm").read_text().strip() if os.getppid() == 1 else ""
    except OSError:
        init = ""
    if init in _ENDS_WITH_ITS_CHILD:
        return f"this is the process for which {init} runs its container"
    return ""


def working_directory(environ: Mapping[str, str]) -> str:
    """``$PWD`` where it names the working directory, else its physical path.

    In a release directory behind a symlink (``current -> releases/7``) the next
    generation shall start where the link points by then. See pwd(1), ``-L``.
    """
    physical = os.getcwd()
    logical = environ.get("PWD", "")
    try:
        if os.path.isabs(logical) and os.path.samefile(logical, physical):
            return logical
    except OSError:
        pass
    return physical
