"""The pid file of whole processes: what is left behind, links, and a second start."""

from __future__ import annotations

import signal
import subprocess

from ..case import SynchronousTestCase
from .harness import GRACEFUL, Server
from .waiting import until


class PidFileTests(SynchronousTestCase):
    """A server whose pid file is a link to an empty file."""

    def test_who_prevents_a_start(self) -> None:
        """Only a running server does, before and after an upgrade, and the link stays."""
        server = Server("--app", "app.resource", command=GRACEFUL)
        link, target = (server.directory / name for name in ("app.pid", "target.pid"))
        target.touch()
        link.symlink_to("target.pid")
        with server:
            server.get()
            self.assertIn(f"{link} (pid {server.pid})", self.refused(server))
            server.upgrade()
            self.assertIn(f"{link} (pid {server.pid})", self.refused(server))
            self.assertEqual((link.is_symlink(), target.read_text()), (True, str(server.pid)))
            server.kill(signal.SIGKILL)
            server.ended(server.pid)
            again = self.start(server)
            until(lambda: target.read_text() == str(again.pid), "it names the new process")
            again.terminate()
            again.communicate(timeout=30)
            self.assertEqual((link.is_symlink(), target.exists()), (True, False))

    def start(self, server: Server) -> subprocess.Popen[str]:
        """Start the same command again."""
        started = subprocess.Popen(
            server.command,
            cwd=server.directory,
            env=server.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(started.wait)
        self.addCleanup(started.kill)
        return started

    def refused(self, server: Server) -> str:
        """The error of the same command, started again."""
        second = self.start(server)
        said, _ = second.communicate(timeout=60)
        self.assertEqual(second.returncode, 1)
        return said
