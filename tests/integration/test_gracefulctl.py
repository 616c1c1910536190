"""``gracefulctl`` and real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from tests.unit.support import temporary_directory

from ..case import SynchronousTestCase
from . import proc
from .gracefulctl import DIES, LOADS_AT_A_GATE, UpgradeMixin, command, ctl
from .harness import Server, served
from .waiting import until
from .workers import workers

PID_FILE = ("--pid-file", "app.pid")
LONG = ("--probation", "60")

HANDLES = (
    "import signal\n"
    "for number in (signal.SIGTERM, signal.SIGUSR2):\n"
    "    signal.signal(number, lambda *_: print('told', flush=True))\n"
    "print('ready', flush=True)\n"
    "input()"
)
"""A program that handles the signals which a server is told with, and says when it got one."""


class PidFileTestCase(SynchronousTestCase):
    """A server that is found by its pid file."""

    def ends(
        self, server: Server, status: int, *arguments: str, as_nobody: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """It ends with this status, and no traceback."""
        done = ctl(server.directory, *arguments, *PID_FILE, as_nobody=as_nobody)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done


class UpgradeTests(UpgradeMixin, PidFileTestCase):
    """``gracefulctl upgrade`` by signals."""

    way = PID_FILE

    def test_new_code_serves(self) -> None:
        """When it has ended with 0, the new code answers."""
        with served() as server:
            old = server.pid
            server.get()
            server.deploy("2")
            done = self.ends(server, 0, "upgrade")
            self.assertEqual(server.get().body, "2")
            new = server.hand_over()
            self.assertIn(f"process {old} was sent SIGUSR2\n", done.stdout)
            self.assertIn(f"the new code serves (pid {new})\n", done.stdout)

    def test_wait_probation(self) -> None:
        """With --wait-probation the old process is gone by then."""
        with served("--probation", "0.5") as server:
            old = server.pid
            server.get()
            done = self.ends(server, 0, "upgrade", "--wait-probation", "--json")
            self.assertFalse(proc.alive(old))
            events = [json.loads(line) for line in done.stdout.splitlines()]
            names = [each["event"] for each in events]
            self.assertEqual(names, ["signalled", "started", "ready", "drained", "done"])

    def test_code_that_does_not_load(self) -> None:
        """A failure is told at once, with the successor's own traceback; the old code serves."""
        with served() as server:
            server.get()
            server.write("app.py", "import nowhere\n")
            done = self.ends(server, 1, "upgrade", "--timeout", "600")
            self.assertIn("the upgrade failed: it exited with status 1", done.stdout)
            self.assertIn("No module named 'nowhere'", done.stdout)
            self.assertEqual(server.get().body, "1")

    def test_one_after_the_other(self) -> None:
        """One that comes in the probation of the one before ends that, and is asked for once."""
        with served("--probation", "60") as server:
            server.get()
            for version in ("2", "3"):
                server.deploy(version)
                done = self.ends(server, 0, "upgrade")
                self.assertEqual(done.stdout.count("was sent SIGUSR2"), 1)
                self.assertEqual(server.get().body, version)

    def test_without_a_record(self) -> None:
        """Where the record of a server cannot be read, its pid file is watched."""
        server = served(*LONG)
        server.write("sitecustomize.py", "import os\ndel os.memfd_create\n")
        server.environment["PYTHONPATH"] = str(server.directory)
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": str(server.directory)})
        with server:
            server.get()
            server.deploy("2")
            done = self.ends(server, 0, "upgrade")
            self.assertEqual(server.get().body, "2")
            server.hand_over()
            server.write("app.py", "import nowhere\n")
            done = self.ends(server, 6, "upgrade", "--timeout", "1")
            self.assertIn("which serves the old code", done.stderr)
            for name in ("log", "check"):
                done = self.ends(server, 5, name)
                self.assertIn("has no record of a twisted-graceful", done.stderr)


