"""Accepting within a limit: a port, clients of the real kernel, and a clock."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from typing import Any
from unittest import SkipTest, mock

from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent, globalLogPublisher

from tests.unit.support import leaves_nothing_open, temporary_directory, why_no_ipv6
from twisted_graceful.http.io.accept_balance import PAUSE
from twisted_graceful.http.io.connection_limit import ConnectionLimit, limit_of_descriptors
from twisted_graceful.http.io.port import Port
from twisted_graceful.http.io.transport import GatheringServer
from twisted_graceful.http.io.unix_port import UnixPort
from twisted_graceful.process.listeners.listener import bound_address

from ..case import SynchronousTestCase
from .ports import PortTestCase


class SilenceTests(PortTestCase):
    """What Twisted's own ports log."""

    def test_nothing(self) -> None:
        """A port logs nothing when it starts or stops listening: a handover is not an outage."""
        with capturedLogs() as events:
            self.listen().connectionLost(None)
        self.assertEqual(events, [])


class AdoptedTests(SynchronousTestCase):
    """A port on a socket that was bound before, with the real reactor."""

    def port(self, kind: type[Port], listener: socket.socket) -> Port:
        """A port that does not listen yet."""
        from twisted.internet import reactor

        listener.setblocking(False)
        return kind(
            reactor,
            listener,
            Factory(),
            transport=GatheringServer,
            limit=ConnectionLimit(Clock()),
            bound_address=bound_address(listener),
        )

    def test_as_twisted_does(self) -> None:
        """It is in the same state as a port of Twisted's, and a close leaves the original alone."""
        from twisted.internet import reactor

        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = self.port(Port, listener)
            theirs = tcp.Port._fromListeningDescriptor(  # type: ignore[no-untyped-call]
                reactor, listener.fileno(), listener.family, Factory()
            )
            for port in (ours, theirs):
                with self.subTest(port=port):
                    port.startListening()
                    self.assertEqual(port.getHost().port, listener.getsockname()[1])
                    self.assertNotEqual(port.fileno(), listener.fileno())
            compared = set(vars(theirs)) - {"port", "backlog"}  # of what would be bound
            for name in compared:
                with self.subTest(name=name):
                    self.assertIs(type(getattr(ours, name)), type(getattr(theirs, name)))
            self.assertEqual(ours._realPortNumber, theirs._realPortNumber)
            for port in (ours, theirs):
                port.connectionLost(None)
            socket.create_connection(listener.getsockname()).close()

    def test_of_a_unix_socket(self) -> None:
        """Its name in logs is its own, and a close leaves the original, its file and mode alone."""
        path = os.path.join(temporary_directory(self), "app.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            os.chmod(path, 0o600)
            port = self.port(UnixPort, listener)
            self.assertIn("(not listening)", repr(port))
            port.startListening()
            self.assertIn(f" on unix:{path}>", repr(port))
            self.assertEqual(port.getHost().name, path.encode())
            port.connectionLost(None)
            self.assertIn("(not listening)", repr(port))
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)


