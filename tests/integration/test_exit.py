"""A process ends, whatever the application has left behind, and names what held it."""

from __future__ import annotations

import signal
from contextlib import ExitStack

from ..case import SynchronousTestCase
from .harness import Server, served
from .waiting import until

IMPORTS = """
import atexit, multiprocessing, signal, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
fork = multiprocessing.get_context("fork")

def note(name):
    open(name, "w").close()

def sleep(seconds=90):
    note("held")
    time.sleep(seconds)

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep()
"""

HOLDERS = {
    "a thread": "threading.Thread(target=sleep).start()",
    "a timer": "note('held'); threading.Timer(90, print).start()",
    "an executor of threads": "pool = ThreadPoolExecutor(1); pool.submit(sleep)",
    "an executor of processes": "pool = ProcessPoolExecutor(1, fork); pool.submit(sleep)",
    "a thread of the reactor": "reactor.callWhenRunning(deferToThread, sleep)",
    "a child": "fork.Process(target=sleep).start()",
    "a child that ignores TERM": "fork.Process(target=deaf, daemon=True).start()",
    "an exit handler": "note('held'); atexit.register(time.sleep, 90)",
}
"""Code of an application, each of which would hold its process for 90 seconds."""

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

HANGS = "reactor.callLater(0.1, sleep)"

NAMED = r"still running .* seconds after .*; exiting with status 1\.\n(.*\n)*?.*"