class ReloadTests(PidFileTestCase):
    """``gracefulctl reload`` by signals."""

    def test_without_workers(self) -> None:
        """It is an upgrade."""
        with served() as server:
            server.get()
            server.deploy("2")
            done = self.ends(server, 0, "reload")
            self.assertEqual(server.get().body, "2")
            new = server.hand_over()
            self.assertIn(f"the new code serves (pid {new})\n", done.stdout)

    def test_new_workers(self) -> None:
        """When it has ended with 0 all workers have the new code, below the same master."""
        with served("--workers", "2", "--probation", "0.3") as server:
            server.get()
            server.deploy("2")
            done = self.ends(server, 0, "reload", "--json")
            self.assertEqual({server.get().body for _ in range(10)}, {"2"})
            steps = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual(steps[0]["signal"], "SIGHUP")
            self.assertEqual(
                [(each["event"], each["replaced"]) for each in steps[1:]],
                [("replacing", 0), ("replacing", 1), ("replacing", 2), ("done", 2)],
            )
            self.assertEqual(server.pid_file, str(server.pid))
            self.assertIn("all 2 workers have the new code", self.ends(server, 0, "log").stdout)

    def test_code_that_does_not_load(self) -> None:
        """The first worker that fails ends it, and what that wrote is shown; the others serve."""
        with served("--workers", "2") as server:
            server.get()
            server.write("app.py", "import nowhere\n")
            done = self.ends(server, 1, "reload", "--timeout", "600")
            self.assertIn("the workers are not replaced: worker 1: it exited", done.stdout)
            self.assertIn("0 of 2 have the new code", done.stdout)
            self.assertIn("No module named 'nowhere'", done.stdout)
            self.assertEqual(server.get().body, "1")

    def test_code_that_dies_in_its_probation(self) -> None:
        """So does the first worker that dies after it served, before an old one has left."""
        with served(*LONG, "--workers", "2") as server:
            before = workers(server)
            server.deploy("2", DIES)
            done = self.ends(server, 1, "reload")
            self.assertIn("the old workers stay for the probation of 60 s", done.stdout)
            self.assertIn("not replaced: worker 1: it exited with status 3 0.", done.stdout)
            self.assertEqual(workers(server), before)
            self.assertEqual({server.get().body for _ in range(10)}, {"1"})

    def test_two_at_once(self) -> None:
        """One that comes while another loads is over when its own code serves."""
        with served("--workers", "1") as server:
            server.get()
            server.deploy("2", LOADS_AT_A_GATE)
            server.kill(signal.SIGHUP)
            server.said(r"Worker 1 starts \(pid", 2)
            with subprocess.Popen(
                command("reload", *PID_FILE), cwd=server.directory, stdout=subprocess.PIPE
            ) as waiting:
                server.said("replaced when what is under way is over")
                server.deploy("3")
                server.open("load")
                waiting.communicate(timeout=30)
            self.assertEqual(waiting.returncode, 0)
            self.assertEqual(server.get().body, "3")


class OtherCommandsTests(PidFileTestCase):
    """The other commands by signals."""

    def test_status_and_stop(self) -> None:
        """A stop waits until what was begun is answered, and the server has ended."""
        with served() as server:
            holder = server.hold()
            self.assertIn(f"pid       {server.pid}\n", self.ends(server, 0, "status").stdout)
            with subprocess.Popen(command("stop", *PID_FILE), cwd=server.directory) as stopping:
                server.wait_for("held.draining")
                self.assertIsNone(stopping.poll())
                server.finish_drain(holder)
                self.assertEqual(stopping.wait(15), 0)
            self.assertEqual(server.family(), [])
            done = self.ends(server, 3, "status")
            self.assertIn("there is no pid file 'app.pid'", done.stderr)

    def test_a_stop_that_cuts(self) -> None:
        """A stop that cut a request fails, and says what it cut."""
        with served("--drain-timeout", "0.3") as server:
            server.hold()
            done = self.ends(server, 1, "stop")
            self.assertIn("1 cut", done.stdout)
            self.assertIn("GET /gate/held", done.stdout)

    def test_a_stop_of_a_process_that_was_held(self) -> None:
        """A stop is a failure if a thread held the process after a drain that cut nothing."""
        server = served("--drain-timeout", "0.3")
        server.deploy(
            "1", "\nfrom threading import Event, Thread\nThread(target=Event().wait).start()"
        )
        with server:
            server.get()
            done = self.ends(server, 1, "stop")
            self.assertIn("did not end by itself and was killed; its log says why\n", done.stdout)
            self.assertEqual(server.exit_status(), 1)

    def test_a_server_that_stops(self) -> None:
        """An upgrade is refused at once, and another stop does not cut what the first leaves."""
        with served("--shutdown-delay", "60") as server:
            server.get()
            server.kill(signal.SIGTERM)
            server.said("Stopping: .* accepts for another")
            self.assertIn("this process is stopping", self.ends(server, 1, "upgrade").stdout)
            self.assertIn("stopping  yes", self.ends(server, 0, "status").stdout)
            done = self.ends(server, 6, "stop", "--timeout", "0.3")
            self.assertIn("is stopping\n", done.stdout)
            self.assertEqual(server.get().status, 200)
            server.kill(signal.SIGTERM)
            server.exit_status()

    def test_one_that_is_suspended(self) -> None:
        """A server that is suspended by SIGSTOP does not count as running, and gets no signal."""
        with served() as server:
            server.get()
            server.kill(signal.SIGSTOP)
            try:
                for name in ("status", "upgrade", "stop"):
                    with self.subTest(name=name):
                        done = self.ends(server, 7, name)
                        self.assertIn("is suspended (SIGSTOP", done.stderr)
            finally:
                server.kill(signal.SIGCONT)
            self.assertEqual(server.get().status, 200)

    def test_of_another_server_of_ours(self) -> None:
        """A stale pid file whose pid is another server's by now leads to no signal."""
        with served() as server:
            server.get()
            (server.directory / "stale.pid").write_text(str(server.pid))
            for name in ("status", "upgrade", "stop"):
                with self.subTest(name=name):
                    done = ctl(server.directory, name, "--pid-file", "stale.pid")
                    self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
                    self.assertIn("is another server, whose pid file is", done.stderr)
            self.assertEqual(server.family(), [server.pid])

    def test_a_predecessor_that_is_killed(self) -> None:
        """An upgrade whose old process is killed ends when the new one serves."""
        with served() as server:
            server.get()
            old = server.pid
            server.deploy("2", LOADS_AT_A_GATE)
            with subprocess.Popen(command("upgrade", *PID_FILE), cwd=server.directory) as waiting:
                server.said(r"generation 1 starts \(pid")
                server.kill(signal.SIGKILL, old)
                until(lambda: not proc.alive(old), "the old process has ended")
                self.assertIsNone(waiting.poll())
                server.open("load")
                self.assertEqual(waiting.wait(30), 0)
            self.assertEqual(server.get().body, "2")

    def test_a_drain_that_lasts(self) -> None:
        """A stop that takes longer than one waits for is not known to have ended."""
        with served() as server:
            server.hold()
            done = self.ends(server, 6, "stop", "--timeout", "0.3")
            self.assertIn("still drains; a second TERM cuts what is left", done.stderr)

    def test_what_needs_the_admin_socket(self) -> None:
        """What signals cannot say is refused, with what can."""
        with served() as server:
            server.get()
            done = self.ends(server, 5, "workers", "2")
            self.assertIn("use the admin socket (--admin)", done.stderr)

    def test_log(self) -> None:
        """It tells of the last upgrade, whether that failed or not, whoever serves."""
        with served() as server:
            server.get()
            self.assertEqual(self.ends(server, 0, "log").stdout, "no upgrade has been made\n")
            server.write("app.py", "import nowhere\n")
            self.ends(server, 1, "upgrade")
            self.assertIn("No module named 'nowhere'", self.ends(server, 0, "log").stdout)
            server.deploy("2")
            self.ends(server, 0, "upgrade", "--wait-probation")
            done = self.ends(server, 0, "log", "--json")
            names = [json.loads(line)["event"] for line in done.stdout.splitlines()]
            self.assertEqual(names, ["started", "ready", "drained", "done"])

    def test_check(self) -> None:
        """The code on disk is checked as the server would start it, and the server serves on."""
        with served("--warm-up", "/") as server:
            server.get()
            self.assertIn("app.resource: can be served", self.ends(server, 0, "check").stdout)
            server.upgrade()
            self.assertIn("app.resource: can be served", self.ends(server, 0, "check").stdout)
            server.write("app.py", "import nowhere\n")
            done = ctl(server.directory, "check", *PID_FILE)
            self.assertEqual(done.returncode, 1)
            self.assertIn("No module named 'nowhere'", done.stderr)
            until(lambda: server.family() == [server.pid], "nothing else runs")

    def test_another_user(self) -> None:
        """Who may not send signals to the server is told so, and nothing has happened."""
        if os.getuid() != 0:
            raise SkipTest("only root can change the user")
        with served() as server:
            server.get()
            server.directory.chmod(0o755)
            for name in ("upgrade", "stop", "check"):
                with self.subTest(name=name):
                    done = self.ends(server, 4, name, as_nobody=True)
                    self.assertIn("or as root", done.stderr)
            self.assertEqual(server.family(), [server.pid])


