"""``gracefulctl`` and the admin socket of real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from unittest import SkipTest

from ..case import SynchronousTestCase
from . import proc
from .gracefulctl import UpgradeMixin, command, ctl
from .harness import DAEMON, Server, served
from .waiting import until
from .warm_up_apps import DOWN, WELL

ADMIN = ("--admin", "unix:admin.sock")
LONG = ("--probation", "60")

WITHOUT_UPGRADES = """\
import app
from twisted_graceful import listen_and_serve

listen_and_serve("127.0.0.1:0", app.resource, admin="unix:admin.sock")
"""


class AdminTestCase(SynchronousTestCase):
    """A server that is told at its admin socket."""

    def ends(
        self, server: Server, status: int, *arguments: str, as_nobody: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """It ends with this status, and no traceback."""
        done = ctl(server.directory, *arguments, *ADMIN, as_nobody=as_nobody)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def names(self, done: subprocess.CompletedProcess[str]) -> list[str]:
        """The names of the events, each once, but for what depends on time."""
        found = dict.fromkeys(json.loads(line)["event"] for line in done.stdout.splitlines())
        found.pop("draining", None)
        return list(found)


class UpgradeTests(UpgradeMixin, AdminTestCase):
    """``gracefulctl upgrade``."""

    options = way = ADMIN

    def test_new_code_serves(self) -> None:
        """When it has ended with 0, the new code answers; each step has been told."""
        with served(*ADMIN, *LONG) as server:
            server.get()
            server.deploy("2")
            done = self.ends(server, 0, "upgrade", "--json")
            self.assertEqual(server.get().body, "2")
            names = self.names(done)
            self.assertEqual((names[0], names[-1]), ("started", "ready"))
            server.hand_over()
            # The successor is told in its turn, which ends the probation.
            server.deploy("3")
            done = self.ends(server, 0, "upgrade")
            self.assertIn("the new code serves (pid ", done.stdout)
            self.assertEqual(server.get().body, "3")

    def test_wait_probation(self) -> None:
        """With --wait-probation the old process ends then, also with a request that it drained."""
        with served(*ADMIN, "--probation", "0.5") as server:
            old, holder = server.pid, server.hold()
            with subprocess.Popen(
                command("upgrade", "--wait-probation", *ADMIN), cwd=server.directory
            ) as waiting:
                server.wait_for("held.draining")
                server.hand_over()
                self.assertIsNone(waiting.poll())
                server.open("held")
                holder.answer()
                self.assertEqual(waiting.wait(15), 0)
            until(lambda: not proc.alive(old), "the old process ends")

    def test_with_workers(self) -> None:
        """A master and its workers are replaced as one."""
        with served(*ADMIN, "--workers", "1") as server:
            server.get()
            server.deploy("2")
            self.ends(server, 0, "upgrade")
            self.assertEqual(server.get().body, "2")
            server.hand_over()
            server.write("app.py", "import nowhere\n")
            done = self.ends(server, 1, "upgrade")
            self.assertIn("No module named 'nowhere'", done.stdout)
            self.assertEqual(server.get().body, "2")

    def test_code_that_does_not_load(self) -> None:
        """The reason and the successor's own traceback are shown; the old code serves."""
        with served(*ADMIN) as server:
            server.get()
            server.write("app.py", "import nowhere\n")
            done = self.ends(server, 1, "upgrade")
            self.assertRegex(done.stdout, r"the upgrade failed: \S")
            self.assertIn("No module named 'nowhere'", done.stdout)
            self.assertEqual(server.get().body, "1")

    def test_warm_up(self) -> None:
        """So is an answer of the warm-up that is none."""
        options = ("--app", "entry.app", "--warm-up", "/ready")
        server = Server(*options, *ADMIN)
        server.write("entry.py", WELL)
        with server:
            server.get()
            self.assertIn("warm-up: GET /ready\n", self.ends(server, 0, "upgrade").stdout)
            server.hand_over()
            server.write("entry.py", DOWN)
            done = self.ends(server, 1, "upgrade")
            self.assertIn("GET /ready was answered 503 Service Unavailable", done.stdout)
            self.assertEqual(server.get().body, "1")

    def test_why_in_a_daemon(self) -> None:
        """Of a process that logs to a file, too, it is shown what the new code wrote."""
        options = (*ADMIN, "--workers", "1", "--warm-up", "/ready", "--app", "entry.app")
        server = Server(*options, "--upgrade-timeout", "5", command=DAEMON)
        server.write("entry.py", WELL)
        with server:
            server.get()
            server.write("entry.py", "import nowhere\n")
            self.assertIn("No module named 'nowhere'", self.ends(server, 1, "upgrade").stdout)
            server.write("entry.py", DOWN)
            self.assertIn("answered 503", self.ends(server, 1, "upgrade").stdout)
            self.assertEqual(server.get().body, "1")

    def test_warm_up_of_workers(self) -> None:
        """Theirs is told, too, while the master starts."""
        with served(*ADMIN, "--workers", "1", "--warm-up", "/") as server:
            server.get()
            names = self.names(self.ends(server, 0, "upgrade", "--json"))
            self.assertEqual(names, ["started", "loading", "warm-up", "ready"])


