"""What waits for all connections behind one descriptor."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from twisted_graceful.http.io import poller
from twisted_graceful.http.io.poller import Poller
from twisted_graceful.http.io.transport import Flusher
from twisted_graceful.testing import serve

from ..case import SynchronousTestCase, TestCase
from .support import is_open, leaves_nothing_open
from .web import Echo, connect, fetch


class FakeReactor:
    """Notes what it waits for."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.callLater = lambda *arguments: None

    def addReader(self, reader: Any) -> None:
        """Note it."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Note it."""
        self.readers.remove(reader)


class FakeTransport:
    """One end of a pair, which notes what it is told."""

    def __init__(self, test: SynchronousTestCase, ends_with: BaseException | None = None) -> None:
        self.peer, self.socket = socket.socketpair()
        test.addCleanup(self.peer.close)
        test.addCleanup(self.socket.close)
        self.fileno = self.socket.fileno
        self.told: list[str] = []
        self._ends_with = ends_with

    def doRead(self) -> BaseException | None:
        """Read."""
        self.told.append("read")
        if isinstance(self._ends_with, ValueError | SystemExit):
            raise self._ends_with
        self.socket.recv(100)
        return self._ends_with

    def doWrite(self) -> None:
        """Note it."""
        self.told.append("write")

    def readConnectionLost(self, reason: object) -> None:
        """Note it."""
        self.told.append("half-closed")

    def connectionLost(self, reason: object) -> None:
        """Note it."""
        self.told.append("lost")