class NoServerTests(SynchronousTestCase):
    """Pid files that name no server."""

    def setUp(self) -> None:
        """An empty directory."""
        self.directory = Path(temporary_directory(self))

    def fails(self, status: int, text: str) -> None:
        """Every command says what is wrong with the pid file."""
        for name in ("status", "upgrade", "stop", "check"):
            done = ctl(self.directory, name, *PID_FILE)
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
            self.assertIn(text, done.stderr)

    def test_stale(self) -> None:
        """A pid file of a process that has ended is stale."""
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        (self.directory / "app.pid").write_text(f"{ended.pid}\n")
        self.fails(3, f"'app.pid' is stale: process {ended.pid}, which it names, does not run")

    def test_of_somebody_else(self) -> None:
        """A process that got the pid of a server, and would be ended by our signals, gets none."""
        if not Path("/proc/self/status").exists():
            raise SkipTest("this system does not tell what processes do about signals")
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with other:
            (self.directory / "app.pid").write_text(str(other.pid))
            self.fails(3, "is no server of ours, and the pid file is stale")
            self.assertIsNone(other.poll())

    def test_of_another_server(self) -> None:
        """One that handles our signals, as other servers do, gets none either."""
        if not hasattr(os, "memfd_create"):
            raise SkipTest("servers keep no record on this system")
        other = subprocess.Popen(
            [sys.executable, "-c", HANDLES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with other:
            assert other.stdout is not None
            other.stdout.readline()
            (self.directory / "app.pid").write_text(str(other.pid))
            self.fails(3, "is no server of ours")
            out, _ = other.communicate(b"\n", timeout=15)
            self.assertEqual(out, b"")

    def test_no_pid_file(self) -> None:
        """What is in it may be anything."""
        for text in ("not a pid", "-1", "99999999999"):
            with self.subTest(text=text):
                (self.directory / "app.pid").write_text(text)
                self.fails(2, "is no pid file")
