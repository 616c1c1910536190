"""An upgrade from or to another version of this package, whose messages are not all known."""

from __future__ import annotations

import signal

from ..case import SynchronousTestCase
from .harness import Server

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