class PollerTests(SynchronousTestCase):
    """Transports that are ready, and those that are not."""

    def setUp(self) -> None:
        """A poller on a reactor that waits for nothing yet."""
        if not hasattr(select, "epoll"):
            self.skipTest("this system has no epoll")
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor, Flusher(self.reactor))
        self.poller.open()
        self.addCleanup(self.poller.close)

    def waiting(self, ends_with: BaseException | None = None) -> FakeTransport:
        """A transport that waits for bytes."""
        transport = FakeTransport(self, ends_with)
        self.poller.addReader(transport)
        return transport

    def test_one_descriptor(self) -> None:
        """The reactor waits for one descriptor, however many transports there are."""
        for _ in range(3):
            self.waiting()
        self.assertEqual(self.reactor.readers, [self.poller])

    def test_who_is_ready(self) -> None:
        """Only a transport on which something has arrived is told to read."""
        ready, silent = self.waiting(), self.waiting()
        ready.peer.send(b"x")
        self.poller.doRead()
        self.assertEqual((ready.told, silent.told), (["read"], []))

    def test_reading_and_writing(self) -> None:
        """A transport that waits for both is told of both, and of nothing it no longer wants."""
        transport = self.waiting()
        self.poller.addWriter(transport)
        transport.peer.send(b"x")
        self.poller.doRead()
        self.assertEqual(transport.told, ["read", "write"])
        self.poller.removeWriter(transport)
        transport.peer.send(b"x")
        self.poller.removeReader(transport)
        self.poller.doRead()
        self.assertEqual(transport.told, ["read", "write"])

    def test_half_close(self) -> None:
        """A transport that has read the end is told so, and waits to read no more."""
        transport = self.waiting(ends_with=ConnectionDone())
        transport.peer.send(b"x")
        self.poller.doRead()
        self.poller.doRead()
        self.assertEqual(transport.told, ["read", "half-closed"])

    def test_hang_up(self) -> None:
        """Where nothing is left to read, a reader has read the end, and a writer is lost."""
        reading, writing = self.waiting(), FakeTransport(self)
        self.poller.addWriter(writing)
        # What a hang-up is to the system (poll(2)), a pair can only have with something to read.
        self.poller._serve(reading, reading.fileno(), select.EPOLLHUP)
        self.poller._serve(writing, writing.fileno(), select.EPOLLERR)
        self.assertEqual((reading.told, writing.told), (["half-closed"], ["lost"]))

    def test_one_that_fails(self) -> None:
        """A transport whose protocol raises is lost, and the others of the turn are served."""
        for error in (ValueError("broken"), SystemExit(1)):
            with self.subTest(error=error):
                failing, other = self.waiting(ends_with=error), self.waiting()
                for each in (failing, other):
                    each.peer.send(b"x")
                self.poller.doRead()
                self.assertEqual((failing.told, other.told), (["read", "lost"], ["read"]))
                self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)

    def test_one_that_cannot_be_lost(self) -> None:
        """A transport whose protocol raises at its end is forgotten; the others are told."""
        failing, other = self.waiting(ends_with=ValueError("broken")), self.waiting()

        def fail(reason: object) -> None:
            raise KeyError("worse")

        failing.connectionLost = fail  # type: ignore[method-assign]
        for each in (failing, other):
            each.peer.send(b"x")
        self.poller.doRead()
        self.poller.doRead()
        self.assertEqual((failing.told, other.told), (["read"], ["read"]))
        self.assertEqual(len(self.flushLoggedErrors(ValueError, KeyError)), 2)

    def test_lost_while_it_reads(self) -> None:
        """A transport that ends by what it has read is not asked to write any more."""
        transport = self.waiting()
        self.poller.addWriter(transport)

        def read_and_end() -> None:
            self.poller.removeReader(transport)
            self.poller.removeWriter(transport)

        transport.doRead = read_and_end  # type: ignore[assignment]
        transport.peer.send(b"x")
        self.poller.doRead()
        self.assertEqual(transport.told, [])

    def test_more_than_a_batch(self) -> None:
        """However many are ready, each is served, once, in one turn or the next."""
        self.patch(poller, "BATCH", 3)
        transports = [self.waiting() for _ in range(7)]
        for each in transports:
            each.peer.send(b"x")
        self.poller.doRead()
        self.assertEqual(sum(len(each.told) for each in transports), 3)
        self.poller.doRead()
        self.poller.doRead()
        self.assertEqual([each.told for each in transports], [["read"]] * 7)

    def test_closed_behind_our_back(self) -> None:
        """A socket that an application has closed is in nobody's way, also not in its heir's."""
        closed, heir = self.waiting(), FakeTransport(self)
        descriptor = closed.fileno()
        os.dup2(heir.fileno(), descriptor, inheritable=False)
        closed.socket.detach()
        heir.socket.close()
        heir.socket = socket.socket(fileno=descriptor)
        self.addCleanup(heir.socket.close)
        heir.fileno = heir.socket.fileno
        self.poller.addReader(heir)
        self.poller.removeReader(closed)
        heir.peer.send(b"x")
        self.poller.doRead()
        self.assertEqual((closed.told, heir.told), ([], ["read"]))
        heir.socket.close()
        self.poller.removeReader(heir)
        self.poller.addReader(heir)
        self.poller.doRead()
        self.assertEqual(heir.told, ["read"])

    def test_removed_in_the_same_turn(self) -> None:
        """A transport that an earlier one of the turn has ended is not told any more."""
        first, second = self.waiting(), self.waiting()

        def end_the_other(this: FakeTransport, other: FakeTransport) -> None:
            this.told.append("read")
            self.poller.removeReader(other)

        first.doRead = lambda: end_the_other(first, second)  # type: ignore[method-assign]
        second.doRead = lambda: end_the_other(second, first)  # type: ignore[method-assign]
        for each in (first, second):
            each.peer.send(b"x")
        self.poller.doRead()
        self.assertEqual(sorted([first.told, second.told]), [[], ["read"]])

    def test_the_reactor_stops(self) -> None:
        """When the reactor disconnects everything, every transport is lost, once."""
        transports = [self.waiting(), self.waiting()]
        self.poller.addWriter(transports[0])
        self.poller.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([each.told for each in transports], [["lost"], ["lost"]])
        self.assertEqual(self.reactor.readers, [])

    def test_when_it_is_closed(self) -> None:
        """What still is open then may end, and wait for nothing."""
        transport = self.waiting()
        self.poller.close()
        self.poller.addWriter(transport)
        self.poller.removeReader(transport)
        self.poller.doRead()
        self.assertEqual(transport.told, [])

    def test_close(self) -> None:
        """What it had of the system is given back, and it can be opened again."""
        self.poller.close()
        self.assertEqual(self.reactor.readers, [])
        with leaves_nothing_open(self):
            self.poller.open()
            self.poller.addReader(transport := FakeTransport(self))
            self.poller.close()
            transport.socket.close()
            transport.peer.close()
        self.poller.open()
        again = self.waiting()
        again.peer.send(b"x")
        self.poller.doRead()
        self.assertEqual(again.told, ["read"])

    def test_not_inherited(self) -> None:
        """No process that is started inherits its descriptor."""
        self.waiting()
        self.assertTrue(is_open(self.poller.fileno()))
        self.assertFalse(os.get_inheritable(self.poller.fileno()))


class ServedTests(TestCase):
    """A server in the running reactor."""

    async def test_the_reactor_sees_one_descriptor(self) -> None:
        """However many clients are connected, the reactor has one descriptor more."""
        from twisted.internet import reactor

        server = await serve(self, Echo())
        await fetch(server.url)
        before = len(reactor.getReaders())  # type: ignore[attr-defined]
        clients = [await connect(server.port) for _ in range(3)]
        for client in clients:
            client.transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await client.until(b"GET / ")
        if hasattr(select, "epoll"):
            after = len(reactor.getReaders())  # type: ignore[attr-defined]
            self.assertEqual(after - before, len(clients))  # theirs, and none of the server's
        for client in clients:
            client.transport.loseConnection()
            await client.lost

    async def test_without_epoll(self) -> None:
        """Where the system has no epoll the reactor waits for each connection."""
        self.patch(poller, "_HAS_EPOLL", False)
        from twisted.internet import reactor

        server = await serve(self, Echo())
        client = await connect(server.port)
        client.transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.until(b"GET / ")
        kinds = {type(each).__name__ for each in reactor.getReaders()}  # type: ignore[attr-defined]
        self.assertIn("GatheringServer", kinds)
        self.assertNotIn("Poller", kinds)
        client.transport.loseConnection()
        await client.lost
