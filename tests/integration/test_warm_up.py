"""``--warm-up``: a new process answers before it serves, or never serves."""

from __future__ import annotations

import signal

from ..case import SynchronousTestCase
from . import proc
from .failed_upgrades import FaultTestCase
from .harness import PORT, Server
from .waiting import until
from .warm_up_apps import BROKEN, DOWN, SILENT, WELL

ANSWERED = r"the warm-up request GET /ready was answered 503 Service Unavailable\s+the database\s+"


class UpgradeTests(FaultTestCase):
    """What an upgrade does whose code must answer first."""

    def warming(self, code: str, *options: str) -> Server:
        """A server that warms up with two requests; then other code is put in place."""
        paths = ("--warm-up", "/", "--warm-up", "/ready")
        server = self.server("--app", "entry.app", *paths, *options)
        server.write("entry.py", code)
        return server

    def asked(self, server: Server, pid: int) -> list[str]:
        """What a process was asked for, in order."""
        lines = [line.split() for line in (server.directory / "asked").read_text().splitlines()]
        return [path for number, path in lines if int(number) == pid]

    def test_success(self) -> None:
        """Each generation has answered all of its warm-up before it serves, and is not logged."""
        with self.warming(WELL, "--access-log", "access.log") as server:
            self.assertEqual(self.asked(server, server.pid), ["/", "/ready"])
            self.assertEqual(self.asked(server, server.upgrade()), ["/", "/ready"])
            self.assertEqual(server.stop(), 0)
            self.assertEqual((server.directory / "access.log").read_text(), "")

    def test_answers_503(self) -> None:
        """Code that answers 503 does not replace what serves; the log has status and body."""
        with self.warming(WELL) as server:
            server.serving(0)
            server.write("entry.py", DOWN)
            self.fails(server, ANSWERED + "is down", "is down")
            server.deploy("2")
            server.write("entry.py", WELL)
            server.upgrade()
            self.assertEqual(server.get().body, "2")

    def test_raises(self) -> None:
        """Code that raises does not replace what serves; the log has its traceback."""
        with self.warming(WELL) as server:
            server.serving(0)
            server.write("entry.py", BROKEN)
            self.fails(server, r"answered 500 Internal Server Error\s+<html>", "no such table")

    def test_hangs(self) -> None:
        """Code that does not answer in time does not replace what serves."""
        with self.warming(WELL, "--warm-up-timeout", "0.5") as server:
            server.serving(0)
            server.write("entry.py", SILENT)
            self.fails(server, "GET /ready was not answered within 0.5 seconds", "")

    def test_hangs_for_longer_than_the_upgrade_may_take(self) -> None:
        """If the upgrade's own time is shorter, the log still says what was waited for."""
        with self.warming(WELL, "--upgrade-timeout", "3") as server:
            server.serving(0)
            server.write("entry.py", SILENT)
            self.fails(server, "not ready within 3 seconds", "GET /ready has no answer yet")

    def test_stop(self) -> None:
        """A service that is stopped in the warm-up of an upgrade ends at once, and well."""
        with self.warming(WELL) as server:
            pid = server.serving(0)
            server.write("entry.py", SILENT)
            server.kill(signal.SIGUSR2)
            successor = server.starting(1)
            until(lambda: "/ready" in self.asked(server, successor), "the warm-up is under way")
            self.assertEqual(server.stop(), 0)
            server.ended(successor)
            self.assertNotIn("Upgrade failed", server.log)
            self.assertNotIn("is not served", server.log)
            self.assertFalse(proc.exists(pid))


class StartTests(SynchronousTestCase):
    """The first generation warms up too."""

    def test_fails(self) -> None:
        """A start whose warm-up fails ends with status 1, and says the same."""
        server = Server("--app", "entry.app", "--warm-up", "/ready")
        server.write("entry.py", DOWN)
        with server:
            self.assertEqual(server.exit_status(), 1)
            self.assertRegex(server.log, f"The application is not served: {ANSWERED}is down")
            self.assertNotIn("Traceback", server.log)
            self.assertNotIn("Generation 0 serves", server.log)
            self.assertEqual(server.pid_file, "")

    def test_workers(self) -> None:
        """A master whose worker fails in its warm-up ends, too; after HUP the old workers stay."""
        options = ("--app", "entry.app", "--warm-up", "/ready", "--workers", "1")
        server = Server(*options)
        server.write("entry.py", DOWN)
        with server:
            self.assertEqual(server.exit_status(), 1)
            self.assertRegex(server.log, ANSWERED)
        server = Server(*options)
        server.write("entry.py", WELL)
        with server:
            server.get()
            server.write("entry.py", DOWN)
            server.kill(signal.SIGHUP)
            server.said("The workers are not replaced: worker 1: " + ANSWERED)
            self.assertEqual(server.get().body, "1")

    def test_each_application(self) -> None:
        """Each application answers, and one that fails keeps all from being served."""
        two = ("--app", "app.resource", *PORT, "--app", "entry.app")
        server = Server(*two, "--warm-up", "/pid", "--warm-up", "/ready")
        server.write("entry.py", DOWN)
        with server:
            self.assertEqual(server.exit_status(), 1)
            self.assertRegex(server.log, "GET /pid was answered 200 OK")

    def test_stop(self) -> None:
        """TERM during the warm-up ends the process at once, with status 0."""
        server = Server("--app", "entry.app", "--warm-up", "/ready")
        server.write("entry.py", SILENT)
        with server:
            server.wait_for("asked")
            server.kill(signal.SIGTERM, server.family()[0])
            self.assertEqual(server.exit_status(), 0)
            self.assertIn("GET /ready has no answer yet", server.log)
            self.assertNotIn("is not served", server.log)
