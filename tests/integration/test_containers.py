"""Process 1 of a container: it cannot be replaced, and the container ends with it."""

from __future__ import annotations

import signal
import sys
from unittest import SkipTest

from ..case import SynchronousTestCase
from . import proc
from .gracefulctl import command
from .harness import GRACEFUL, Server
from .programs import CONTAINER, run
from .waiting import until

INIT = f"""\
#!{sys.executable}
import signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
sys.exit(child.wait())
"""


class ContainerTests(SynchronousTestCase):
    """A single process that holds its container."""

    def setUp(self) -> None:
        """Skip where there are no namespaces."""
        done = run(*CONTAINER, "true")
        if done.returncode:
            raise SkipTest(f"no container can be made here: {done.stderr.decode()}")

    def refuses_upgrades(self, server: Server, pid: int, reason: str) -> None:
        """It says why it cannot be upgraded and what to do, serves on, and stops."""
        for number, count in ((signal.SIGHUP, 1), (signal.SIGUSR2, 2)):
            server.kill(number, pid)
            server.said(f"Upgrade failed: generation 1: .*{reason}.* Start a new container", count)
        self.assertEqual(server.get().body, "1")

    def test_process_1(self) -> None:
        """As process 1 it refuses HUP and USR2; TERM and INT stop it; zombies are reaped."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with (
                self.subTest(number=number),
                Server("--app", "app.resource", command=(*CONTAINER, *GRACEFUL)) as server,
            ):
                self.assertEqual(server.serving(0), 1)
                (pid,) = proc.children(server.launched)
                self.refuses_upgrades(server, pid, "this is process 1")
                self.assertEqual(server.get("/orphan").body, "left alone")
                server.wait_for("orphan.ended")
                until(lambda pid=pid: not proc.children(pid), "no zombie is left")
                holder = server.hold()
                server.kill(number, pid)
                server.wait_for("held.draining")
                server.open("held")
                self.assertEqual(holder.answer().body, "1")
                holder.close()
                self.assertEqual(server.exit_status(), 0)

    def test_process_1_that_is_to_be_recycled(self) -> None:
        """A limit that ends the process one day is refused at the start, with what to do."""
        for limit in (("--max-requests", "9"), ("--max-rss", "1GiB")):
            with (
                self.subTest(limit=limit),
                Server(*limit, command=(*CONTAINER, *GRACEFUL)) as server,
            ):
                self.assertEqual(server.exit_status(), 1)
                self.assertRegex(server.log, f"^twistd graceful: {limit[0]}: .*--workers 1")

    def test_process_1_with_workers(self) -> None:
        """With workers HUP brings new code, USR2 says so, and zombies of orphans are reaped."""
        options = ("--app", "app.resource", "--workers", "2")
        with Server(*options, command=(*CONTAINER, *GRACEFUL)) as server:
            self.assertEqual(server.serving(0), 1)
            (pid,) = proc.children(server.launched)
            server.deploy("2")
            server.kill(signal.SIGHUP, pid)
            server.said("All workers have been replaced")
            self.assertEqual(server.get().body, "2")
            self.reloads(server, pid)
            server.kill(signal.SIGUSR2, pid)
            server.said(
                "Upgrade failed: generation 1: .*this is process 1.* with --workers 1 or more HUP"
            )
            self.assertEqual(server.get("/orphan").body, "left alone")
            server.wait_for("orphan.ended")
            until(lambda: len(proc.children(pid)) == 2, "nobody but the workers is left")
            server.kill(signal.SIGTERM, pid)
            self.assertEqual(server.exit_status(), 0)

    def reloads(self, server: Server, pid: int) -> None:
        """``gracefulctl reload`` in the container waits for the new workers."""
        server.deploy("3")
        inside = ("nsenter", f"--target={pid}", "--pid", "--mount", f"--wd={server.directory}")
        done = run(*inside, *command("reload", "--pid-file", "app.pid"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"all 2 workers have the new code", done.stdout)
        self.assertEqual(server.get().body, "3")

    def test_below_an_init_that_ends_with_its_child(self) -> None:
        """The same below ``docker run --init``, whose init ends when the first process does."""
        server = Server("--app", "app.resource", command=(*CONTAINER, "./docker-init", *GRACEFUL))
        server.write("docker-init", INIT)
        (server.directory / "docker-init").chmod(0o755)
        with server:
            server.serving(0)
            (init,) = proc.children(server.launched)
            (pid,) = proc.children(init)
            self.refuses_upgrades(server, pid, "docker-init")
            server.kill(signal.SIGTERM, init)
            self.assertEqual(server.exit_status(), 0)
