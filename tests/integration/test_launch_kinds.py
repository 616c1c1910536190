"""Upgrades of every kind of program: each starts itself again as it was started."""

from __future__ import annotations

import os
import signal
import sys
from unittest import SkipTest

from ..case import SynchronousTestCase
from . import proc
from .harness import DAEMON, FOREGROUND, GRACEFUL, PORT, TAC, TWIST, TWISTD, Server, served
from .waiting import until
from .workers import workers

RUN = ("--rundir", "run", "--umask", "027")
LOG_TEXT = ("--log-format", "text", "graceful", *PORT, "--probation", "0", "--app", "app.resource")


TAC_WITH_WORKERS = TAC.replace("GracefulService", "serving").replace(
    "signals", "workers=2, signals"
)

SCRIPT = """\
import app
from twisted_graceful import listen_and_serve_forever

report = listen_and_serve_forever("127.0.0.1:0", app.resource, idle_grace=0.3, probation=0)
print("returned in", app.VERSION, report.answered)
"""

GROUP = """\
import app
from twisted_graceful import new, wait_group

both = new("127.0.0.1:0", app.resource), new("127.0.0.1:0", app.Other)
wait_group(*both, upgrade=True, probation=0)
"""

NO_UPGRADE = """\
import app
from twisted_graceful import listen_and_serve

listen_and_serve("127.0.0.1:0", app.resource)
"""


class KindTestCase(SynchronousTestCase):
    """A kind of program."""

    def upgrades(self, server: Server, *, pid_file: bool = False) -> None:
        """It upgrades, twice, and stops with status 0."""
        for version in ("2", "3"):
            server.get()
            server.deploy(version)
            pid = server.upgrade()
            self.assertEqual(server.get().body, version)
            self.assertEqual(server.get("/pid").body, str(pid))
            self.assertEqual(server.family(), [pid])
            self.assertEqual(server.get("/inherited").body, "descriptors [0, 1, 2]\nvariables []\n")
            if pid_file:
                self.assertEqual(server.pid_file, str(pid))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.pid_file, "")


class TwistdTests(KindTestCase):
    """Under twistd and its like."""

    def test_foreground(self) -> None:
        """``twistd -n graceful`` upgrades."""
        with served() as server:
            self.upgrades(server, pid_file=True)

    def test_daemon(self) -> None:
        """``twistd graceful`` upgrades."""
        with Server("--app", "app.resource", command=DAEMON) as server:
            self.upgrades(server, pid_file=True)

    def test_daemon_with_defaults(self) -> None:
        """``twistd graceful`` upgrades without a word on its pid file and its log file."""
        command = (TWISTD, "graceful", *PORT, "--probation", "0", "--app", "app.resource")
        with Server(command=command) as server:
            self.upgrades(server)
            self.assertFalse((server.directory / "twistd.pid").exists())

    def test_run_directory(self) -> None:
        """``twistd --rundir --umask`` upgrades to a process with the same directory and umask."""
        server = Server("--app", "app.resource", command=(*GRACEFUL[:2], *RUN, *GRACEFUL[2:]))
        (server.directory / "run").mkdir()
        with server:
            server.deploy("2")
            pid = server.upgrade()
            self.assertEqual(server.pid_file, str(pid))
            self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), str(server.directory / "run"))
            status = (proc.PROC / str(pid) / "status").read_text()
            self.assertIn("Umask:\t0027\n", status)
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.pid_file, "")

    def test_twist(self) -> None:
        """``twist graceful`` upgrades."""
        with Server(command=(TWIST, *LOG_TEXT)) as server:
            self.upgrades(server)

    def test_python_m_twisted(self) -> None:
        """``python -m twisted graceful`` upgrades."""
        with Server(command=(sys.executable, "-m", "twisted", *LOG_TEXT)) as server:
            self.upgrades(server)

    def tac(self, *command: str) -> Server:
        """A server of a ``.tac`` file."""
        server = Server("-y", "app.tac", command=command)
        server.write("app.tac", TAC)
        return server

    def test_tac(self) -> None:
        """``twistd -n -y`` upgrades, with a pid file."""
        with self.tac(*FOREGROUND) as server:
            self.upgrades(server, pid_file=True)

    def test_tac_daemon(self) -> None:
        """``twistd -y`` upgrades, with a pid file, without a second daemonizing."""
        with self.tac(TWISTD, "--pidfile", "app.pid", "--logfile", "app.log") as server:
            self.upgrades(server, pid_file=True)

    def test_tac_with_workers(self) -> None:
        """The workers of a ``.tac`` file are replaced below its master, and with it."""
        server = self.tac(*FOREGROUND)
        server.write("app.tac", TAC_WITH_WORKERS)
        with server:
            before = workers(server)
            server.deploy("2")
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced")
            self.assertEqual(server.get().body, "2")
            self.assertFalse(workers(server) & before)
            server.deploy("3")
            master = server.upgrade()
            self.assertEqual(server.get().body, "3")
            self.assertEqual(server.pid_file, str(master))
            self.assertEqual(server.stop(), 0)

    def test_tac_whose_successor_dies(self) -> None:
        """The process of a ``.tac`` file that accepts again has its pid file again."""
        with self.tac(*FOREGROUND) as server:
            old = server.pid
            server.hold()
            server.kill(signal.SIGUSR2)
            server.kill(signal.SIGKILL, server.serving(1))
            server.said("Upgrade failed: generation 1")
            until(lambda: server.pid_file == str(old), "the pid file names who serves")

    def test_tac_that_fails(self) -> None:
        """A ``.tac`` file that is broken does not end the service, and the next one serves."""
        with self.tac(*FOREGROUND) as server:
            server.get()
            server.write("app.tac", "import nowhere\n")
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1: it exited with status 1")
            self.assertIn("No module named 'nowhere'", server.log)
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.pid_file, str(server.pid))
            server.write("app.tac", TAC)
            self.upgrades(server, pid_file=True)


