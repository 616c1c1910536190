"""Runs of ``gracefulctl``, and code for it to deploy."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from .harness import BESIDE_PYTHON, served

GRACEFULCTL = shutil.which("gracefulctl", path=BESIDE_PYTHON) or "gracefulctl"
DIES = "\nfrom twisted.internet import reactor\nreactor.callLater(0.7, os._exit, 3)\n"
LOADS_AT_A_GATE = "while not (HERE / 'load.open').exists():\n    time.sleep(0.02)\n"
"""Code at the end of an application, which is loaded when the gate ``load`` is open."""

AS_NOBODY = (
    "import os, shutil, sys\n"
    "from twisted_graceful.ctl import admin_client, check_command, display, find_server, main\n"
    "from twisted_graceful.ctl import signal_client, status\n"
    "os.setuid(65534)\n"  # who may not be able to read what is imported
    "sys.exit(main.main())"
)


def command(*arguments: str) -> list[str]:
    """The command line; a process of which the tests know the name needs its interpreter."""
    return [sys.executable, GRACEFULCTL, *arguments]


def ctl(
    directory: Path, *arguments: str, as_nobody: bool = False
) -> subprocess.CompletedProcess[str]:
    """A run of it to its end, in a directory, without what the environment may say."""
    environ = {key: it for key, it in os.environ.items() if not key.startswith("GRACEFUL_")}
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments] if as_nobody else command(*arguments),
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class UpgradeMixin:
    """Upgrades that are the same whichever way ``gracefulctl`` takes to the server.

    Attributes:
        options: of the server.
        way: the options of ``gracefulctl``, by which it finds the server.
    """

    options: tuple[str, ...] = ()
    way: tuple[str, ...]

    def test_rolled_back(self) -> None:
        """New code that dies in its probation is a failure, and the old code serves."""
        with served(*self.options, "--probation", "60") as server:
            server.get()
            server.deploy("1", DIES)
            done = ctl(server.directory, "upgrade", "--wait-probation", *self.way)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            self.assertIn("the upgrade failed: it exited with status 3", done.stdout)
            self.assertEqual(server.get().body, "1")

    def test_two_at_once(self) -> None:
        """An upgrade that comes while another loads is over when its own code serves."""
        with served(*self.options) as server:
            server.get()
            server.deploy("2", LOADS_AT_A_GATE)
            server.kill(signal.SIGUSR2)
            server.starting(1)
            with subprocess.Popen(
                command("upgrade", *self.way), cwd=server.directory, stdout=subprocess.PIPE
            ) as waiting:
                server.said("one is under way; another one follows it")
                server.deploy("3")
                server.open("load")
                waiting.communicate(timeout=30)
            self.assertEqual(waiting.returncode, 0)
            self.assertEqual(server.get().body, "3")

    def test_interrupted(self) -> None:
        """Ctrl-C ends the wait and not the upgrade, and that is said."""
        with served(*self.options) as server:
            server.get()
            server.deploy("2", LOADS_AT_A_GATE)
            with subprocess.Popen(
                command("upgrade", *self.way),
                cwd=server.directory,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as waiting:
                server.starting(1)
                waiting.send_signal(signal.SIGINT)
                _, err = waiting.communicate(timeout=15)
            self.assertEqual(waiting.returncode, 130)
            self.assertIn("interrupted; the upgrade goes on", err)
            server.open("load")
            server.hand_over()
            self.assertEqual(server.get().body, "2")
