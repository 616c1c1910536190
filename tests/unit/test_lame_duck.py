"""Between the word that a server stops and its drain: it serves on, and tells all."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyRequest

from tests.unit.http2_client import Http2Client, http2_server
from tests.unit.web import Echo
from tests.unit.websockets import Application, WebSocketClient, as_taking
from twisted_graceful import draining, is_ready
from twisted_graceful.http.http2.h2_machine import ALL_STREAMS
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase

LONG = 600
"""Seconds, far more than any grace; less than the idle timeout of these tests."""


class Readiness(Resource):
    """Says whether it is ready, in the way of Kubernetes."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """200 or 503."""
        request.setResponseCode(200 if is_ready(request) else 503)
        return b""


class ReadinessTests(SynchronousTestCase):
    """`is_ready` is what a load balancer is told."""

    def setUp(self) -> None:
        """Serve an application that tells."""
        self.server = MemoryServer(Readiness())

    def test_stop(self) -> None:
        """It is true until a stop is announced."""
        self.assertEqual(self.server.get("/").status, 200)
        self.server.announce_stop()
        self.assertEqual(self.server.get("/").status, 503)

    def test_upgrade(self) -> None:
        """In a drain without a stop it stays true, for a successor serves."""
        client = self.server.connect()
        self.server.drain()
        client.request("GET", "/")
        self.assertEqual(client.responses()[0].status, 200)

    def test_other_server(self) -> None:
        """It is true for a request that a server of another kind answers."""
        self.assertTrue(is_ready(DummyRequest([])))


class LameDuckTests(SynchronousTestCase):
    """HTTP/1.1 in the shutdown delay."""

    def setUp(self) -> None:
        """Serve, with a client whose request waits and one that is idle."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app, idle_timeout=2 * LONG)
        self.idle = self.asking()
        self.app.answer()
        self.idle.responses()
        self.busy = self.asking()

    def asking(self) -> Any:
        """A client whose request is being answered."""
        client = self.server.connect()
        client.request("GET", "/")
        return client

    def test_applications_are_told(self) -> None:
        """Applications learn of it at its begin, while nothing is closed."""
        begins = draining(self.app.held[0])
        seen = []
        begins.addCallback(lambda _: seen.append([self.idle.ended, self.busy.ended]))
        self.server.announce_stop()
        self.assertEqual(seen, [[False, False]])

    def test_begun_meanwhile(self) -> None:
        """A request that comes meanwhile is told at once."""
        self.server.announce_stop()
        self.asking()
        self.successResultOf(draining(self.app.held[-1]))

    def test_answers_say_close(self) -> None:
        """What is answered meanwhile says ``Connection: close``, on new connections too."""
        self.server.announce_stop()
        new = self.asking()
        self.idle.request("GET", "/")
        self.app.answer_all()
        for client in (self.busy, new, self.idle):
            with self.subTest(client=client):
                (response,) = client.responses()
                self.assertEqual(response.headers["Connection"], "close")
                self.assertTrue(client.ended)

    def test_pipelined(self) -> None:
        """Of several requests that have come together only the last answer says it."""
        client = self.server.connect()
        self.server.announce_stop()
        client.request("GET", "/1")
        client.request("GET", "/2")
        self.app.answer_all()
        last = [each.headers.get("Connection") for each in client.responses()]
        self.assertEqual(last, [None, "close"])

    def test_nothing_else_is_closed(self) -> None:
        """Who is idle stays, and what is being answered has no deadline."""
        self.server.announce_stop()
        self.server.advance(LONG)
        self.assertEqual((self.idle.ended, self.busy.closed), (False, False))

    def test_then_the_drain(self) -> None:
        """The drain has its own time, and its report tells all since the announcement."""
        self.server.announce_stop()
        self.asking()
        self.app.answer_all()
        self.busy.close()
        self.server.advance(LONG)
        settings = self.server.settings
        self.asking()
        drained = self.server.drain()
        self.server.advance(settings.idle_grace - 0.5)
        self.assertFalse(self.idle.ended)
        self.server.advance(settings.drain_timeout)
        report = self.successResultOf(drained)
        self.assertEqual((report.answered, report.told_to_close, report.closed_idle), (2, 2, 1))
        self.assertEqual((report.delay, report.seconds), (LONG, settings.drain_timeout))
        self.assertEqual([each.path for each in report.cut], ["/"])

    def test_what_was_before(self) -> None:
        """What was answered before the announcement does not count."""
        self.app.answer()
        self.busy.close()
        self.idle.close()
        self.server.announce_stop()
        report = self.successResultOf(self.server.drain())
        self.assertEqual((report.answered, report.told_to_close), (0, 0))

    def test_taken_back(self) -> None:
        """A server that accepts anew after all closes nothing more."""
        self.server.announce_stop()
        self.server.connections.resume()
        self.app.answer()
        (response,) = self.busy.responses()
        self.assertNotIn("Connection", response.headers)


