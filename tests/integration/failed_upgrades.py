"""Upgrades that fail: what must be as if nothing had happened."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from ..case import SynchronousTestCase
from . import proc
from .harness import GRACEFUL, Server
from .waiting import until

GOOD = "from app import resource as app\n"


class FaultTestCase(SynchronousTestCase):
    """A service of which an upgrade fails."""

    def server(self, *options: str, command: Sequence[str] = GRACEFUL) -> Server:
        """A server of what ``entry.py`` calls the application."""
        server = Server(*options, command=command)
        server.write("entry.py", GOOD)
        return server

    def fails(self, server: Server, reason: str, words: str, *, attempt: int = 1) -> None:
        """An upgrade fails: the log has the reason, and the predecessor is as it was."""
        pid = server.pid
        before = server.idle_descriptors()
        server.kill(signal.SIGUSR2)
        failure = r"(?s)Upgrade failed: generation 1: (.*?)\. Generation 0 serves on\."
        report = server.said(failure, attempt)
        self.assertRegex(report[1], reason)
        self.assertIn(words, server.log[report.start() :])
        self.assertEqual(server.get().body, "1")
        self.assertEqual(server.family(), [pid])
        self.assertEqual(proc.children(pid), [])
        until(lambda: proc.descriptors(pid) == before, "what was opened for it is closed")
        inherited = server.get("/inherited").body
        self.assertEqual(inherited, "descriptors [0, 1, 2]\nvariables []\n")

    def works(self, server: Server) -> None:
        """The next upgrade, with good code, works."""
        server.deploy("2")
        server.write("entry.py", GOOD)
        server.upgrade()
        self.assertEqual(server.get().body, "2")
        self.assertEqual(server.get("/inherited").body, "descriptors [0, 1, 2]\nvariables []\n")
