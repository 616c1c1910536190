"""The successor dies after it was ready: the predecessor accepts again, drained or not."""

from __future__ import annotations

import re
import signal
import tempfile
from pathlib import Path
from unittest import SkipTest

from ..case import SynchronousTestCase
from . import proc
from .harness import DAEMON, FOREGROUND, GRACEFUL, Server, served
from .load import Load
from .programs import run
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
LONG = ("--probation", "60")
STANDS_BY = "generation 0 has drained; it accepts again should generation 1 die within"


class ProbationTestCase(SynchronousTestCase):
    """An upgrade after which the predecessor stays."""

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
        self.assertEqual(server.family(), [old])
        self.assertEqual(proc.children(old), [])
        self.assertEqual(server.get("/inherited").body, "descriptors [0, 1, 2]\nvariables []\n")


class DeathTests(ProbationTestCase):
    """Deaths of the successor while the predecessor stands by."""

    def test_killed(self) -> None:
        """A drained predecessor serves again, has its pid file, and can upgrade and stop."""
        with served(*LONG) as server:
            old = self.stands_by(server)
            self.assertEqual(server.get().body, "2")
            server.kill(signal.SIGKILL)
            self.resumed(server, old, "it was killed by SIGKILL")
            server.deploy("3")
            server.kill(signal.SIGUSR2, old)
            until(lambda: server.get().body == "3", "the next upgrade works")
            new = server.starting(1, attempt=2)
            server.kill(signal.SIGTERM, new)
            self.assertEqual(server.ended(old), 0)
            until(lambda: server.family() == [], "both have ended")
            self.assertEqual(server.pid_file, "")

    def test_daemon(self) -> None:
        """The first generation of a daemon removes its pid file after it has taken it back."""
        with Server("--app", "app.resource", *LONG, command=DAEMON) as server:
            old = self.stands_by(server)
            server.kill(signal.SIGKILL)
            self.resumed(server, old, "it was killed by SIGKILL")
            server.kill(signal.SIGTERM, old)
            server.ended(old)
            self.assertEqual(server.pid_file, "")

    def test_exits_with_0(self) -> None:
        """New code that stops its reactor has died, however well it ends."""
        stop = "\nfrom twisted.internet import reactor\nreactor.callLater(0.5, reactor.stop)\n"
        with served(*LONG) as server:
            old = server.pid
            server.deploy("1", stop)
            server.kill(signal.SIGUSR2)
            self.resumed(server, old, "it exited with status 0")

    def test_last_words(self) -> None:
        """What the successor logged as an error before its death is in the report of that."""
        last = (
            "\nfrom twisted.internet import reactor\nfrom twisted.logger import Logger\n"
            "Logger().info('said at the start')\n"
            "reactor.callLater(0.3, lambda: Logger().critical('the last words'))\n"
            "reactor.callLater(0.5, os._exit, 3)\n"
        )
        with served(*LONG) as server:
            old = server.pid
            server.deploy("1", last)
            server.kill(signal.SIGUSR2)
            self.resumed(server, old, "it exited with status 3")
            report = server.log.partition("Upgrade failed")[2]
            self.assertRegex(report, r"The last it wrote:\n\s*\S+ \[.*#critical\] the last words\n")
            self.assertNotIn("said at the start", report)

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

    def test_who_comes_meanwhile_is_answered(self) -> None:
        """Between the death and the resume connections queue in the kernel; none is refused."""
        with served(*LONG) as server:
            old = self.stands_by(server)
            server.kill(signal.SIGSTOP, old)
            server.kill(signal.SIGKILL)
            until(lambda: not proc.alive(server.pid), "the successor is dead")
            client = server.connect()
            client.get("/pid")
            server.kill(signal.SIGCONT, old)
            self.assertEqual(client.answer().body, str(old))


class FullDiskTests(ProbationTestCase):
    """The disk is full where the pid file is."""

    def test_it_names_who_serves(self) -> None:
        """An upgrade goes on; the old pid file is overwritten, for which there is room."""
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


class EndTests(ProbationTestCase):
    """What ends a probation."""

    def test_time(self) -> None:
        """When the time is over, a drained predecessor leaves, with status 0."""
        with served("--probation", "0.5") as server:
            old = self.stands_by(server)
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.pid_file, str(server.pid))

    def test_no_old_code_serves(self) -> None:
        """While the predecessor stands by, every request meets the new code."""
        with served("--probation", "1") as server:
            old = self.stands_by(server)
            with Watch(lambda: "" if server.get().body == "2" else "old code") as clients:
                server.ended(old)
            self.assertEqual(clients.wrong, [])

    def test_usr2_to_the_successor(self) -> None:
        """The next upgrade does not wait for the probation, only for the drain."""
        self.next_upgrade(to_the_new=True)

    def test_usr2_to_the_predecessor(self) -> None:
        """One that is asked for of the process that stands by is done by the new one."""
        self.next_upgrade(to_the_new=False)

    def next_upgrade(self, *, to_the_new: bool) -> None:
        """An upgrade ends the probation of the last one."""
        with served(*LONG) as server:
            old = self.stands_by(server)
            server.deploy("3")
            server.kill(signal.SIGUSR2, server.pid if to_the_new else old)
            self.assertEqual(server.ended(old), 0)
            server.hand_over()
            self.assertEqual(server.get().body, "3")

    def test_term_to_the_predecessor(self) -> None:
        """A predecessor that stands by leaves at TERM, and the new code serves on."""
        with served(*LONG) as server:
            old = self.stands_by(server)
            server.kill(signal.SIGTERM, old)
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.pid_file, str(server.pid))
            self.assertEqual(server.stop(), 0)

    def test_term_to_the_successor(self) -> None:
        """TERM to the process that serves stops the service: nobody accepts again."""
        with served(*LONG) as server:
            old = self.stands_by(server)
            new = server.pid
            server.kill(signal.SIGTERM)
            server.ended(new)
            self.assertEqual(server.ended(old), 0)
            self.assertTrue(server.refuses())
            self.assertEqual(server.pid_file, "")
            self.assertNotIn("Upgrade failed", server.log)

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
