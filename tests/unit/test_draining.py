"""Applications learn of a drain."""

from __future__ import annotations

import gc
import weakref

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.test.requesthelper import DummyRequest

from tests.unit.web import GET, Echo
from twisted_graceful import draining
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase


class DrainingTests(SynchronousTestCase):
    """`draining` gives a Deferred that fires when the drain begins."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app)
        self.client = self.server.connect()

    def request(self) -> Request:
        """A request that is being answered."""
        self.client.request("GET", "/")
        return self.app.held[-1]

    def test_begin(self) -> None:
        """It fires with None when the drain begins, and not before."""
        begins = draining(self.request())
        self.server.advance(60)
        self.assertNoResult(begins)
        self.server.drain()
        self.assertIsNone(self.successResultOf(begins))

    def test_under_way(self) -> None:
        """In a drain it fires at once."""
        request = self.request()
        self.server.drain()
        self.server.advance(1)
        self.assertIsNone(self.successResultOf(draining(request)))

    def test_half_received(self) -> None:
        """It fires at once for a request that became complete in the drain."""
        self.client.send(GET[:-1])
        self.server.drain()
        self.client.send(GET[-1:])
        self.assertIsNone(self.successResultOf(draining(self.app.held[0])))

    def test_several(self) -> None:
        """Each Deferred fires, also of one request, and whatever became of the others."""
        request = self.request()
        failing, other = draining(request), draining(request)
        failing.addCallback(lambda _: 1 / 0)
        self.server.drain()
        self.assertIsNone(self.successResultOf(other))
        self.failureResultOf(failing, ZeroDivisionError)

    def test_second_drain(self) -> None:
        """After a drain that was resumed it fires in the next one."""
        request = self.request()
        self.server.drain()
        self.server.connections.resume()
        begins = draining(request)
        self.assertNoResult(begins)
        self.server.drain()
        self.successResultOf(begins)

    def test_request_over(self) -> None:
        """It does not fire when its request has been answered."""
        begins = draining(self.request())
        self.app.answer()
        self.server.drain()
        self.assertNoResult(begins)

    def test_client_gone(self) -> None:
        """It does not fire when the client of its request has gone."""
        begins = draining(self.request())
        self.client.abort()
        self.server.drain()
        self.assertNoResult(begins)

    def test_fired_by_the_application(self) -> None:
        """An application that fires it on its own does not keep the others from learning."""
        mine, others = draining(self.request()), draining(self.request())
        mine.callback(None)
        self.server.drain()
        self.successResultOf(others)

    def test_asked_too_late(self) -> None:
        """It does not fire when it was asked for after the answer."""
        request = self.request()
        self.app.answer()
        begins = draining(request)
        self.server.drain()
        self.assertNoResult(begins)

    def test_nothing_kept(self) -> None:
        """Nothing is kept of a request that is over, however it ended."""
        ends = (self.app.answer, self.client.abort)
        for end in ends:
            with self.subTest(end=end):
                begins = weakref.ref(draining(self.request()))
                end()
                self.app.held.clear()
                gc.collect()
                self.assertIsNone(begins())

    def test_other_server(self) -> None:
        """It never fires for a request that a server of another kind answers."""
        request = DummyRequest([])
        request.site = request.channel = object()
        self.assertNoResult(draining(request))


class EventStream(Resource):
    """Sends events until the server drains, and then says goodbye."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """Begin the stream."""

        def say_goodbye(_: object) -> None:
            request.write(b"data: goodbye\n\n")
            request.finish()

        request.write(b"data: hello\n\n")
        draining(request).addCallback(say_goodbye)
        return NOT_DONE_YET


class EventStreamTests(SynchronousTestCase):
    """What it is for."""

    def test_ends_well(self) -> None:
        """Event streams end in their own words when the drain begins, and nothing is cut."""
        server = MemoryServer(EventStream())
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            client.request("GET", "/")
        report = server.stop()
        self.assertEqual((report.answered, report.cut), (3, ()))
        for client in clients:
            with self.subTest(client=client):
                (response,) = client.responses()
                self.assertEqual(response.body, b"data: hello\n\ndata: goodbye\n\n")

    def test_begun_in_a_drain(self) -> None:
        """A stream that begins in a drain ends at once, and its answer says close."""
        server = MemoryServer(EventStream())
        client = server.connect()
        drained = server.drain()
        client.request("GET", "/")
        (response,) = client.responses()
        self.assertTrue(response.body.endswith(b"data: goodbye\n\n"))
        self.assertEqual(response.headers["Connection"], "close")
        client.close()
        self.assertEqual(self.successResultOf(drained).answered, 1)
