"""What is said to a service manager, and to whom it is said."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from twisted.internet.task import Clock

from twisted_graceful.process.host.systemd import (
    BARRIER_TIMEOUT,
    SEND_AGAIN,
    Notifier,
    Supervision,
    Supervisor,
)

from ..case import SynchronousTestCase, TestCase
from .support import leaves_nothing_open, no_descriptor_left, temporary_directory


class SupervisionTests(SynchronousTestCase):
    """The variables in the environment."""

    def taken(self, **variables: str) -> Supervision:
        """What process 5 takes; all of it is gone then."""
        environ = {**variables, "PATH": "/bin"}
        taken = Supervision.take(environ, 5)
        self.assertEqual(environ, {"PATH": "/bin"})
        return taken

    def test_nobody_asks(self) -> None:
        """Without the variables nothing is asked, and a successor is asked nothing."""
        self.assertEqual(self.taken(), Supervision())
        self.assertEqual(Supervision().environment(), {})

    def test_a_successor_is_asked_the_same(self) -> None:
        """A successor finds what its predecessor found, except for whom it was meant."""
        taken = self.taken(NOTIFY_SOCKET="/n", WATCHDOG_USEC="3000000", WATCHDOG_PID="5")
        self.assertEqual(taken, Supervision("/n", 3_000_000))
        expected = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000"}
        self.assertEqual(taken.environment(), expected)
        self.assertEqual(Supervision.take(taken.environment(), 6), taken)

    def test_a_watchdog_that_is_none_of_ours(self) -> None:
        """A watchdog of another process, or of no time, is none."""
        self.assertEqual(
            self.taken(NOTIFY_SOCKET="/n", WATCHDOG_USEC="3", WATCHDOG_PID="6").watchdog, 0
        )
        self.assertEqual(self.taken(NOTIFY_SOCKET="/n", WATCHDOG_USEC="soon").watchdog, 0)


class ManagerTestCase(SynchronousTestCase):
    """A notification socket that is read by the test."""

    def setUp(self) -> None:
        """Bind it."""
        self.clock = Clock()
        self.path = f"{temporary_directory(self)}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(self.path)

    def said(self) -> list[str]:
        """What has been said, and was not read yet."""
        texts = []
        while select.select([self.socket], [], [], 0)[0]:
            texts.append(self.socket.recv(65536).decode())
        return texts


class NotifierTests(ManagerTestCase):
    """Datagrams."""

    def setUp(self) -> None:
        """Speak to it."""
        super().setUp()
        self.notifier = Notifier(self.clock, self.path)

    def test_a_value_is_one_line(self) -> None:
        """Nothing that an application puts into a value can become a field of its own."""
        self.notifier.send(READY=1, STATUS="it fell\nMAINPID=1\r\nSTOPPING=1\0\x1cX=1")
        (said,) = self.said()
        self.assertEqual(said.split("\n")[0], "READY=1")
        self.assertEqual(said.count("\n"), 1)

    def test_order(self) -> None:
        """What finds no room is sent later, and everything else after it."""
        count = 0
        while not self.clock.getDelayedCalls() and count < 5000:
            self.notifier.send(X=count)
            count += 1
        self.notifier.send(X=count)
        said = self.said()
        self.assertLess(len(said), count + 1)
        self.clock.advance(SEND_AGAIN)
        self.assertEqual(said + self.said(), [f"X={each}" for each in range(count + 1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_descriptor_is_left(self) -> None:
        """What cannot be sent for want of a descriptor is sent later; a barrier is left out."""
        with no_descriptor_left():
            self.notifier.send(MAINPID=5, READY=1)
            self.successResultOf(self.notifier.barrier())
        self.assertEqual(self.said(), [])
        self.clock.advance(SEND_AGAIN)
        self.assertEqual(self.said(), ["MAINPID=5\nREADY=1"])

    def test_it_does_not_fail(self) -> None:
        """A socket that is not there, or cannot be, is told of once; nothing stays open."""
        for where in (f"{self.path}.none", "vsock:2:1234", "@" + "x" * 300, "\0"):
            with leaves_nothing_open(self):
                notifier = Notifier(_Readers(self.clock), where)
                notifier.send(READY=1)
                notifier.send(READY=1)
                notifier.barrier()
                self.clock.advance(BARRIER_TIMEOUT)
        self.assertEqual(self.said(), [])


class _Readers:
    """As much of a reactor as a barrier needs: select(2), when it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.callLater = clock.callLater
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