class Http2Tests(SynchronousTestCase):
    """HTTP/2 in the shutdown delay."""

    def setUp(self) -> None:
        """Connect two clients."""
        self.app = Echo(hold=True)
        self.server = http2_server(self.app, idle_timeout=2 * LONG)
        self.busy, self.idle = Http2Client(self.server), Http2Client(self.server)
        for client in (self.busy, self.idle):
            client.request()
            client.exchange()
        self.app.held.pop().finish()
        self.idle.exchange()

    def test_who_asks_is_told(self) -> None:
        """Who has a request open is told to send no more; what is open is answered."""
        begins = draining(self.app.held[0])
        self.server.announce_stop()
        self.successResultOf(begins)
        self.server.advance(1)
        self.busy.exchange()
        self.assertEqual(self.busy.goaways[0], (ALL_STREAMS, 0))
        self.assertFalse(self.busy.wire.ended)
        self.app.answer()
        self.busy.exchange()
        self.assertTrue(self.busy.wire.ended)

    def test_idle(self) -> None:
        """Who is idle stays, and is told with its next request."""
        self.server.announce_stop()
        self.server.advance(LONG)
        self.idle.exchange()
        self.assertEqual((self.idle.goaways, self.idle.wire.ended), ([], False))
        number = self.idle.request()
        self.idle.exchange()
        self.assertEqual(self.idle.goaways[0], (ALL_STREAMS, 0))
        self.app.answer_all()
        self.idle.exchange()
        self.assertTrue(self.idle.answers[number].ended)

    def test_report(self) -> None:
        """A GOAWAY to who asks counts as told to close; one to who is idle, as idle closed."""
        self.server.announce_stop()
        self.server.advance(1)
        self.busy.exchange()
        self.app.answer()
        self.busy.exchange()
        drained = self.server.drain()
        self.server.advance(1)
        self.idle.exchange()
        for client in (self.busy, self.idle):
            client.wire.close()
        report = self.successResultOf(drained)
        self.assertEqual((report.told_to_close, report.closed_idle), (1, 1))


class WebSocketTests(SynchronousTestCase):
    """WebSockets in the shutdown delay."""

    def setUp(self) -> None:
        """Serve them."""
        self.app = Application()
        self.server = MemoryServer(Resource())
        self.server.site.resource = as_taking(self.app, self.server.clock)

    def test_stays(self) -> None:
        """It is told, and may stay; the time to take its leave begins with the drain."""
        client = WebSocketClient(self.server)
        begins = draining(self.app.speaker.transport)
        self.server.announce_stop()
        self.successResultOf(begins)
        for _ in range(LONG // 10):
            self.server.advance(10)
            client.look()  # and answer pings
        client.say("hello")
        self.assertEqual((client.messages, client.closed_with), (["hello"], None))
        self.server.drain()
        self.server.advance(self.server.settings.drain_timeout / 3)
        client.look()
        self.assertIsNone(client.closed_with)

    def test_new(self) -> None:
        """A new one is served, and told at once."""
        self.server.announce_stop()
        client = WebSocketClient(self.server)
        client.say("hello")
        self.assertEqual(client.messages, ["hello"])
        self.successResultOf(draining(self.app.speaker.transport))
