"""slowhttptest: clients that are slow on purpose, and others that are served all the same."""

from __future__ import annotations

import subprocess

from ..case import SynchronousTestCase
from ..integration import proc
from ..integration.harness import Server, served
from ..integration.programs import program
from ..integration.waiting import Watch, until

ATTACKERS = 100
AT_MOST = 60  # seconds, if the server does not get rid of them before

TIMEOUTS = ("--read-header-timeout", "2", "--read-timeout", "2", "--write-timeout", "2")
"""Longer than the attackers' interval, so that they have shown that they drip."""


class SlowAttackTests(SynchronousTestCase):
    """What slowhttptest(1) calls slow headers, slow body and slow read."""

    def attack(self, server: Server, path: str, *options: str) -> subprocess.Popen[str]:
        """Start an attack; it ends with the server, if not before."""
        size = ("-c", str(ATTACKERS), "-r", str(ATTACKERS), "-l", str(AT_MOST), "-i", "1")
        url = f"http://127.0.0.1:{server.ports[0]}{path}"
        return subprocess.Popen(
            [program("slowhttptest"), *size, *options, "-u", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def outlast(self, server: Server, path: str, *options: str) -> subprocess.Popen[str]:
        """Serve honest clients during an attack, until the server has closed the attackers'."""
        port = server.ports[0]
        with Watch(lambda: "" if server.get().body == "1" else "no answer") as honest:
            attackers = self.attack(server, path, *options)
            until(lambda: proc.connections(port) > ATTACKERS / 2, "the attack is on")
            until(lambda: proc.connections(port) <= 1, "the attackers are gone", AT_MOST / 2)
        self.assertEqual(honest.wrong, [])
        self.assertGreater(honest.looks, 10)
        self.assertNotIn("Traceback", server.log)
        return attackers

    def test_slow_headers(self) -> None:
        """Heads that drip end on time, all of them, by the attackers' own account."""
        with served(*TIMEOUTS) as server:
            attackers = self.outlast(server, "/", "-H")
            self.assertIn("No open connections left", attackers.communicate()[0])

    def test_slow_body(self) -> None:
        """Bodies that drip end on time, all of them, by the attackers' own account."""
        with served(*TIMEOUTS) as server:
            attackers = self.outlast(server, "/upload", "-B")
            self.assertIn("No open connections left", attackers.communicate()[0])

    def test_slow_read(self) -> None:
        """Clients that hardly read, from a window of some bytes, are left, and named in the log."""
        window = ("-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "3")
        with served(*TIMEOUTS) as server:
            attackers = self.outlast(server, "/large/3000000", "-X", *window)
            self.assertIsNone(attackers.poll())  # they would have gone on
            self.assertEqual(server.log.count("does not read its answer: GET /large/3000000"), 10)
            self.assertEqual(server.log.count("There are more of this kind"), 1)