class LimitTests(PortTestCase):
    """The limit is exact, and one that ends makes room for one."""

    def test_limit(self) -> None:
        """As many as there is room for are accepted, though more came at once."""
        for _ in range(5):
            self.connect()
        self.turn()
        self.assertEqual((len(self.factory.made), self.is_reading(self.port)), (2, False))

    def test_not_before_it_is_needed(self) -> None:
        """A room that is just full keeps no port from looking: nobody waits yet."""
        self.connect()
        self.connect()
        self.port.doRead()
        self.assertEqual((len(self.factory.made), self.port.is_waiting), (2, False))

    def test_one_ends(self) -> None:
        """When one has ended the next is accepted, and when two have, two."""
        for _ in range(5):
            self.connect()
        self.turn()
        for ended, accepted in (([0], 3), ([1, 2], 5)):
            with self.subTest(ended=ended, accepted=accepted):
                for number in ended:
                    self.end(number)
                self.turn()
                self.assertEqual(len(self.factory.made), accepted)

    def test_ports_share_it(self) -> None:
        """Ports in one room have the limit together."""
        other = self.listen()
        self.connect()
        self.connect(other)
        self.turn()
        self.connect()
        self.connect(other)
        self.turn()
        self.assertEqual(len(self.factory.made), 2)
        self.assertEqual((self.port.is_waiting, other.is_waiting), (True, True))
        self.end(0)
        self.end(1)
        self.turn()
        self.assertEqual(len(self.factory.made), 4)

    def test_a_port_that_is_closed(self) -> None:
        """A port that waited and was closed is not read when there is room."""
        for _ in range(3):
            self.connect()
        self.turn()
        self.port.connectionLost(None)
        self.end(0)
        self.assertEqual((self.is_reading(self.port), self.port.is_waiting), (False, False))

    def test_connections_that_cannot_be_begun(self) -> None:
        """One that is refused, or whose begin fails, is closed and takes no room."""
        broken = Protocol()
        broken.makeConnection = lambda transport: 1 / 0  # type: ignore[method-assign]
        with leaves_nothing_open(self):
            for made in (
                mock.Mock(return_value=None),
                mock.Mock(side_effect=ZeroDivisionError),
                mock.Mock(return_value=broken),
            ):
                with self.subTest(made=made):
                    with mock.patch.object(self.factory, "buildProtocol", made):
                        client = self.connect()
                        self.turn()
                    self.reactor.advance(0)
                    made.assert_called_once()
                    self.assertEqual(self.limit.free, 2)
                    client.settimeout(5)
                    with contextlib.suppress(ConnectionResetError):
                        self.assertEqual(client.recv(1), b"")
                    client.close()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_ipv6(self) -> None:
        """The address of a client is that of IPv6 where it is."""
        if why_no_ipv6():
            raise SkipTest(why_no_ipv6())
        self.connect(self.listen(socket.AF_INET6, "::1"))
        self.turn()
        self.assertEqual(self.factory.made[0].transport.getPeer().host, "::1")  # type: ignore


class ShareTests(PortTestCase):
    """What is left to other processes."""

    def setUp(self) -> None:
        """There is much room, and somebody who may have fewer."""
        super().setUp()
        self.balance = mock.Mock(is_ahead=True)
        self.limit = ConnectionLimit(self.reactor, 1000, self.balance)
        self.port = self.listen()

    def queue(self, count: int) -> None:
        """So many clients come."""
        for _ in range(count):
            self.connect()

    def test_not_ahead(self) -> None:
        """Who is not ahead accepts what comes, and counts it until it ends."""
        self.balance.is_ahead = False
        self.queue(1)
        self.turn()
        self.assertEqual(len(self.factory.made), 1)
        self.balance.entered.assert_called_once_with()
        self.end(0)
        self.balance.left.assert_called_once_with()

    def test_ahead(self) -> None:
        """Who is ahead looks away for a moment, and then takes one that is still there."""
        self.queue(1)
        self.turn()
        self.assertEqual(len(self.factory.made), 0)
        self.assertFalse(self.is_reading(self.port))
        self.reactor.advance(PAUSE)
        self.turn()
        self.assertEqual(len(self.factory.made), 1)

    def test_nobody_takes_them(self) -> None:
        """What nobody else has the time for is taken, more from wait to wait."""
        self.queue(31)
        made = []
        for _ in range(5):
            for _ in range(40):
                self.turn()
            made.append(len(self.factory.made))
            self.reactor.advance(PAUSE)
        for _ in range(40):
            self.turn()
        self.assertEqual(made, [0, 1, 3, 7, 15])
        self.assertEqual(len(self.factory.made), 31)

    def test_others_have_time_again(self) -> None:
        """After a while one is taken at first, as before."""
        self.queue(3)
        for _ in range(3):
            for _ in range(3):
                self.turn()
            self.reactor.advance(PAUSE)
        self.turn()
        self.assertEqual(len(self.factory.made), 3)
        self.reactor.advance(PAUSE)
        self.reactor.advance(1)
        self.queue(5)
        for _ in range(3):
            self.turn()
        self.reactor.advance(PAUSE)
        for _ in range(3):
            self.turn()
        self.assertEqual(len(self.factory.made), 4)

    def test_closed_meanwhile(self) -> None:
        """A port that is closed while it looks away does not look again."""
        self.queue(1)
        self.turn()
        self.port.close()
        self.reactor.advance(1)
        self.assertFalse(self.is_reading(self.port))
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class LogTests(PortTestCase):
    """What the log says of it."""

    def said(self) -> list[str]:
        """What was logged since the last look."""

        said, self.events[:] = [formatEvent(event) for event in self.events], []
        return said

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.events: list[Any] = []

        def observe(event: Any) -> None:
            if event.get("log_namespace", "").endswith("connection_limit.ConnectionLimit"):
                self.events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_reached_and_left(self) -> None:
        """That the limit is reached is told once, and so is that it is well left."""
        self.limit = ConnectionLimit(self.reactor, 20)
        hit: list[str] = []
        self.port = self.listen(on_limit=hit.append)
        for _ in range(25):
            self.connect()
        self.turn()
        self.assertEqual(hit, ["max_connections"])
        for number in range(5):
            self.end(number)
            self.turn()
        (reached,) = self.said()
        self.assertRegex(reached, "^20 connections are open, as many as max_connections allows: ")
        self.end(5)
        self.assertEqual(self.said(), [])
        self.end(6)
        self.assertEqual(self.said(), ["18 connections are open: there is room again"])

    def test_not_all_the_time(self) -> None:
        """A server that is full again and again says so once a minute."""
        for _ in range(4):
            for _ in range(3):
                self.connect()
            for _ in range(3):
                self.turn()
                self.end(-1)
            self.reactor.advance(25)
        self.assertEqual(len([each for each in self.said() if "as many as" in each]), 2)

    def test_which_limit(self) -> None:
        """Who has set no limit is told of the one of the system."""
        with mock.patch.object(resource, "getrlimit", return_value=(4, 4)):
            self.limit = ConnectionLimit(self.reactor)
            port = self.listen()
            for _ in range(4):
                self.connect(port)
            self.turn()
        (reached,) = self.said()
        self.assertRegex(reached, "^3 connections are open, as many as three quarters of RLIMIT")

    def test_too_few_descriptors(self) -> None:
        """Who has set a limit for which there are not enough descriptors is told how many are."""
        with mock.patch.object(resource, "getrlimit", return_value=(1024, 1024)):
            for limit in (0, 768, 769):
                ConnectionLimit(self.reactor, limit).check()
        (said,) = self.said()
        self.assertIn("is 769, for which RLIMIT_NOFILE should be 1026; it is 1024 ", said)