class ReloadTests(AdminTestCase):
    """``gracefulctl reload``."""

    def test_without_workers(self) -> None:
        """It is an upgrade."""
        with served(*ADMIN) as server:
            server.get()
            server.deploy("2")
            names = self.names(self.ends(server, 0, "reload", "--json"))
            self.assertEqual((names[0], names[-1]), ("started", "ready"))
            self.assertEqual(server.get().body, "2")
            server.hand_over()

    def test_new_workers(self) -> None:
        """When it has ended with 0 all workers have the new code, below the same master."""
        with served(*ADMIN, "--workers", "2") as server:
            server.get()
            server.deploy("2")
            done = self.ends(server, 0, "reload", "--json")
            self.assertEqual({server.get().body for _ in range(10)}, {"2"})
            steps = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual(
                [(each["event"], each["replaced"]) for each in steps],
                [("replacing", 0), ("replacing", 1), ("replacing", 2), ("done", 2)],
            )
            self.assertEqual(server.pid_file, str(server.pid))
            self.assertIn("all 2 workers have the new code", self.ends(server, 0, "log").stdout)

    def test_code_that_does_not_load(self) -> None:
        """The first worker that fails ends it, and what that wrote is shown; the others serve."""
        with served(*ADMIN, "--workers", "2") as server:
            server.get()
            server.write("app.py", "import nowhere\n")
            done = self.ends(server, 1, "reload")
            self.assertIn("the workers are not replaced: worker 1: it exited", done.stdout)
            self.assertIn("No module named 'nowhere'", done.stdout)
            self.assertEqual(server.get().body, "1")


