"""A predecessor that does not end is identified, given time, and killed."""

from __future__ import annotations

import os
import signal
import socket

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from twisted_graceful.process.upgrade import predecessor_deadline
from twisted_graceful.process.upgrade.output import FaultFile, stacks_in
from twisted_graceful.process.upgrade.predecessor_deadline import KILL_AFTER, PredecessorDeadline

from ..case import SynchronousTestCase
from .support import is_open, leaves_nothing_open, run_python

SINCE = "a test began"


class PredecessorDeadlineTests(SynchronousTestCase):
    """This process is its own predecessor, and no signal reaches it."""

    def setUp(self) -> None:
        """A channel of which both ends are open."""
        self.clock = Clock()
        self.sent: list[int] = []
        self.patch(signal, "pidfd_send_signal", lambda fd, number: self.sent.append(number))
        self.channel, self.other = socket.socketpair()
        self.addCleanup(self.channel.close)
        self.addCleanup(self.other.close)

    def test_killed(self) -> None:
        """One that is late gets SIGABRT, and SIGKILL if that does not end it."""
        deadline = PredecessorDeadline(self.clock, self.channel)
        self.addCleanup(deadline.predecessor_ended)
        deadline.within(9, "something earlier")
        deadline.within(5, SINCE)
        self.clock.advance(4.9)
        self.assertEqual(self.sent, [])
        self.clock.advance(0.1)
        self.assertEqual(self.sent, [signal.SIGABRT, signal.SIGCONT])
        self.clock.advance(KILL_AFTER)
        self.assertEqual(self.sent[2:], [signal.SIGKILL])

    def test_in_time(self) -> None:
        """One that ends in time, or may live, gets no signal; nothing is left open."""
        with leaves_nothing_open(self):
            for name in ("predecessor_ended", "cancel"):
                deadline = PredecessorDeadline(self.clock, self.channel)
                deadline.within(5, SINCE)
                getattr(deadline, name)()
                self.clock.advance(50)
                deadline.predecessor_ended()
        self.assertEqual(self.sent, [])

    def test_stacks(self) -> None:
        """What it left in its file is logged when it has ended."""
        file = FaultFile()
        self.addCleanup(file.close)
        deadline = PredecessorDeadline(self.clock, self.channel, os.dup(file.descriptor))
        os.write(file.descriptor, b"in a test\n")
        with capturedLogs() as events:
            deadline.predecessor_ended()
        [event] = events
        self.assertIn("in a test", formatEvent(event))

    def test_unsafe(self) -> None:
        """Where it cannot be told from another process with its pid it is not killed."""
        self.patch(predecessor_deadline, "_process_of", lambda channel: (0, -1))
        PredecessorDeadline(self.clock, self.channel).within(5, SINCE)
        self.clock.advance(50)
        self.assertEqual(self.sent, [])

    def test_identity(self) -> None:
        """Its pidfd is that of the process that made the channel, as long as its end is open."""
        pid, pidfd = predecessor_deadline._process_of(self.channel)
        self.addCleanup(os.close, pidfd)
        self.assertEqual(pid, os.getpid())
        self.assertTrue(is_open(pidfd))
        self.other.close()
        self.assertEqual(predecessor_deadline._process_of(self.channel), (pid, -1))


class FaultFileTests(SynchronousTestCase):
    """A process that is ended with SIGABRT."""

    def test_stacks(self) -> None:
        """The stacks are in its file while it is used, and where they were before otherwise."""
        code = (
            "import os\nfrom twisted_graceful.process.upgrade.output import FaultFile, stacks_in\n"
            "def fall(): os.abort()\n"
            "file = FaultFile(); file.begin()\n"
            "if not os.fork(): fall()\n"
            "os.wait(); print(stacks_in(file.descriptor)); file.end()\n"
            "if not os.fork(): fall()\n"
            "os.wait()"
        )
        done = run_python("-X", "faulthandler", "-c", code)
        for text in (done.stdout, done.stderr):
            with self.subTest(text=text):
                self.assertEqual(text.count("in fall"), 1)

    def test_nothing(self) -> None:
        """A process that did not fall has left nothing."""
        file = FaultFile()
        self.addCleanup(file.close)
        self.assertEqual(stacks_in(file.descriptor), "")
