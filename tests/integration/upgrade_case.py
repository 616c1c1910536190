"""An upgrade that a test takes to one moment after the other."""

from __future__ import annotations

import signal

from ..case import SynchronousTestCase
from . import proc
from .client import Client
from .harness import Server
from .waiting import until

LONG = ("--probation", "60")
STANDS_BY = "generation 0 has drained; it accepts again should generation 1 die within"
AT_THE_GATE = """
from twisted.internet import reactor
from twisted.logger import Logger
Logger().info("said at the start")
def end(_):
    {end}
Deferred.fromCoroutine(gate("end")).addCallback(end)
"""
"""Code that does something when the test opens the gate ``end``."""

STOPS = AT_THE_GATE.format(end="reactor.stop()")
EXITS = AT_THE_GATE.format(end="Logger().critical('the last words'); os._exit(3)")

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


INHERITS_NOTHING = "descriptors [0, 1, 2]\nvariables []\n"


class UpgradeTestCase(SynchronousTestCase):
    """An upgrade that the test takes to one moment after the other.

    Attributes:
        server: the server.
        old: the predecessor.
        new: the successor.
        code: at the end of the successor's application.
        held: the client of a request that the predecessor is answering, if there is one.
        is_serving: whether the successor may accept connections.
    """

    code = ""
    is_serving = False

    def setUp(self) -> None:
        """Start a server, and a request that ends when the test says so."""
        self.server = Server("--app", "app.announced", *LONG)
        self.deploy("1")
        self.server.open("factory")
        self.server.__enter__()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.old = self.server.serving(0)
        self.server.wait_for("told")
        self.held: Client | None = self.server.hold()

    def deploy(self, version: str, code: str = "") -> None:
        """Put a version of the application in place."""
        self.server.deploy(version)
        app = self.server.directory / "app.py"
        self.server.write("app.py", app.read_text() + ANNOUNCED + code)

    # The moments, each after the one before

    def spawned(self) -> None:
        """The successor has just been started."""
        self.server.shut("factory")
        (self.server.directory / "told").unlink()
        self.deploy("2", self.code)
        self.server.kill(signal.SIGUSR2, self.old)
        self.new = self.server.starting(1)

    def loading(self) -> None:
        """It loads its application."""
        self.spawned()
        self.server.wait_for("factory.begun")

    def ready_sent(self) -> None:
        """It has sent that it is ready; the predecessor has not read that yet."""
        self.loading()
        self.server.kill(signal.SIGSTOP, self.old)
        self.server.open("factory")
        self.server.wait_for("told")

    def ready_received(self) -> None:
        """The predecessor accepts no more; the successor does not know yet that it may."""
        self.ready_sent()
        self.server.kill(signal.SIGSTOP, self.new)
        self.server.kill(signal.SIGCONT, self.old)
        self.server.said("generation 1 is ready; generation 0 drains")

    def draining(self) -> None:
        """The successor serves, and the predecessor drains."""
        self.spawned()
        self.server.open("factory")
        self.server.serving(1)
        self.is_serving = True

    def standing_by(self) -> None:
        """The successor serves, and the predecessor has drained."""
        self.draining()
        self.finish_held()
        self.server.said(STANDS_BY)

    # What happens

    def strike(self, pid: int, *numbers: int) -> list[Client]:
        """Send signals to a process; after SIGKILL, connect before anybody can have noticed.

        Returns:
            Connections that nobody can have accepted yet, each with a request.
        """
        clients = []
        if signal.SIGKILL in numbers:
            other = self.old if pid == self.new else self.new
            self.server.kill(signal.SIGSTOP, other)
            clients += [] if self.is_serving else [self.server.connect()]
        for number in numbers:
            self.server.kill(number, pid)
        if signal.SIGKILL in numbers:
            until(lambda: not proc.alive(pid), "it is dead")
            clients.append(self.server.connect())
            for client in clients:
                client.get("/pid")
            self.server.kill(signal.SIGCONT, other)
        return clients

    # What must hold then

    def finish_held(self, last: bool | None = None) -> None:
        """The request that the predecessor has begun is answered by it."""
        if self.held is None:
            return
        self.server.open("held")
        answer = self.held.answer()
        self.assertEqual(answer.body, "1")
        if last is not None:
            self.assertEqual(answer.last, last)
        self.held.close()
        self.held = None

    def old_serves(self, reason: str) -> None:
        """The predecessor is as it was before the upgrade, and the next one works."""
        self.server.said(rf"Upgrade failed: generation 1: .*{reason}")
        self.assertEqual(self.server.get().body, "1")
        self.finish_held(last=False)
        until(lambda: self.server.pid_file == str(self.old), "the pid file names who serves")
        until(lambda: self.server.family() == [self.old], "nobody else is left")
        self.assertEqual(proc.children(self.old), [])
        self.assertEqual(self.server.get("/inherited").body, INHERITS_NOTHING)
        self.server.open("factory")
        self.deploy("3")
        self.server.kill(signal.SIGUSR2, self.old)
        until(lambda: self.server.get().body == "3", "the next upgrade works")
        self.server.kill(signal.SIGTERM, self.server.starting(1, attempt=2))
        self.assertEqual(self.server.ended(self.old), 0)
        self.nobody_is_left()

    def new_serves(self, status: int) -> None:
        """The predecessor has ended with this status; the successor upgrades and stops."""
        if not status:
            self.finish_held()
        elif self.held:
            self.assertRaises(ConnectionError, self.held.answer)
        self.assertEqual(self.server.ended(self.old), status)
        self.assertEqual(self.server.hand_over(), self.new)
        self.assertEqual(self.server.get("/pid").body, str(self.new))
        self.assertEqual(self.server.get().body, "2")
        until(lambda: self.server.family() == [self.new], "nobody else is left")
        until(lambda: self.server.pid_file == str(self.new), "the pid file names who serves")
        self.deploy("3")
        self.server.kill(signal.SIGUSR2, self.new)
        self.assertEqual(self.server.hand_over(), int(self.server.get("/pid").body))
        self.assertEqual(self.server.get().body, "3")
        self.assertEqual(self.server.stop(), 0)
        self.nobody_is_left()

    def nobody_serves(self) -> None:
        """Both have ended; the predecessor when it had answered what it had begun."""
        self.server.ended(self.new)
        until(self.server.refuses, "connections are refused")
        if self.held:
            self.assertEqual(self.server.family(), [self.old])
            self.finish_held()
        self.assertEqual(self.server.ended(self.old), 0)
        self.assertNotIn("accepts again", self.server.log.partition(STANDS_BY)[2])
        self.nobody_is_left()

    def newest_serves(self) -> None:
        """The upgrade that was asked for has ended the probation of the one before."""
        self.assertEqual(self.server.ended(self.old), 0)
        self.assertEqual(self.server.serving(2), int(self.server.get("/pid").body))
        self.assertEqual(self.server.get().body, "3")

    def nobody_is_left(self) -> None:
        """All processes of the server have ended, and the pid file is gone."""
        until(lambda: self.server.family() == [], "all have ended")
        self.assertEqual(self.server.pid_file, "")
