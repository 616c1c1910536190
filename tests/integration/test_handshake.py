"""Either process of an upgrade is killed, at every step of the handshake between them."""

from __future__ import annotations

import signal
from collections.abc import Callable

from ..case import SynchronousTestCase
from . import proc
from .harness import Server
from .waiting import until

ANNOUNCED = '''

async def announced() -> Resource:
    """An application that tells the test when its process has said that it is ready."""
    from twisted.internet import reactor

    made = await slow_factory()

    def tell(turns: int) -> None:
        if turns:
            reactor.callLater(0, tell, turns - 1)
        else:
            say("told")

    tell(5)
    return made
'''


class StepTestCase(SynchronousTestCase):
    """An upgrade that the test lets go on step by step."""

    def setUp(self) -> None:
        """Start a server."""
        self.server = Server("--app", "app.announced", "--probation", "60")
        self.deploy("1")
        self.server.open("factory")
        self.server.__enter__()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.old = self.server.serving(0)
        self.server.wait_for("told")

    def deploy(self, version: str) -> None:
        """Put a version of the application in place."""
        self.server.deploy(version)
        app = self.server.directory / "app.py"
        self.server.write("app.py", app.read_text() + ANNOUNCED)

    # The steps, each after the one before

    def spawned(self) -> None:
        """The successor has just been started."""
        self.server.shut("factory")
        (self.server.directory / "told").unlink()
        self.deploy("2")
        self.server.kill(signal.SIGUSR2, self.old)
        self.new = self.server.starting(1)

    def loading(self) -> None:
        """It loads its application."""
        self.spawned()
        self.server.wait_for("factory.begun")

    def told(self) -> None:
        """It has said that it is ready; nobody has heard that yet."""
        self.loading()
        self.server.kill(signal.SIGSTOP, self.old)
        self.server.open("factory")
        self.server.wait_for("told")

    def heard(self) -> None:
        """The predecessor has heard it, and has said so; the successor does not know yet."""
        self.told()
        self.server.kill(signal.SIGSTOP, self.new)
        self.server.kill(signal.SIGCONT, self.old)
        self.server.said("generation 1 is ready; generation 0 drains")

    def draining(self) -> None:
        """The successor serves, and the predecessor drains."""
        self.spawned()
        self.held = self.server.hold()
        self.server.open("factory")
        self.server.serving(1)

    def standing_by(self) -> None:
        """The successor serves, and the predecessor has drained."""
        self.spawned()
        self.server.open("factory")
        self.server.said("generation 0 has drained")


class EveryStep:
    """One of the two is killed at each of the steps; `check` says which, and what then holds."""

    def test_spawned(self) -> None:
        """When the successor has just been started."""
        self.check(self.spawned)

    def test_loading(self) -> None:
        """While it loads."""
        self.check(self.loading)

    def test_told(self) -> None:
        """When it has said that it is ready, before the predecessor has heard that."""
        self.check(self.told)

    def test_heard(self) -> None:
        """When the predecessor accepts no more, before the successor knows that it may."""
        self.check(self.heard)

    def test_draining(self) -> None:
        """While the predecessor drains."""
        self.check(self.draining)

    def test_standing_by(self) -> None:
        """When the predecessor has drained."""
        self.check(self.standing_by)


class KilledSuccessorTests(EveryStep, StepTestCase):
    """SIGKILL to the successor: the predecessor serves, as if nothing had been."""

    def check(self, step: Callable[[], None]) -> None:
        """It serves after this step, those too who came meanwhile; the next upgrade works."""
        step()
        waiting = self.server.connect()
        self.server.kill(signal.SIGKILL, self.new)
        until(lambda: not proc.alive(self.new), "the successor is dead")
        waiting.get("/pid")
        self.server.kill(signal.SIGCONT, self.old)
        self.server.said("Upgrade failed: generation 1: it was killed by SIGKILL")
        if step not in (self.draining, self.standing_by):  # else it may have had the connection
            self.assertEqual(waiting.answer().body, str(self.old))
        self.assertEqual(self.server.get().body, "1")
        self.assertEqual(self.server.family(), [self.old])
        until(lambda: self.server.pid_file == str(self.old), "the pid file names who serves")
        self.server.open("factory")
        self.deploy("3")
        self.server.kill(signal.SIGUSR2, self.old)
        until(lambda: self.server.get().body == "3", "the next upgrade works")

    def test_draining(self) -> None:
        """While the predecessor drains, whose request goes on."""
        super().test_draining()
        self.server.open("held")
        self.assertEqual(self.held.answer().body, "1")