class ExhaustionTests(PortTestCase):
    """What accept(2) may say."""

    def refuse(self, *numbers: int) -> Any:
        """Let the system answer the next calls of accept with these errors."""
        accept = self.port.socket.accept
        errors = [OSError(number, "no") for number in numbers]
        self.port.socket = mock.Mock(wraps=self.port.socket)

        def once() -> Any:
            if errors:
                raise errors.pop(0)
            return accept()

        self.port.socket.accept = mock.Mock(side_effect=once)
        return self.port.socket.accept

    def test_no_descriptors(self) -> None:
        """Out of descriptors a port looks away, and tries again after a second."""
        self.connect()
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL):
            with self.subTest(number=number):
                accept = self.refuse(number)
                self.turn()
                self.assertEqual((accept.call_count, self.is_reading(self.port)), (1, False))
                self.assertEqual(self.factory.made, [])
                self.reactor.advance(1)
                self.assertTrue(self.is_reading(self.port))
        self.turn()
        self.assertEqual(len(self.factory.made), 1)

    def test_one_ends(self) -> None:
        """It does so at once when a connection has ended."""
        self.connect()
        self.turn()
        self.connect()
        self.refuse(errno.EMFILE)
        self.turn()
        self.end(0)
        self.turn()
        self.assertEqual(len(self.factory.made), 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_port_is_closed(self) -> None:
        """A port that is closed tries no more."""
        self.connect()
        self.refuse(errno.EMFILE)
        self.turn()
        self.port.connectionLost(None)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_connection_has_failed(self) -> None:
        """A connection that has failed in the queue keeps none behind it from being accepted."""
        self.connect()
        self.refuse(errno.ECONNABORTED, errno.EPERM)
        self.turn()
        self.assertEqual(len(self.factory.made), 1)


class LimitOfDescriptorsTests(SynchronousTestCase):
    """How many connections the descriptors are enough for."""

    def test_three_quarters(self) -> None:
        """Three quarters of them, at least one, and any number where they are not limited."""
        infinite = resource.RLIM_INFINITY
        for soft, limit in ((1024, 768), (1 << 20, 3 << 18), (1, 1), (infinite, 2**63 - 1)):
            with (
                self.subTest(soft=soft, limit=limit),
                mock.patch.object(resource, "getrlimit", return_value=(soft, infinite)),
            ):
                self.assertEqual(limit_of_descriptors(), limit)