class BarrierTests(TestCase):
    """A barrier, with the real reactor."""

    timeout = 20

    def setUp(self) -> None:
        """A manager, and somebody who speaks to it."""
        from twisted.internet import reactor

        path = f"{temporary_directory(self)}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(path)
        self.path = path
        self.notifier = Notifier(reactor, path)

    async def test_it_is_lifted(self) -> None:
        """It is over when the manager closes the descriptor that comes with it."""
        barrier = self.notifier.barrier()
        data, descriptors, _, _ = socket.recv_fds(self.socket, 100, 1)
        self.assertEqual(data, b"BARRIER=1")
        self.assertFalse(barrier.called)
        for each in descriptors:
            os.close(each)
        await barrier

    async def test_nobody_is_there(self) -> None:
        """It is over when nobody can be told."""
        os.unlink(self.path)
        await self.notifier.barrier()

    def test_it_takes_too_long(self) -> None:
        """It is over after a while in any case, and nothing is left open."""
        clock = Clock()
        reactor = _Readers(clock)
        with leaves_nothing_open(self):  # type: ignore[arg-type]
            barrier = Notifier(reactor, self.path).barrier()
            _, descriptors, _, _ = socket.recv_fds(self.socket, 100, 1)
            clock.advance(BARRIER_TIMEOUT)
            self.assertTrue(barrier.called)
            for each in descriptors:
                os.close(each)
        self.assertEqual(reactor.readers, [])


class SupervisorTests(ManagerTestCase):
    """One process of two speaks for the service."""

    def supervisor(self, *, speaks: bool = True, watchdog: int = 0) -> Supervisor:
        """That of process 5."""
        return Supervisor(self.clock, Supervision(self.path, watchdog), speaks=speaks, pid=5)

    def test_there_is_none(self) -> None:
        """Where nobody asks, nothing is done, and nothing is begun."""
        supervisor = Supervisor(self.clock, Supervision(watchdog=3), speaks=True)
        supervisor.serves("it serves")
        supervisor.reloads("it reloads", 1)
        supervisor.stops("it stops", 1)
        self.assertFalse(supervisor)
        self.assertTrue(supervisor.notifications_read().called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_does_not_serve_is_silent(self) -> None:
        """Neither a successor that loads nor a predecessor that drains says anything."""
        supervisor = self.supervisor(speaks=False, watchdog=2_000_000)
        supervisor.loads("it loads", 1)
        supervisor.stops("it stops", 1)
        self.assertEqual(self.said(), [])
        supervisor.serves("it serves")
        supervisor.hands_over(6, "6 serves")
        self.said()
        supervisor.notify_status("it drains")
        supervisor.stops("it stops", 1)
        self.clock.advance(10)
        self.assertEqual(self.said(), [])

    def test_watchdog(self) -> None:
        """While it serves it is alive, twice in the time that it is given."""
        supervisor = self.supervisor(watchdog=2_000_000)
        self.clock.advance(10)
        self.assertEqual(self.said(), [])
        supervisor.serves("it serves")
        supervisor.serves("it serves on")
        self.clock.pump([1, 1])
        self.assertEqual([each for each in self.said() if "READY" not in each], ["WATCHDOG=1"] * 3)

    def test_a_long_status(self) -> None:
        """A status is no novel."""
        self.supervisor().notify_status("x" * 100_000)
        self.assertLess(len(self.said()[0]), 2000)