class OtherCommandsTests(AdminTestCase):
    """The other commands."""

    def test_status(self) -> None:
        """It shows who serves, and what is being answered."""
        with served(*ADMIN) as server:
            server.hold()
            text = self.ends(server, 0, "status").stdout
            self.assertRegex(text, rf"generations\n +generation .*\n +0 +{server.pid} ")
            self.assertIn("/gate/held", text)
            status = json.loads(self.ends(server, 0, "status", "--json").stdout)
            self.assertEqual(status["generations"][0]["pid"], server.pid)

    def test_stop(self) -> None:
        """A stop waits until what was begun is answered, and tells what became of it."""
        with served(*ADMIN) as server:
            holder = server.hold()
            with subprocess.Popen(
                command("stop", *ADMIN), cwd=server.directory, stdout=subprocess.PIPE, text=True
            ) as stopping:
                server.wait_for("held.draining")
                self.assertIsNone(stopping.poll())
                self.assertEqual(server.finish_drain(holder), 0)
                out, _ = stopping.communicate(timeout=15)
            self.assertEqual(stopping.returncode, 0)
            self.assertIn("1 answered", out)
            done = self.ends(server, 3, "upgrade")
            self.assertIn("no server is at unix:admin.sock", done.stderr)

    def test_stop_that_cuts(self) -> None:
        """A stop that had to cut a request is a failure, as the server's own exit status says."""
        with served(*ADMIN, "--drain-timeout", "0.5") as server:
            server.hold()
            done = self.ends(server, 1, "stop")
            self.assertIn("1 cut", done.stdout)

    def test_refused(self) -> None:
        """Over TCP a server can only be looked at."""
        with served("--admin", "127.0.0.1:0", *ADMIN) as server:
            server.get()
            [port] = [each for each in server.ports if server.get("/readyz", each).status == 200]
            done = ctl(server.directory, "upgrade", "--admin", f"127.0.0.1:{port}")
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn("on the UNIX socket only", done.stderr)
            done = ctl(server.directory, "status", "--admin", f"127.0.0.1:{port}")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_program_without_upgrades(self) -> None:
        """It says at once that it has none, and serves on."""
        server = Server(command=[sys.executable, "program.py"])
        server.write("program.py", WITHOUT_UPGRADES)
        with server:
            server.get()
            self.assertIn("without upgrades", self.ends(server, 5, "upgrade").stderr)
            self.assertEqual(server.get().body, "1")

    def test_workers(self) -> None:
        """A master gets another number of workers; a single process says that it has none."""
        with served(*ADMIN) as server:
            server.get()
            self.assertIn("without workers", self.ends(server, 5, "workers", "2").stderr)
        with served(*ADMIN, "--workers", "1") as server:
            server.get()
            done = self.ends(server, 0, "workers", "2")
            self.assertIn("there shall be 2 workers\n", done.stdout)
            until(lambda: len(server.family()) == 3, "a master and two workers")
            self.assertIn("from 1 to", self.ends(server, 1, "workers", "0").stderr)
            self.ends(server, 0, "workers", "1")
            until(lambda: len(server.family()) == 2, "a master and one worker")

    def test_log(self) -> None:
        """It tells of the last upgrade, whether that failed or not, whoever serves."""
        with served(*ADMIN, "--probation", "0.2") as server:
            server.get()
            self.assertEqual(self.ends(server, 0, "log").stdout, "no upgrade has been made\n")
            server.write("app.py", "import nowhere\n")
            self.ends(server, 1, "upgrade")
            text = self.ends(server, 0, "log").stdout
            self.assertIn("No module named 'nowhere'", text)
            server.deploy("2")
            self.ends(server, 0, "upgrade", "--wait-probation")
            until(
                lambda: self.names(self.ends(server, 0, "log", "--json"))[-1:] == ["done"],
                "the new process tells of the end",
            )
            names = self.names(self.ends(server, 0, "log", "--json"))
            self.assertEqual([names[0], names[-1]], ["started", "done"])
            self.assertIn("ready", names)
            self.assertNotIn("failed", names)

    def test_check(self) -> None:
        """The server's own command is checked."""
        with served(*ADMIN) as server:
            server.get()
            self.assertIn("app.resource: can be served", self.ends(server, 0, "check").stdout)

    def test_another_user(self) -> None:
        """Who may not open the socket is told so."""
        if os.getuid() != 0:
            raise SkipTest("only root can change the user")
        with served(*ADMIN) as server:
            server.get()
            server.directory.chmod(0o755)
            for name in ("status", "upgrade", "reload", "stop"):
                with self.subTest(name=name):
                    done = self.ends(server, 4, name, as_nobody=True)
                    self.assertIn("may not be opened by this user", done.stderr)
            self.assertEqual(server.get().body, "1")

    def test_without_a_command_line(self) -> None:
        """The file that configures the server is enough to find it."""
        with served(*ADMIN) as server:
            server.get()
            server.write("graceful.toml", '[graceful]\nadmin = "unix:admin.sock"\n')
            done = ctl(server.directory, "status", "--config", "graceful.toml")
            self.assertEqual(done.returncode, 0, done.stderr)
