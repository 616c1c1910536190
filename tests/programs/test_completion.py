"""Completion on the command line, with real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import tempfile
import time
from pathlib import Path

from ..case import SynchronousTestCase
from ..integration.harness import BESIDE_PYTHON
from ..integration.programs import program

COMPLETION = Path(__file__).parents[2] / "examples" / "shell" / "completion.bash"
SECONDS = 20
"""What a shell may take on a busy machine."""


class Terminal:
    """A shell that believes that somebody sits before it."""

    def __init__(self, test: SynchronousTestCase, *command: str) -> None:
        directory = tempfile.TemporaryDirectory()
        test.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self._screen, terminal = pty.openpty()
        test.addCleanup(os.close, self._screen)
        self._shell = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=self.directory,
            env={
                "PATH": os.pathsep.join((BESIDE_PYTHON, os.environ["PATH"])),
                "HOME": directory.name,
                "TERM": "dumb",
                "COLUMNS": "200",
            },
            start_new_session=True,
        )
        os.close(terminal)
        test.addCleanup(self._end)

    def _end(self) -> None:
        self._shell.kill()
        self._shell.wait()

    def type(self, text: str, expected: str) -> str:
        """Type something, and wait until the screen shows something."""
        os.write(self._screen, text.encode())
        seen = ""
        deadline = time.monotonic() + SECONDS
        while re.search(expected, seen) is None:
            ready, _, _ = select.select([self._screen], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"{text!r} did not show {expected!r}, but {seen!r}")
            seen += os.read(self._screen, 65536).decode(errors="replace")
        return seen


class ZshTests(SynchronousTestCase):
    """zsh, which has the completion of Twisted's commands itself."""

    def test_options_and_values(self) -> None:
        """Names of options are completed, and values where there is a choice."""
        shell = Terminal(self, program("zsh"), "-f", "-i")
        shell.type("autoload -Uz compinit; compinit -u -D; echo re''ady\n", "ready")
        shell.type("twistd -n graceful --port 8080 --access-log-f\t", "--access-log-format=")
        shell.type("\t\t", r"combined\s+json")

    def test_gracefulctl(self) -> None:
        """Options of gracefulctl are completed by what zsh has for any command with --help."""
        shell = Terminal(self, program("zsh"), "-f", "-i")
        text = "autoload -Uz compinit; compinit -u -D; compdef _gnu_generic gracefulctl; "
        shell.type(text + "echo re''ady\n", "ready")
        shell.type("gracefulctl --pid-f\t", "--pid-file")


class BashTests(SynchronousTestCase):
    """bash, with the example."""

    def test_options(self) -> None:
        """Names of our options are completed, and then files."""
        shell = Terminal(self, program("bash"), "--norc", "-i")
        (shell.directory / "completion").write_text(COMPLETION.read_text())
        (shell.directory / "access.log").touch()
        shell.type(". ./completion; echo re''ady\n", "ready")
        shell.type("twistd -n graceful --port 8080 --tls-k\t", "--tls-key ")
        shell.type("acc\t", "access.log")

    def test_gracefulctl(self) -> None:
        """So are its commands, their own options too, and files."""
        shell = Terminal(self, program("bash"), "--norc", "-i")
        (shell.directory / "completion").write_text(COMPLETION.read_text())
        (shell.directory / "my-app.pid").touch()
        shell.type(". ./completion; echo re''ady\n", "ready")
        shell.type("gracefulctl up\t", "upgrade ")
        shell.type("--wait-p\t", "--wait-probation ")
        shell.type("--pid-f\t", "--pid-file ")
        shell.type("my\t", "my-app.pid ")