class HeldTests(SynchronousTestCase):
    """Applications that leave something behind."""

    def test_holders(self) -> None:
        """A stop ends the process a few seconds after its drain, with status 1, and says why."""
        with ExitStack() as running:
            servers = {}
            for name, code in HOLDERS.items():
                server = served("--drain-timeout", "0.5")
                server.deploy("1", f"{IMPORTS}\n{code}\n")
                servers[name] = running.enter_context(server)
            for server in servers.values():
                server.get()
                server.wait_for("held")
                server.kill(signal.SIGTERM)
            for name, server in servers.items():
                with self.subTest(name):
                    self.assertEqual(server.exit_status(), 1)
                    self.assertRegex(server.log, NAMED)
                    until(lambda server=server: not server.family(), "no child is left")

    def test_second_signal(self) -> None:
        """A second TERM, INT or QUIT ends a process within a second, and so does a first QUIT;
        whether it waits for a thread, its reactor hangs, or the GIL is never released."""
        thread = HOLDERS["a thread"]
        gil = "reactor.callLater(0.1, lambda: (note('held'), sum(range(10**13))))"
        with ExitStack() as running:
            servers = {}
            for name, code, signals in (
                ("thread", thread, [signal.SIGTERM, signal.SIGTERM]),
                ("thread, QUIT", thread, [signal.SIGQUIT]),
                ("hangs", HANGS, [signal.SIGTERM, signal.SIGINT]),
                ("hangs, QUIT", HANGS, [signal.SIGQUIT]),
                *((f"GIL, {each.name}", gil, [each, each]) for each in STOPS),
            ):
                server = served("--drain-timeout", "60")
                server.deploy("1", f"{IMPORTS}\n{code}\n")
                servers[name] = running.enter_context(server), signals
            for name, (server, signals) in servers.items():
                with self.subTest(name):
                    server.serving(0)
                    server.wait_for("held")
                    for number in signals:
                        # Two of the same at once are one.
                        until(lambda s=server: not pending(s.launched), "the signal is handled")
                        server.kill(number)
                    self.assertNotEqual(server.exit_status(seconds=1.5), 0)

    def test_signal_at_the_start(self) -> None:
        """A TERM while the reactor calls the application's first functions stops gracefully."""
        server = served()
        kill = "reactor.callWhenRunning(lambda: os.kill(os.getpid(), signal.SIGTERM))"
        server.deploy("1", f"{IMPORTS}\nimport os\n{kill}\n")
        with server:
            self.assertEqual(server.exit_status(), 0)
            self.assertIn("Stopping: in order", server.log)

    def test_master(self) -> None:
        """A worker that is held is ended and named, and the status of its master says so, too."""
        server = served("--workers", "1", "--drain-timeout", "0.5")
        server.deploy("1", f"{IMPORTS}\n{HOLDERS['a thread']}\n")
        with server:
            server.serving(0)
            server.kill(signal.SIGTERM)
            self.assertEqual(server.exit_status(), 1)
            self.assertRegex(server.log, NAMED)

    def hanging_on_demand(self, *options: str, how: str = "time.sleep(90)") -> Server:
        """A server whose reactor hangs when there is a certain file."""
        server = served("--drain-timeout", "0.5", "--probation", "1", *options)
        hang = (
            "import os\n"
            "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"  # limits depend on it
            "def hang():\n"
            f"    if os.path.exists('hang.now'): note('held'); {how}\n"
            "    reactor.callLater(0.02, hang)\n"
        )
        server.deploy("1", f"{IMPORTS}\n{hang}\nreactor.callLater(0.1, hang)\n")
        return server

    def test_stop_beside_a_predecessor_that_hangs(self) -> None:
        """A successor that is stopped waits for the end of a predecessor that hangs, or kills it
        when it is told to end immediately: no process is left that keeps the port."""
        for number, status in ((signal.SIGTERM, 0), (signal.SIGQUIT, 1)):
            with self.subTest(number), self.hanging_on_demand() as server:
                server.get()
                server.deploy("2")
                server.kill(signal.SIGUSR2)
                new = server.hand_over()
                (server.directory / "hang.now").touch()
                server.wait_for("held")
                server.kill(number, new)
                self.assertEqual(server.ended(new, seconds=15), status)
                until(lambda server=server: not server.family(), "no process is left", 2)

    def test_predecessor(self) -> None:
        """A predecessor whose reactor hangs in its drain is killed, its stacks are in the log, and
        the next upgrade is done."""
        with self.hanging_on_demand() as server:
            old = server.pid
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            (server.directory / "hang.now").touch()
            server.ended(old, seconds=12)
            server.said(r"predecessor \(pid \d+\) was still running .*; killing it")
            server.said(r"The predecessor left these stacks:\n(.*\n)*?.*in hang")
            server.deploy("3")
            server.upgrade()
            self.assertEqual(server.get().body, "3")

    def test_worker_without_a_master(self) -> None:
        """A worker whose reactor hangs while its master is killed ends after the worker timeout."""
        for name, code in {"reactor": HANGS, "import": "sleep()"}.items():
            server = served("--workers", "1", "--worker-timeout", "1")
            server.deploy("1", f"{IMPORTS}\n{code}\n")
            with self.subTest(name), server:
                server.wait_for("held")
                server.kill(signal.SIGKILL, server.launched)
                until(lambda server=server: not server.family(), "the worker ends", 4)

    def test_worker_without_a_master_never_releases_the_gil(self) -> None:
        """A worker that computes in such a call while its master is killed is killed, too."""
        options = "--workers", "1", "--worker-timeout", "1"
        with self.hanging_on_demand(*options, how="sum(range(10**13))") as server:
            server.get()
            (server.directory / "hang.now").touch()
            server.wait_for("held")
            server.kill(signal.SIGKILL, server.launched)
            until(lambda: not server.family(), "the worker is killed", 20)

    def test_forked_children(self) -> None:
        """Children that the application forks end at TERM, and keep neither the port nor a
        connection open when they outlive the server."""
        code = (
            "def forked():\n"
            "    child = fork.Process(target=sleep); child.start(); child.terminate()\n"
            "    child.join(9); assert child.exitcode == -signal.SIGTERM\n"
            "    if not os.fork():\n"
            "        os.setsid(); sleep()\n"
            "reactor.callLater(0.3, forked)\n"
        )
        server = served("--drain-timeout", "5", "--idle-grace", "0.1")
        server.deploy("2", f"{IMPORTS}\n{code}")
        with server:
            client = server.connect()
            client.ask("/")
            server.wait_for("held")
            self.assertEqual(server.stop(), 0)
            self.assertTrue(client.closed())
            self.assertTrue(server.refuses())
            self.assertNotEqual(server.family(), [])
            self.assertNotIn("Traceback", server.log)


def pending(pid: int) -> bool:
    """Whether a signal waits to be delivered to a process."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file)
    except (OSError, ValueError):
        return False
    return any(int(lines[name], 16) for name in ("SigPnd", "ShdPnd"))
