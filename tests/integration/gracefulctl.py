"""Runs of ``gracefulctl``, and code for it to deploy."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from ..case import SynchronousTestCase
from .harness import BESIDE_PYTHON, Server

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


def interrupt_an_upgrade(test: SynchronousTestCase, server: Server, *which: str) -> None:
    """Press Ctrl-C while new code loads: the upgrade goes on, and that is said.

    Args:
        test: asserts it.
        server: which is upgraded.
        which: options of ``gracefulctl``, by which it finds the server.
    """
    server.deploy("2", LOADS_AT_A_GATE)
    with subprocess.Popen(
        command("upgrade", *which),
        cwd=server.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        server.starting(1)
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=15)
    test.assertEqual(waiting.returncode, 130)
    test.assertIn("interrupted; the upgrade goes on", err)
    server.open("load")
    server.hand_over()
    test.assertEqual(server.get().body, "2")
