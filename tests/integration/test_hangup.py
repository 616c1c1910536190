"""HUP from a terminal that is closed, and under nohup."""

from __future__ import annotations

import signal
import sys

from twisted_graceful.ctl.outcome import Exit
from twisted_graceful.ctl.server_process import ServerProcess

from ..case import SynchronousTestCase
from . import proc
from .gracefulctl import ctl
from .harness import GRACEFUL, Server
from .waiting import until

APP = ("--app", "app.resource")

TERMINAL = """\
import os, pty, select, sys
pid, terminal = pty.fork()
if not pid:
    os.execvp(sys.argv[1], sys.argv[1:])
while not os.path.exists("close"):
    if select.select([terminal], [], [], 0.05)[0]:
        os.write(1, os.read(terminal, 65536))
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""A program that runs a command in a terminal, and closes it when there is a file ``close``."""


class HangUpTests(SynchronousTestCase):
    """A server in the foreground."""

    def test_closed_terminal(self) -> None:
        """Closing it shuts a server down, with or without workers, and does not upgrade it.

        Nor on demand: this terminal runs the server, and would close with the predecessor.
        """
        for options in ((), ("--workers", "2")):
            with self.subTest(options):
                command = (sys.executable, "-c", TERMINAL, *GRACEFUL)
                with Server(*APP, *options, command=command) as server:
                    client = server.connect()
                    client.ask("/")
                    refused = ctl(server.directory, "upgrade", "--pid-file", "app.pid")
                    self.assertEqual(refused.returncode, Exit.FAILED, refused)
                    self.assertIn("the command that its terminal runs", refused.stdout)
                    (server.directory / "close").touch()
                    self.assertEqual(server.exit_status(), 0)
                    until(lambda: not server.family(), "no process is left")
                    self.assertNotIn("generation 1 starts", server.log)

    def test_nohup(self) -> None:
        """Under nohup HUP does nothing, also to workers and after an upgrade."""
        with Server(*APP, "--workers", "1", command=("nohup", *GRACEFUL)) as server:
            server.said(r"HUP is ignored, .* \(nohup\); USR2 upgrades")
            self.are_deaf(server)
            server.upgrade()
            self.are_deaf(server)
            refused = ctl(server.directory, "reload", "--pid-file", "app.pid")
            self.assertEqual(refused.returncode, Exit.NOT_SUPPORTED, refused)
            self.assertIn("ignores HUP: it was started under nohup", refused.stderr)

    def are_deaf(self, server: Server) -> None:
        """Master and worker ignore HUP."""
        server.get()
        for pid in (server.pid, *proc.children(server.pid)):
            with ServerProcess(pid) as process:
                self.assertEqual(process.disposition_of(signal.SIGHUP), "ignored")
