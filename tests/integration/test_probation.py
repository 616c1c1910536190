"""The predecessor after its drain: when it accepts again, when not, and what it reports."""

from __future__ import annotations

import re
import signal
import tempfile
from pathlib import Path
from unittest import SkipTest

from ..case import SynchronousTestCase
from .harness import DAEMON, FOREGROUND, GRACEFUL, Server, served
from .load import Load
from .programs import run
from .upgrade_case import EXITS, LONG, STANDS_BY
from .waiting import Watch, until

CLIENTS = 16
OWN_SIGNALS = """\
import os, signal, sys
sys.path.insert(0, os.getcwd())
from twisted.application.service import Application
from twisted.internet import reactor
from twisted_graceful import GracefulService, new
import app

application = Application("tac")
service = GracefulService(new("127.0.0.1:0", app.resource, idle_grace=0.3), probation=60)
service.setServiceParent(application)
signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(service.upgrade))
"""
HANGS = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "open('hanging', 'w').close()\n"
    "time.sleep(600)\n"
)


class ProbationTests(SynchronousTestCase):
    """What the table of `test_upgrade_deaths` has no row for."""

    def stands_by(self, server: Server) -> int:
        """Upgrade to version 2, and wait until the predecessor has drained; its pid."""
        old = server.pid
        server.get()
        server.deploy("2")
        server.kill(signal.SIGUSR2)
        server.hand_over()
        server.said(STANDS_BY)
        return old

    def resumed(self, server: Server, old: int, reason: str) -> None:
        """The predecessor is as it was before the upgrade, and says why."""
        server.said(
            rf"Upgrade failed: generation 1: {reason} \d+\.\d seconds after it was ready\. "
            rf"Generation 0 \(pid {old}\) accepts again"
        )
        self.assertEqual(server.get().body, "1")
        until(lambda: server.pid_file == str(old), "the pid file names the predecessor")

    def test_term_while_the_successor_hangs(self) -> None:
        """TERM ends a successor that ignores TERM, and no process is left."""
        with served() as server:
            server.serving(0)
            server.write("app.py", HANGS)
            server.kill(signal.SIGUSR2)
            server.wait_for("hanging")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.family(), [])

    def test_last_words(self) -> None:
        """What the successor logged as an error before its death is in the report of that."""
        with served(*LONG) as server:
            old = server.pid
            server.deploy("1", EXITS)
            server.kill(signal.SIGUSR2)
            server.serving(1)
            server.open("end")
            self.resumed(server, old, "it exited with status 3")
            report = server.log.partition("Upgrade failed")[2]
            self.assertRegex(report, r"The last it wrote:\n\s*\S+ \[.*#critical\] the last words\n")
            self.assertNotIn("said at the start", report)

    def test_daemon(self) -> None:
        """The first generation of a daemon removes its pid file after it has taken it back."""
        with Server("--app", "app.resource", *LONG, command=DAEMON) as server:
            old = self.stands_by(server)
            server.kill(signal.SIGKILL)
            self.resumed(server, old, "it was killed by SIGKILL")
            server.kill(signal.SIGTERM, old)
            server.ended(old)
            self.assertEqual(server.pid_file, "")

    def test_under_load(self) -> None:
        """What the successor was answering is lost with it; all else is answered, nothing hangs."""
        with served(*LONG) as server:
            url = f"http://127.0.0.1:{server.ports[0]}/"
            with Load(url, connections=CLIENTS) as load:
                old = self.stands_by(server)
                server.kill(signal.SIGKILL)
                self.resumed(server, old, "it was killed by SIGKILL")
                with Watch(lambda: "" if server.get().body == "1" else "new code") as clients:
                    until(lambda: clients.looks > 50, "many more answers")
            self.assertEqual(clients.wrong, [])
            [errors] = load.summary.errors
            counts = [int(count) for count in re.findall(r"\d+", errors)]
            connect, read, write, timeout = counts
            self.assertEqual((connect, timeout), (0, 0), errors)
            self.assertLessEqual(read + write, CLIENTS, errors)

    def test_twice(self) -> None:
        """Two bad deploys in a row are survived, and the third, a good one, serves."""
        with served(*LONG) as server:
            old = self.stands_by(server)
            server.kill(signal.SIGKILL)
            self.resumed(server, old, "it was killed by SIGKILL")
            server.kill(signal.SIGUSR2, old)
            server.said(STANDS_BY, 2)
            server.kill(signal.SIGKILL, server.starting(1, attempt=2))
            server.said("Upgrade failed", 2)
            self.assertEqual(server.get().body, "1")
            server.deploy("3")
            server.kill(signal.SIGUSR2, old)
            until(lambda: server.get().body == "3", "the good one serves")

    def test_time(self) -> None:
        """When the time is over the predecessor ends with 0; until then only new code answers."""
        with served("--probation", "1") as server:
            old = self.stands_by(server)
            with Watch(lambda: "" if server.get().body == "2" else "old code") as clients:
                server.ended(old)
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(clients.wrong, [])
            self.assertEqual(server.pid_file, str(server.pid))

    def test_term_to_a_successor_that_handles_no_signals(self) -> None:
        """TERM stops a service in a program that leaves signals to the reactor, too."""
        server = Server("-y", "app.tac", command=FOREGROUND)
        server.write("app.tac", OWN_SIGNALS)
        with server:
            old = self.stands_by(server)
            new = server.pid
            server.kill(signal.SIGTERM)
            server.ended(new)
            self.assertEqual(server.ended(old), 0)
            self.assertNotIn("Upgrade failed", server.log)

    def test_a_successor_that_hangs_is_not_dead(self) -> None:
        """One that stands still through its probation serves when it goes on; nobody else does."""
        with served("--probation", "1") as server:
            old = self.stands_by(server)
            server.kill(signal.SIGSTOP)
            client = server.connect()
            client.get("/")
            self.assertEqual(server.ended(old), 0)
            server.kill(signal.SIGCONT)
            self.assertEqual(client.answer().body, "2")

    def test_full_disk(self) -> None:
        """On a full disk an upgrade goes on, and the old pid file is overwritten in place."""
        with tempfile.TemporaryDirectory(prefix="graceful-") as small:
            mount = run("mount", "-t", "tmpfs", "-o", "size=8k", "none", small)
            if mount.returncode:
                raise SkipTest(f"no file system can be mounted: {mount.stderr!r}")
            self.addCleanup(run, "umount", "--lazy", small)
            pid_file = Path(small) / "app.pid"
            command = [each.replace("app.pid", str(pid_file)) for each in GRACEFUL]
            with Server("--app", "app.resource", *LONG, command=command) as server:
                server.get()
                (Path(small) / "filler").write_bytes(b"x" * 4096)
                self.assertRaises(OSError, (Path(small) / "more").write_bytes, b"x")
                self.stands_by(server)
                self.assertEqual(pid_file.read_text(), str(server.pid))
                self.assertEqual(server.get().body, "2")
                self.assertEqual(
                    sorted(each.name for each in Path(small).glob("*app*")), ["app.pid"]
                )
                server.deploy("3")
                server.kill(signal.SIGUSR2, int(pid_file.read_text()))
                server.hand_over()
                self.assertEqual(server.get().body, "3")
                until(lambda: pid_file.read_text() == str(server.pid), "it names who serves")
            run("umount", small)
