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


FAULTS: dict[str, tuple[str, str, str]] = {
    "cannot import": ("import nowhere\n", "exited with status 1", "No module named 'nowhere'"),
    "half written": ("def half(\n", "exited with status 1", "SyntaxError"),
    "exits with 0": (
        LAST_WORDS + "os._exit(0)",
        "exited with status 0 before it was ready",
        "the last words",
    ),
    "exits with 3": (
        LAST_WORDS + "os._exit(3)",
        "exited with status 3 before it was ready",
        "the last words",
    ),
    "is killed": (
        LAST_WORDS + "os.kill(os.getpid(), signal.SIGKILL)",
        "killed by SIGKILL before it was ready",
        "the last words",
    ),
    "its asynchronous factory fails": (
        LAST_WORDS + "from app import failing_factory as app\n",
        "RuntimeError: the factory is closed",
        "the last words",
    ),
    "writes garbage on the channel, and hangs": (
        GARBAGE + HANG,
        "broke the control channel",
        "the last words",
    ),
    "writes garbage on the channel, and could serve": (
        GARBAGE + LAST_WORDS + GOOD,
        "broke the control channel",
        "the last words",
    ),
    "closes what it inherited": (
        LAST_WORDS + "os.closerange(3, 20)\ntime.sleep(600)\n",
        "broke the control channel",
        "the last words",
    ),
}
"""New code: what it is, why the upgrade fails, and what the log has of it."""

HANGS = {
    "at its import": HANG,
    "at its import, and ignores TERM": IGNORE_TERM + HANG,
    "in its asynchronous factory": LAST_WORDS + "from app import slow_factory as app\n",
}
"""New code that is never ready."""


class SuccessorTests(FaultTestCase):
    """Faults of the successor before it is ready."""

    def check(self, faults: dict[str, tuple[str, str, str]], *options: str) -> None:
        """One upgrade after the other fails, each for its reason; then a good one works."""
        with self.server("--app", "entry.app", *options) as server:
            server.serving(0)
            for attempt, (name, (code, reason, words)) in enumerate(faults.items(), 1):
                with self.subTest(name):
                    server.write("entry.py", code)
                    self.fails(server, reason, words, attempt=attempt)
                    self.assertEqual(server.pid_file, str(server.pid))
            self.works(server)

    def test_faults(self) -> None:
        """New code that cannot serve does not end the service, and the log says what is wrong."""
        self.check(FAULTS)

    def test_hangs(self) -> None:
        """New code that is not ready in time is ended, also if it ignores TERM."""
        reason = "not ready within 3 seconds"
        faults = {name: (code, reason, "the last words") for name, code in HANGS.items()}
        self.check(faults, "--upgrade-timeout", "3")

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
