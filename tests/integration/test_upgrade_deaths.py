"""Either process of an upgrade ends, or is told to, in the middle of it."""

from __future__ import annotations

import signal

from ..case import SynchronousTestCase
from . import proc
from .harness import Server, served
from .waiting import until

IGNORE_TERM = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


class LoadingTestCase(SynchronousTestCase):
    """An upgrade whose successor takes as long as the test wants."""

    def loading(self, server: Server, version: str = "2") -> int:
        """Let a server whose application is made slowly begin an upgrade; the successor's pid."""
        server.open("factory")
        server.serving(0)
        server.shut("factory")
        server.deploy(version)
        server.kill(signal.SIGUSR2)
        pid = server.starting(1)
        server.wait_for("factory.begun")
        return pid


class StopTests(LoadingTestCase):
    """TERM during an upgrade."""

    def test_term_while_the_successor_loads(self) -> None:
        """TERM ends the successor that is not ready, and drains."""
        with Server("--app", "app.slow_factory") as server:
            server.open("factory")
            client = server.hold()
            self.loading(server)
            server.kill(signal.SIGTERM)
            until(lambda: not proc.children(server.pid), "the child ends")
            server.open("held")
            answer = client.answer()
            self.assertEqual((answer.body, answer.last), ("1", True))
            client.close()
            self.assertEqual(server.exit_status(), 0)
            self.assertEqual(server.family(), [])
            self.assertEqual(server.pid_file, "")

    def test_term_while_the_successor_hangs(self) -> None:
        """TERM ends a successor that ignores TERM, and no process is left."""
        with served() as server:
            server.serving(0)
            hang = "open('hanging', 'w').close()\nimport time\ntime.sleep(600)\n"
            server.write("app.py", IGNORE_TERM + hang)
            server.kill(signal.SIGUSR2)
            server.wait_for("hanging")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.family(), [])

    def test_term_to_the_successor_while_it_loads(self) -> None:
        """A TERM that hits the successor before it is ready is a failed upgrade."""
        with Server("--app", "app.slow_factory") as server:
            successor = self.loading(server)
            server.kill(signal.SIGTERM, successor)
            server.said("Upgrade failed: generation 1")
            self.assertEqual(server.get().body, "1")
            server.open("factory")
            server.upgrade()
            self.assertEqual(server.get().body, "2")

    def test_term_to_the_predecessor_while_it_drains(self) -> None:
        """TERM to the old process, while it drains, does not stop the new one."""
        with served() as server:
            old, client = server.pid, server.hold()
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.kill(signal.SIGTERM, old)
            server.open("held")
            self.assertEqual(client.answer().body, "1")
            client.close()
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.pid_file, str(server.pid))

    def test_two_stops_of_the_predecessor_while_it_drains(self) -> None:
        """A second stop of the old process ends its drain at once, and not the new process."""
        with served("--drain-timeout", "60") as server:
            old, client = server.pid, server.hold()
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.kill(signal.SIGTERM, old)
            server.kill(signal.SIGINT, old)  # a second TERM could merge with the first
            self.assertEqual(server.ended(old), 1)
            self.assertRaises(ConnectionError, client.answer)
            self.assertEqual(server.get().body, "1")

    def test_term_to_the_successor_while_the_predecessor_drains(self) -> None:
        """TERM to the new process stops the service: both drain and end, nobody resumes."""
        with served() as server:
            old, client = server.pid, server.hold()
            server.kill(signal.SIGUSR2)
            new = server.hand_over()
            server.kill(signal.SIGTERM, new)
            until(lambda: not proc.alive(new), "the successor ends")
            self.assertEqual(server.family(), [old])
            until(server.refuses, "connections are refused", seconds=5)
            server.open("held")
            self.assertEqual(client.answer().body, "1")
            client.close()
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(server.pid_file, "")


class KillTests(LoadingTestCase):
    """SIGKILL during an upgrade."""

    def test_predecessor_killed_before_the_successor_is_ready(self) -> None:
        """The successor becomes ready and serves, those too who came when nobody did."""
        with Server("--app", "app.slow_factory") as server:
            successor = self.loading(server)
            server.kill(signal.SIGKILL)
            self.assertEqual(server.exit_status(), -signal.SIGKILL)
            client = server.connect()
            client.get("/")
            server.open("factory")
            self.assertEqual(client.answer().body, "2")
            self.survives(server, successor)

    def test_predecessor_killed_after_the_successor_is_ready(self) -> None:
        """The successor serves on when the predecessor is killed in its drain."""
        with served() as server:
            old, client = server.pid, server.hold()
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            new = server.hand_over()
            server.kill(signal.SIGKILL, old)
            self.assertRaises(ConnectionError, client.answer)
            self.assertEqual(server.get().body, "2")
            self.survives(server, new)

    def survives(self, server: Server, pid: int) -> None:
        """The successor is alone now: it has the pid file, upgrades and stops."""
        until(lambda: server.pid_file == str(pid), "the pid file names the successor")
        self.assertEqual(server.family(), [pid])
        if server.pid != pid:
            server.hand_over()
        server.deploy("3")
        server.upgrade()
        self.assertEqual(server.get().body, "3")
        self.assertEqual(server.stop(), 0)

    def test_successor_killed_while_the_predecessor_drains(self) -> None:
        """The predecessor accepts again, with its old code, and the next upgrade works."""
        with served() as server:
            old, client = server.pid, server.hold()
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.kill(signal.SIGKILL, server.serving(1))
            server.said("Upgrade failed: generation 1: it was killed by SIGKILL")
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.pid_file, str(old))
            self.assertEqual(proc.children(old), [])
            server.open("held")
            answer = client.answer()
            self.assertEqual((answer.body, answer.last), ("1", False))
            server.kill(signal.SIGUSR2)
            until(lambda: server.get().body == "2", "the new code serves")
            self.assertEqual(server.ended(old), 0)

    def test_successor_that_stops_itself_while_the_predecessor_drains(self) -> None:
        """New code that stops its reactor is a bad deploy, not a stop: the old code serves on."""
        stop = "\nfrom twisted.internet import reactor\nreactor.callLater(0.5, reactor.stop)\n"
        with served() as server:
            old, client = server.pid, server.hold()
            server.deploy("1", stop)
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1: it exited with status 0")
            self.assertEqual(server.get().body, "1")
            server.open("held")
            self.assertEqual(client.answer().body, "1")
            self.assertEqual(server.pid_file, str(old))

    def test_nobody_is_refused_when_the_successor_is_killed(self) -> None:
        """A connection that comes between the end of the successor and the resume is answered."""
        with served() as server:
            old = server.pid
            server.hold()
            server.kill(signal.SIGUSR2)
            new = server.serving(1)
            server.kill(signal.SIGSTOP, old)
            server.kill(signal.SIGKILL, new)
            until(lambda: not proc.alive(new), "the successor is dead")
            client = server.connect()
            client.get("/pid")
            server.kill(signal.SIGCONT, old)
            self.assertEqual(client.answer().body, str(old))