class KilledPredecessorTests(EveryStep, StepTestCase):
    """SIGKILL to the predecessor: the successor serves, as soon as it can."""

    def check(self, step: Callable[[], None]) -> None:
        """It serves after this step, those too who came meanwhile; the next upgrade works."""
        step()
        self.server.kill(signal.SIGKILL, self.old)
        until(lambda: not proc.alive(self.old), "the predecessor is dead")
        waiting = self.server.connect()
        waiting.get("/pid")
        self.server.kill(signal.SIGCONT, self.new)
        self.server.open("factory")
        self.assertEqual(waiting.answer().body, str(self.new))
        self.assertEqual(self.server.get().body, "2")
        until(lambda: self.server.family() == [self.new], "nobody else is left")
        self.assertEqual(self.server.pid_file, str(self.new))
        self.deploy("3")
        self.server.kill(signal.SIGUSR2, self.new)
        until(lambda: self.server.get().body == "3", "the next upgrade works")
        self.assertEqual(self.server.serving(2), int(self.server.get("/pid").body))


OTHER_VERSION = """

from twisted.protocols import amp
from twisted_graceful.process.upgrade import control_channel, parent

class Novel(amp.Command):
    arguments = [(b"content", amp.String())]

class NovelTold(Novel):
    requiresAnswer = False

def ready(self, listeners, ready=parent.Parent.ready):
    for command in (Novel, NovelTold, Novel):
        self._channel.tell(command, content=b"x" * 60000)
    return ready(self, listeners)

def locate(self, name, locate=control_channel.ControlChannel.locateResponder):
    return None if name in (b"Goodbye", b"LogsMoved", b"Offer") else locate(self, name)

parent.Parent.ready = ready
control_channel.ControlChannel.locateResponder = locate
"""


class VersionTests(SynchronousTestCase):
    """A successor that says what its predecessor does not know, and does not know what it says."""

    def setUp(self) -> None:
        """A server, and the upgrade to the other version."""
        self.server = Server("--app", "app.resource", "--probation", "60")
        self.server.__enter__()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.old = self.server.serving(0)
        kept = self.server.connect()
        kept.ask("/")
        self.server.deploy("2")
        app = self.server.directory / "app.py"
        self.server.write("app.py", app.read_text() + OTHER_VERSION)
        self.server.kill(signal.SIGUSR2, self.old)
        self.new = self.server.serving(1)
        self.assertEqual(kept.ask("/").status, 200)
        kept.close()
        self.server.kill(signal.SIGUSR1, self.new)
        self.server.kill(signal.SIGUSR1, self.old)
        self.server.said("generation 0 has drained")

    def test_the_next_upgrade(self) -> None:
        """They part in good order, and the next upgrade works."""
        self.server.deploy("3")
        self.server.kill(signal.SIGUSR2, self.new)
        self.assertEqual(self.server.ended(self.old), 0)
        self.server.serving(2)
        self.assertEqual(self.server.get().body, "3")
        self.assertNotIn("Traceback", self.server.log)

    def test_a_death(self) -> None:
        """When the successor dies the predecessor accepts again."""
        self.server.kill(signal.SIGKILL, self.new)
        self.server.said("accepts again")
        self.assertEqual(self.server.get().body, "1")

    def test_a_stop(self) -> None:
        """TERM to the successor ends both."""
        self.server.kill(signal.SIGTERM, self.new)
        self.server.ended(self.new)
        self.assertEqual(self.server.ended(self.old), 0)
        self.assertNotIn("Traceback", self.server.log)
