"""The access log of whole processes: rotated and upgraded under load, and read line by line."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import SkipTest

from ..case import SynchronousTestCase
from . import proc
from .client import request
from .harness import FOREGROUND, GRACEFUL, Server, served
from .waiting import Watch, until

LINE = re.compile(
    r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
    r'"(-|\S+ \S+(?: HTTP/1\.[01])?)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"'
)

JSON = ("--access-log", "access.log", "--access-log-format", "json")

TAC = """\
import os, sys
sys.path.insert(0, os.getcwd())
from twisted.application.service import Application
from twisted_graceful import GracefulService, new
import app

application = Application("tac")
server = new("127.0.0.1:0", app.resource, access_log="access.log", idle_grace=0.3)
GracefulService(server, signals=True, probation=0).setServiceParent(application)
"""


def lines(server: Server, name: str = "access.log*") -> list[str]:
    """The lines of its access logs."""
    return [
        line
        for path in sorted(server.directory.glob(name))
        for line in path.read_text("ascii").splitlines()
    ]


def entries(server: Server) -> list[dict[str, Any]]:
    """The lines of its access log in JSON."""
    return [json.loads(line) for line in lines(server)]


def rotate(server: Server, number: int) -> Path:
    """Move the access log away, and wait until there is a new one."""
    path = server.directory / "access.log"
    old = path.rename(server.directory / f"access.log.{number}")
    server.kill(signal.SIGUSR1, int(server.pid_file))
    until(path.exists, "there is a new access log")
    return old


class Clients:
    """Clients that ask all the time, on connections of their own and on a kept one.

    Attributes:
        answered: how many requests have been answered.
    """

    def __init__(self, server: Server) -> None:
        self.answered = 0
        self._server = server
        self._kept = server.connect()

    def __call__(self) -> str:
        """Ask twice."""
        self._server.get()
        self.answered += 1
        answer = self._kept.ask("/")
        self.answered += 1
        if answer.last:
            self._kept.close()
            self._kept = self._server.connect()
        return "" if answer.status == 200 else repr(answer)


class FileTests(SynchronousTestCase):
    """A file that is moved away, shared, and lost."""

    def assertWhole(self, server: Server, count: int) -> None:
        """All files together have so many lines, each of them whole."""
        found = lines(server)
        self.assertEqual([each for each in found if LINE.fullmatch(each) is None], [])
        self.assertEqual(len(found), count)

    def test_rotation_under_load(self) -> None:
        """Moved away and opened anew at USR1, again and again, it loses no line."""
        with served("--access-log", "access.log") as server:
            clients = Clients(server)
            with Watch(clients) as watch:
                for number in range(1, 6):
                    rotate(server, number)
                    before = clients.answered
                    until(lambda: clients.answered > before + 20, "more is answered")  # noqa: B023
            self.assertEqual(watch.wrong, [])
            self.assertEqual(server.stop(), 0)
            self.assertWhole(server, clients.answered)
            self.assertGreater(len(lines(server, "access.log")), 0)

    def test_upgrade_under_load(self) -> None:
        """Two generations that write to it lose no line, nor that of a request of the drain."""
        with served("--access-log", "access.log") as server:
            clients = Clients(server)
            with Watch(clients) as watch:
                for number in range(1, 4):
                    slow = server.hold(f"held{number}")
                    server.deploy(str(number + 1))
                    server.kill(signal.SIGUSR2)
                    server.hand_over()
                    server.open(f"held{number}")
                    self.assertEqual(slow.answer().body, str(number))
                    slow.close()
                    until(lambda: len(server.family()) == 1, "the old one has ended")
            self.assertEqual(watch.wrong, [])
            self.assertEqual(server.stop(), 0)
            self.assertWhole(server, clients.answered + 3)
            for number in range(1, 4):
                self.assertIn(f'"GET /gate/held{number} HTTP/1.1" 200 1 ', "\n".join(lines(server)))

    def test_moved_while_the_predecessor_drains(self) -> None:
        """The serving process passes it on: the draining one goes on in the new file, too."""
        with served("--access-log", "access.log") as server:
            slow = server.hold()
            old = server.pid
            server.kill(signal.SIGUSR2)
            server.hand_over()
            until(lambda: server.pid_file == str(server.pid), "the pid file names who serves")
            rotate(server, 1)
            moved = str(server.directory / "access.log")
            until(lambda: moved in proc.descriptors(old), "the predecessor has opened the new file")
            server.open("held")
            slow.answer()
            slow.close()
            server.ended(old)
            self.assertEqual([len(lines(server, "access.log")), len(lines(server))], [1, 1])

    def test_moved_while_the_successor_starts(self) -> None:
        """A successor that had opened the file before it was moved goes on in the new one."""
        with Server("--app", "app.slow_factory", "--access-log", "access.log") as server:
            server.open("factory")
            server.get()
            server.shut("factory")
            server.kill(signal.SIGUSR2)
            server.wait_for("factory.begun")
            old = rotate(server, 1)
            server.open("factory")
            server.hand_over()
            until(lambda: len(server.family()) == 1, "the old one has ended")
            server.get()
            server.stop()
            self.assertEqual([len(old.read_text().splitlines()), len(lines(server))], [1, 2])

    def test_twistds_own_log(self) -> None:
        """At USR1 twistd's own log is rotated as well."""
        own = [each.replace("-", "app.log") if each == "-" else each for each in GRACEFUL]
        with Server("--app", "app.resource", "--access-log", "access.log", command=own) as server:
            server.get()
            rotate(server, 1)
            until((server.directory / "app.log.1").exists, "twistd has rotated its log")
            self.assertEqual(server.get().status, 200)

    def test_tac(self) -> None:
        """A ``.tac`` file has one by the same name, through an upgrade."""
        server = Server("-y", "app.tac", command=FOREGROUND)
        server.write("app.tac", TAC)
        with server:
            server.get()
            rotate(server, 1)
            server.upgrade()
            server.get()
            server.stop()
            self.assertWhole(server, 2)

    def test_standard_output(self) -> None:
        """Standard output is that of the service, for a successor too."""
        with served("--access-log", "-") as server:
            server.get("/pid")
            server.upgrade()
            server.get("/pid")
            server.stop()
            self.assertEqual(server.log.count('"GET /pid HTTP/1.1" 200 '), 2)

    def test_killed(self) -> None:
        """A process that is killed has written what is older than a second."""
        with served("--access-log", "access.log") as server:
            server.get()
            until(lambda: lines(server), "the line is written while nothing else happens")
            server.kill(signal.SIGKILL)
            self.assertWhole(server, 1)

    def test_dropped_privileges(self) -> None:
        """With ``--uid`` the file is the user's, who can open it anew."""
        if os.getuid() != 0:
            raise SkipTest("only root can drop privileges")
        drop = ("--uid", "65534", "--gid", "65534")
        server = Server(
            "--app", "app.resource", *JSON, command=(*GRACEFUL[:2], *drop, *GRACEFUL[2:])
        )
        server.directory.chmod(0o777)
        with server:
            server.get()
            for path in (server.directory / "access.log", rotate(server, 1)):
                with self.subTest(path=path):
                    status = path.stat()
                    self.assertEqual((status.st_uid, status.st_gid), (65534, 65534))
            server.get()
            server.stop()
            self.assertEqual(len(lines(server)), 2)


