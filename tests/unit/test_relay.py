"""Connections on their way through a master."""

from __future__ import annotations

import os

from twisted.internet.task import Clock

from twisted_graceful.handover_interface import HandedConnection
from twisted_graceful.process.workers.relay import Relay

from ..case import SynchronousTestCase
from .fake_workers import FakeRoute


class RelayTests(SynchronousTestCase):
    """Two ways, with different numbers of connections."""

    def setUp(self) -> None:
        """Nothing waits."""
        self.clock = Clock()
        self.busy, self.idle = FakeRoute(5), FakeRoute(2)
        self.routes = [self.busy, self.idle]
        self.relay = Relay(self.clock, lambda: self.routes)

    def arrive(self, count: int) -> list[int]:
        """Connections arrive; their descriptors."""
        descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
        for descriptor in descriptors:
            self.relay.take_up(HandedConnection(descriptor, "127.0.0.1:80", "{}", b""))
        self.clock.advance(0)
        return descriptors

    def assert_closed(self, descriptor: int) -> None:
        """The descriptor is closed."""
        self.assertRaises(OSError, os.fstat, descriptor)

    def test_the_one_with_the_fewest(self) -> None:
        """They go where the fewest are, until there are as many."""
        for descriptor in self.arrive(5):
            self.addCleanup(os.close, descriptor)
        self.assertEqual((self.busy.connections, self.idle.connections), (6, 6))
        self.assertEqual((len(self.busy.sent), len(self.idle.sent)), (1, 4))

    def test_arrived(self) -> None:
        """One that has arrived is closed here, and counted there."""
        (descriptor,) = self.arrive(1)
        self.idle.sent[0].release()
        self.assert_closed(descriptor)
        self.assertEqual(self.idle.connections, 3)

    def test_refused(self) -> None:
        """One that is refused goes to the next; and is closed when all have refused it."""
        (descriptor,) = self.arrive(1)
        self.idle.sent[0].take_back()
        self.clock.advance(0)
        self.assertEqual(self.idle.connections, 2)
        self.busy.sent[0].take_back()
        self.clock.advance(0)
        self.assert_closed(descriptor)

    def test_nobody_there(self) -> None:
        """As long as nobody serves it is kept."""
        self.routes = []
        self.assertFalse(self.relay.is_open)
        (descriptor,) = self.arrive(1)
        self.addCleanup(os.close, descriptor)
        self.routes = [self.busy]
        self.relay.go_on()
        self.assertEqual(len(self.busy.sent), 1)

    def test_a_closed_way(self) -> None:
        """Who has ended gets nothing."""
        self.idle.is_open = False
        (descriptor,) = self.arrive(1)
        self.addCleanup(os.close, descriptor)
        self.assertEqual(len(self.busy.sent), 1)

    def test_no_room(self) -> None:
        """What there is no room for waits for it."""
        self.routes = [self.idle]
        self.idle.room = 2
        for descriptor in self.arrive(3):
            self.addCleanup(os.close, descriptor)
        self.assertEqual(len(self.idle.sent), 2)
        self.idle.room = 1
        (call,) = self.idle.calls
        call()
        self.assertEqual(len(self.idle.sent), 3)

    def test_what_waits_holds_up_nobody(self) -> None:
        """One that waits for room with the only one that may take it lets others go elsewhere."""
        self.idle.room = 0
        (refused,) = self.arrive(1)
        self.addCleanup(os.close, refused)
        self.busy.sent.pop().take_back()
        self.clock.advance(0)
        (other,) = self.arrive(1)
        self.addCleanup(os.close, other)
        self.assertEqual([each.handed.descriptor for each in self.busy.sent], [other])

    def test_close(self) -> None:
        """At the end what waits is closed."""
        self.routes = []
        (descriptor,) = self.arrive(1)
        self.relay.close()
        self.assert_closed(descriptor)
