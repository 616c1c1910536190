"""Upgrades that fail: the predecessor serves on, says why, and can upgrade again."""

from __future__ import annotations

import signal
import sys

from . import proc
from .failed_upgrades import GOOD, FaultTestCase

LAST_WORDS = "import os, signal, sys, time\nprint('the last words', file=sys.stderr, flush=True)\n"
HANG = LAST_WORDS + "time.sleep(600)\n"
IGNORE_TERM = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
GARBAGE = """\
import os, socket
for descriptor in range(3, 20):
    try:
        found = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        continue
    if found.family == socket.AF_UNIX:
        found.sendall(b"garbage" * 1000)
"""

FEW_DESCRIPTORS = """\
import os, resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1 + {spare}, most))
"""

SCRIPT = """\
import os
from dataclasses import replace
from sys import stdout
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted_graceful import GracefulService, new
from twisted_graceful.process.upgrade.launch import Launch
from app import resource

globalLogBeginner.beginLoggingTo([textFileLogObserver(stdout)], redirectStandardIO=False)
launch = replace(Launch.of_this_process(os.environ), executable=os.path.abspath("python"))
server = new("127.0.0.1:0", resource)
service = GracefulService(
    server, signals=True, launch=launch, probation=0, pid_file=os.path.abspath("app.pid")
)
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""


class SuccessorTests(FaultTestCase):
    """Faults of the successor before it is ready."""

    def check(self, code: str, reason: str, *options: str, words: str = "the last words") -> None:
        """An upgrade to this code fails for this reason; the next one works."""
        with self.server("--app", "entry.app", *options) as server:
            server.serving(0)
            server.write("entry.py", code)
            self.fails(server, reason, words)
            self.assertEqual(server.pid_file, str(server.pid))
            self.works(server)

    def test_cannot_import(self) -> None:
        """A successor that cannot import its code does not end the service."""
        self.check("import nowhere\n", "exited with status 1", words="No module named 'nowhere'")

    def test_syntax_error(self) -> None:
        """A successor whose code is half written does not end the service."""
        self.check("def half(\n", "exited with status 1", words="SyntaxError")

    def test_exits_with_0(self) -> None:
        """A successor that ends well before it is ready has failed."""
        self.check(LAST_WORDS + "os._exit(0)", "exited with status 0 before it was ready")

    def test_exits_with_3(self) -> None:
        """A successor that ends before it is ready is reported with its status."""
        self.check(LAST_WORDS + "os._exit(3)", "exited with status 3 before it was ready")

    def test_killed(self) -> None:
        """A successor that is killed before it is ready is reported with the signal."""
        self.check(
            LAST_WORDS + "os.kill(os.getpid(), signal.SIGKILL)",
            "killed by SIGKILL before it was ready",
        )

    def test_hangs(self) -> None:
        """A successor that is not ready in time is ended."""
        self.check(HANG, "not ready within 3 seconds", "--upgrade-timeout", "3")

    def test_hangs_and_ignores_term(self) -> None:
        """A successor that is not ready in time, and ignores TERM, is killed."""
        self.check(IGNORE_TERM + HANG, "not ready within 3 seconds", "--upgrade-timeout", "3")

    def test_hangs_in_a_factory(self) -> None:
        """A successor whose reactor runs while its application is never made is ended."""
        self.check(
            LAST_WORDS + "from app import slow_factory as app\n",
            "not ready within 3 seconds",
            *("--upgrade-timeout", "3"),
        )

    def test_factory_fails(self) -> None:
        """A successor whose asynchronous factory fails tells the predecessor why."""
        self.check(
            LAST_WORDS + "from app import failing_factory as app\n",
            "RuntimeError: the factory is closed",
        )

    def test_garbage_on_the_channel(self) -> None:
        """A successor that writes garbage on the channel, and hangs, is ended."""
        self.check(GARBAGE + HANG, "broke the control channel")

    def test_garbage_on_the_channel_before_ready(self) -> None:
        """A successor that writes garbage on the channel never serves, though it could."""
        self.check(GARBAGE + LAST_WORDS + GOOD, "broke the control channel")

    def test_closed_channel(self) -> None:
        """A successor that closes what it inherited is ended."""
        self.check(
            LAST_WORDS + "os.closerange(3, 20)\ntime.sleep(600)\n", "broke the control channel"
        )

    def test_fails_twice(self) -> None:
        """After two failures in a row the third upgrade works."""
        with self.server("--app", "entry.app") as server:
            server.serving(0)
            server.write("entry.py", "import nowhere\n")
            self.fails(server, "exited with status 1", "nowhere", attempt=1)
            self.fails(server, "exited with status 1", "nowhere", attempt=2)
            self.works(server)

    def test_signal_during_an_upgrade_that_fails(self) -> None:
        """A USR2 that came during an upgrade runs after it, also when that failed."""
        with self.server("--app", "entry.app", "--upgrade-timeout", "3") as server:
            server.serving(0)
            server.write("entry.py", "open('hanging', 'w').close()\n" + HANG)
            server.kill(signal.SIGUSR2)
            server.starting(1)
            server.kill(signal.SIGUSR2)
            server.said("another one follows")
            server.wait_for("hanging")
            server.deploy("2")
            server.write("entry.py", GOOD)
            server.hand_over()
            self.assertEqual(server.get().body, "2")


class SpawnTests(FaultTestCase):
    """Faults of the system when a successor is to be started."""

    def test_no_descriptors_left(self) -> None:
        """Without a free descriptor the upgrade fails, and works when there are some again."""
        with self.server("--app", "entry.app") as server:
            client = server.connect()
            client.ask("/descriptors/3")
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1: it could not be started: .*Too many open")
            self.assertEqual(client.ask("/").body, "1")
            self.assertEqual(proc.children(server.pid), [])
            client.ask("/descriptors/1024")
            client.close()
            self.works(server)

    def test_no_descriptors_for_the_successor(self) -> None:
        """A successor that has too few descriptors to start, or to serve, never serves half."""
        with self.server("--app", "entry.app") as server:
            server.serving(0)
            reasons = "exited with status 1|no descriptors left to serve with .Too many open files."
            for attempt, spare in enumerate((0, 3, 5, 8), 1):
                server.write("entry.py", FEW_DESCRIPTORS.format(spare=spare) + GOOD)
                self.fails(server, reasons, "Too many open files", attempt=attempt)
            self.works(server)

    def test_no_interpreter(self) -> None:
        """Without its interpreter the upgrade fails, and works when that is there again."""
        server = self.server(command=(sys.executable, "script.py"))
        server.write("script.py", SCRIPT)
        with server:
            server.serving(0)
            self.fails(server, "exited with status 1|could not be started", "")
            server.write("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            (server.directory / "python").chmod(0o755)
            self.works(server)

    def test_program_from_standard_input(self) -> None:
        """A program that was piped in cannot be started again: it says so, and serves on."""
        server = self.server(command=("sh", "-c", f"exec {sys.executable} - <script.py"))
        server.write("script.py", "import sys\nsys.path.insert(0, '')\n" + SCRIPT)
        with server:
            server.serving(0)
            self.fails(server, "could not be started: .*put it into a file", "")