class RefusalTests(SynchronousTestCase):
    """A log that cannot be opened."""

    def test_start(self) -> None:
        """A start is refused in one line, before anything is bound."""
        with served("--access-log", "logs/access.log") as server:
            self.assertEqual(server.exit_status(), 1)
            (line,) = server.log.splitlines()
            self.assertRegex(line, "twistd graceful: .*access.log: there is no directory .*logs")

    def test_upgrade(self) -> None:
        """An upgrade fails, and the old process serves on."""
        server = served("--access-log", "logs/access.log")
        logs = server.directory / "logs"
        logs.mkdir()
        with server:
            server.get()
            logs.rename(server.directory / "moved")
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1: it exited with status 1")
            self.assertIn("there is no directory", server.log)
            self.assertEqual(server.get().body, "1")


class OutcomeTests(SynchronousTestCase):
    """Every request is in it, however it ends."""

    def test_every_end(self) -> None:
        """Refused, timed out, gone or cut: each has its line."""
        options = (
            *("--read-header-timeout", "1", "--read-timeout", "1", "--drain-timeout", "1"),
            *("--max-body-size", "9", "--max-request-line", "100", "--max-header-size", "500"),
        )
        with served(*JSON, *options) as server:
            refused = {
                "nonsense\r\n\r\n": 400,
                request("/no-host", "GET", "Host: b\r\n"): 400,
                request("/" + "x" * 200): 414,
                request("/large-head", "GET", f"A: {'x' * 600}\r\n"): 431,
                request("/large-body", "POST", "Content-Length: 10\r\n"): 413,
                "GET /slow-head HTTP/1.1\r\n": 408,
                request("/slow-body", "POST", "Content-Length: 5\r\n"): 408,
            }
            for sent, status in refused.items():
                with self.subTest(sent=sent, status=status):
                    client = server.connect()
                    client.send(sent)
                    self.assertEqual(client.answer().status, status)
                    client.close()
            server.hold("left").close()
            until(lambda: len(entries(server)) == len(refused) + 1, "all of them are logged")
            server.hold("never")
            deaf = server.connect()
            deaf.get("/large/30000000")
            server.get()
            self.assertEqual(server.stop(), 1)
            found = Counter(
                (each["status"], each["target"][:12], each.get("outcome", "answered"))
                for each in entries(server)
            )
            self.assertEqual(
                sorted(found),
                [
                    (200, "/", "answered"),
                    (200, "/large/30000", "cut"),
                    (400, "", "refused"),
                    (400, "/no-host", "refused"),
                    (408, "/slow-body", "timed out"),
                    (408, "/slow-head", "timed out"),
                    (413, "/large-body", "refused"),
                    (414, "/xxxxxxxxxxx", "refused"),
                    (431, "/large-head", "refused"),
                    (444, "/gate/never", "cut"),
                    (499, "/gate/left", "client gone"),
                ],
            )
            self.assertEqual(set(found.values()), {1})
            [cut] = [each for each in entries(server) if each["target"] == "/large/30000000"]
            self.assertTrue(0 < cut["bytes"] < 30_000_000, cut)