class ProgramTests(KindTestCase):
    """Programs that call the library."""

    def program(self, text: str, *command: str) -> Server:
        """A server of a program of its own."""
        server = Server(command=(sys.executable, *(command or ("program.py",))))
        server.write("program.py", text)
        return server

    def test_script(self) -> None:
        """A script that calls `listen_and_serve_forever` upgrades, and the call returns."""
        with self.program(SCRIPT) as server:
            self.upgrades(server)
            for version in ("1", "2", "3"):
                with self.subTest(version=version):
                    self.assertIn(f"returned in {version}", server.log)

    def test_module(self) -> None:
        """``python -m program`` upgrades, with the interpreter's options."""
        with self.program(SCRIPT, "-X", "utf8", "-u", "-m", "program") as server:
            server.get()
            command = (proc.PROC / str(server.pid) / "cmdline").read_bytes().split(b"\0")[1:]
            again = (proc.PROC / str(server.upgrade()) / "cmdline").read_bytes().split(b"\0")[1:]
            self.assertEqual(again, command)
            self.upgrades(server)

    def test_group(self) -> None:
        """`wait_group` upgrades all its servers, each on its own port."""
        with self.program(GROUP) as server:
            first, second = server.ports
            server.deploy("2")
            server.upgrade()
            self.assertEqual(server.get(port=first).body, "2")
            self.assertEqual(server.get(port=second).body, "other")
            self.assertEqual(server.stop(), 0)

    def test_no_upgrade(self) -> None:
        """A program that calls `listen_and_serve` ignores USR2, says so, and drains at TERM."""
        with self.program(NO_UPGRADE) as server:
            server.get()
            server.kill(signal.SIGUSR2)
            server.said("An upgrade was asked for, and ignored")
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.family(), [server.pid])
            self.assertEqual(server.stop(), 0)

    def test_exit_status_of_a_cut(self) -> None:
        """A program whose stop cuts a request ends with status 1."""
        with self.program(
            NO_UPGRADE.replace("resource)", "resource, drain_timeout=0.3)")
        ) as server:
            server.hold()
            self.assertEqual(server.stop(), 1)

    def test_broken_app(self) -> None:
        """A program whose application cannot be made ends with status 1, with a reason."""
        with self.program(NO_UPGRADE.replace(".resource", ".failing_factory")) as server:
            self.assertEqual(server.exit_status(), 1)
            self.assertIn("the factory is closed", server.log)


class PlaceTests(KindTestCase):
    """Where and as whom a program runs."""

    def test_release_directory_behind_a_symlink(self) -> None:
        """After the link ``current`` is switched, an upgrade runs the release it names now."""
        server = served()
        current = server.directory / "current"
        for release in ("1", "2"):
            server.deploy(release)
            (server.directory / "releases" / release).mkdir(parents=True)
            (server.directory / "app.py").rename(server.directory / "releases" / release / "app.py")
        current.symlink_to("releases/1")
        server.working_directory = current
        server.environment["PWD"] = str(current)
        server.command = [each.replace("app.pid", "../../app.pid") for each in server.command]
        with server:
            self.assertEqual(server.get().body, "1")
            (server.directory / "next").symlink_to("releases/2")
            (server.directory / "next").rename(current)
            server.upgrade()
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.pid_file, str(server.pid))

    def test_dropped_privileges(self) -> None:
        """After ``--uid --gid`` an upgrade works, or fails with a reason and serves on."""
        if os.getuid() != 0:
            raise SkipTest("only root can drop privileges")
        drop = ("--uid", "65534", "--gid", "65534")
        server = Server("--app", "app.resource", command=(*GRACEFUL[:2], *drop, *GRACEFUL[2:]))
        server.directory.chmod(0o777)
        with server:
            server.get()
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            failure = r"Upgrade failed: .* could not be started: .*Permission denied.* serves on"
            if "failed" in server.said(f"{failure}|Generation 1 serves")[0]:
                # Nobody but root may run this interpreter; the service goes on.
                self.assertEqual(server.get().body, "1")
            else:
                self.assertEqual(server.pid_file, str(server.hand_over()))
                self.assertEqual(server.get().body, "2")
            status = (proc.PROC / str(server.pid) / "status").read_text()
            self.assertRegex(status, r"Uid:(\s65534){4}")
            self.assertRegex(status, r"Gid:(\s65534){4}")
