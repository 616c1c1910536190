"""WebSockets, under each library that speaks on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from wsproto.events import BytesMessage, CloseConnection, Pong, TextMessage

from tests.unit.support import examples
from tests.unit.web import timers_left
from tests.unit.websockets import (
    BINARY,
    HANDSHAKE,
    TEXT,
    Application,
    TakingProtocol,
    WebSocketClient,
    announced,
    as_autobahn,
    as_taking,
    as_twisted,
    frame,
)
from twisted_graceful import draining, twisted_internals
from twisted_graceful.http.log.access_log import AccessLog
from twisted_graceful.http.phases import ConnectionPhase
from twisted_graceful.http.registry import SWEEP_INTERVAL
from twisted_graceful.http.websocket.frames import CLOSE, PING
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request
from twisted_graceful.testing.memory_transport import SEND_BUFFER

from ..case import SynchronousTestCase

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
GOING_AWAY = (1001, "")
UNTIL_NOTICED = 2 * SWEEP_INTERVAL

MakeResource = Callable[[Application, IReactorTime], Resource]


class Base(SynchronousTestCase):
    """A server of WebSockets in memory; by default with a library that takes transports away."""

    make_resource: MakeResource = staticmethod(as_taking)
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        """Serve the application."""
        self.app = Application()
        self.server = MemoryServer(Resource(), **self.settings)
        self.server.site.resource = type(self).make_resource(self.app, self.server.clock)

    def connect(self, *, polite: bool = True) -> WebSocketClient:
        """A client, connected."""
        self.client = WebSocketClient(self.server, polite=polite)
        return self.client

    def pass_time(self, seconds: float) -> None:
        """Let time pass, second by second, and the client take what arrives."""
        for _ in range(int(seconds)):
            self.server.advance(1)
            self.client.look()

    @property
    def phases(self) -> list[ConnectionPhase]:
        """What the connections do."""
        return [each.phase for each in self.server.connections]

    def assert_gone(self) -> None:
        """The connection has left nothing, and the application was told once."""
        self.assertEqual(len(self.app.lost), 1)
        self.assertEqual(len(self.server.connections), 0)
        self.assertEqual(timers_left(self.server), [])


class LibraryMixin:
    """What holds under each library."""

    app: Application
    server: MemoryServer
    says_why = True

    def test_messages(self: Any) -> None:
        """Messages go to and fro, of both kinds, small and large, and in fragments."""
        client = self.connect()
        client.say("text")
        client.say(b"x" * 100_000)
        client.send(TextMessage("frag", message_finished=False))
        client.send(TextMessage("ment"))
        self.assertEqual(self.app.messages, ["text", b"x" * 100_000, "fragment"])
        self.assertEqual(client.messages[0], "text")
        self.assertEqual(self.phases, [ConnectionPhase.WEBSOCKET])

    def test_tracked(self: Any) -> None:
        """A silent WebSocket is known for as long as it is open."""
        self.connect()
        self.pass_time(3600)
        self.assertEqual(self.phases, [ConnectionPhase.WEBSOCKET])
        self.assertEqual(self.app.lost, [])

    def test_client_closes(self: Any) -> None:
        """A Close frame of the client is answered, and our FIN comes first (section 7.1.1)."""
        client = self.connect()
        client.send(CloseConnection(1000))
        self.assertEqual(client.closed_with[0], 1000)
        self.assertTrue(client.connection.ended)
        client.connection.close()
        self.assert_gone()

    def test_application_closes(self: Any) -> None:
        """When the application closes, the client is told, and the connection ends."""
        client = self.connect()
        self.app.speaker.close()
        client.look()
        self.assertEqual(client.closed_with[0], 1000)
        self.assertTrue(client.connection.ended or client.connection.closed)
        client.connection.close()
        self.assert_gone()

    def test_client_never_answers_a_close(self: Any) -> None:
        """A client that does not answer a Close frame of the application holds nothing."""
        client = self.connect(polite=False)
        self.app.speaker.close()
        self.server.advance(2 * self.server.settings.linger_timeout + UNTIL_NOTICED)
        self.assertTrue(client.connection.closed)
        self.assert_gone()

    def test_lost(self: Any) -> None:
        """A client that resets, closes or half-closes is gone, and the application told once."""
        for end in ("abort", "close", "finish"):
            with self.subTest(end=end):
                self.setUp()
                client = self.connect()
                getattr(client.connection, end)()
                self.assertTrue(client.connection.closed)
                self.assert_gone()

    def test_lost_in_the_drain(self: Any) -> None:
        """When a client goes, a drain that waits for it is over."""
        client = self.connect()
        drained = self.server.drain()
        self.server.advance(1)
        self.assertNoResult(drained)
        client.connection.abort()
        report = self.successResultOf(drained)
        self.assertEqual((report.sent_away, report.cut), (0, ()))

    def test_message_too_big(self: Any) -> None:
        """A message over the limit is refused with 1009 before it has come; nothing is kept."""
        client = self.connect()
        client.say("before")
        client.connection.send(announced(TEXT, (1 << 20) + 1))
        client.look()
        self.assertEqual(client.closed_with[0], 1009)
        self.assertEqual(self.server.connections.limits, {"max_message_size": 1})
        client.connection.send(b"x" * 100_000)  # it sends on, and we discard
        self.assertTrue(client.connection.ended)
        client.connection.close()
        self.assertFalse(client.connection.reset)
        self.assertEqual(self.app.messages, ["before"])
        self.assert_gone()

    def test_client_ignores_the_limit(self: Any) -> None:
        """A client that goes on sending after 1009 is closed in bounded time."""
        client = self.connect(polite=False)
        client.connection.send(announced(TEXT, (1 << 20) + 1))
        for _ in range(10):
            client.connection.send(b"x" * 1000)
            self.server.advance(self.server.settings.linger_timeout / 8)
        self.assertTrue(client.connection.closed)
        self.assert_gone()

    def test_protocol_errors(self: Any) -> None:
        """What is against the protocol ends the connection with the code for that."""
        for code, wrong in (
            (1002, frame(TEXT, b"a", masked=False)),
            (1002, frame(PING, b"x" * 126)),
            (1002, frame(PING, final=False)),
            (1002, frame(0x3)),
            (1002, frame(0, b"a")),
            (1002, bytes([frame(TEXT)[0] | 0x40]) + frame(TEXT)[1:]),
            (1007, frame(TEXT, b"\xff")),
        ):
            with self.subTest(code=code, wrong=wrong):
                self.setUp()
                client = self.connect()
                client.connection.send(wrong)
                self.server.advance(2 * self.server.settings.linger_timeout + UNTIL_NOTICED)
                client.look()
                if self.says_why:
                    self.assertEqual((client.closed_with or [0])[0], code)
                self.assertTrue(client.connection.closed)
                self.assertEqual(self.app.messages, [])
                self.assert_gone()

    def test_told_of_the_drain(self: Any) -> None:
        """The application learns of a drain, by its transport or by the request if it has that."""
        self.connect()
        told = [draining(each) for each in (self.app.speaker.transport, *self.app.requests)]
        for each in told:
            with self.subTest(each=each):
                self.assertNoResult(each)
        self.server.drain()
        for each in told:
            with self.subTest(each=each):
                self.successResultOf(each)

    def test_takes_its_leave(self: Any) -> None:
        """It may close in its own words, and then nothing is sent away or cut."""
        client = self.connect()

        def goodbye(_: object) -> None:
            self.app.speaker.say("goodbye")
            self.app.speaker.close()

        draining(self.app.speaker.transport).addCallback(goodbye)
        drained = self.server.drain()
        client.look()
        client.connection.close()
        report = self.successResultOf(drained)
        self.assertEqual((client.messages, client.closed_with[0]), (["goodbye"], 1000))
        self.assertEqual((report.sent_away, report.cut, report.seconds), (0, (), 0))

    def test_learns_of_no_later_drain(self: Any) -> None:
        """Of a WebSocket that has ended nothing is kept, and no drain is told to it."""
        client = self.connect()
        begins = draining(self.app.speaker.transport)
        client.connection.close()
        self.server.drain()
        self.assertNoResult(begins)

    def test_sent_away(self: Any) -> None:
        """In a drain the client is told 1001, not before its half, and in time for its answer."""
        client = self.connect()
        drained = self.server.drain()
        settings = self.server.settings
        self.server.advance(settings.drain_timeout / 2)
        client.say("as ever")
        self.assertEqual((client.messages, client.closed_with), (["as ever"], None))
        self.server.advance(settings.drain_timeout / 2 - settings.linger_timeout + UNTIL_NOTICED)
        client.look()
        self.assertEqual(client.closed_with, GOING_AWAY)
        self.assertTrue(client.connection.ended)
        client.connection.close()
        report = self.successResultOf(drained)
        self.assertEqual((report.sent_away, report.cut), (1, ()))
        self.assert_gone()

    def test_client_never_goes(self: Any) -> None:
        """A client that ignores that is ended by the drain's deadline, and that is no cut."""
        client = self.connect(polite=False)
        report = self.server.stop()
        client.look()
        self.assertEqual(client.closed_with, GOING_AWAY)
        self.assertEqual((report.sent_away, report.cut), (1, ()))
        self.assertTrue(client.connection.closed)
        self.assert_gone()

    def test_application_fails(self: Any) -> None:
        """A handler that raises ends that WebSocket, and is logged."""

        def fail(message: object) -> None:
            raise ZeroDivisionError

        other = self.connect()
        client = self.connect()
        self.app.on_message = fail
        client.say("a")
        self.assertEqual(client.closed_with[0], 1011)
        client.connection.close()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(len(self.app.lost), 1)
        del self.app.on_message
        self.app.on_message = lambda message: None
        other.say("b")
        self.assertEqual(self.app.messages, ["a", "b"])

    def test_back_pressure(self: Any) -> None:
        """A producer is paused while the client does not read, and resumed when it does."""
        client = self.connect()
        producer = Producer()
        transport = self.app.speaker.transport
        getattr(transport, "attachProducer", lambda each: transport.registerProducer(each, True))(
            producer
        )
        client.connection.reading = False
        self.app.speaker.say(b"x" * (3 * SEND_BUFFER))
        self.server.turn()
        self.assertEqual(producer.calls, ["pause"])
        client.connection.reading = True
        client.look()
        self.assertEqual(producer.calls, ["pause", "resume"])
        client.connection.abort()
        self.assertEqual(producer.calls[2:], ["stop"])
        self.assert_gone()


class Producer:
    """A producer that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.on_resume: Callable[[], None] = lambda: None

    def pauseProducing(self) -> None:
        """Pause."""
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """Go on."""
        self.calls.append("resume")
        self.on_resume()

    def stopProducing(self) -> None:
        """Stop."""
        self.calls.append("stop")


class TwistedTests(LibraryMixin, Base):
    """Twisted's own WebSocket."""

    make_resource = staticmethod(as_twisted)


class TakingTests(LibraryMixin, Base):
    """A library that takes the transport of the request away."""


class AutobahnTests(LibraryMixin, Base):
    """The library autobahn."""

    make_resource = staticmethod(as_autobahn)
    says_why = False  # by default it drops the connection


class HandshakeTests(Base):
    """The opening handshake, and what may become of it."""

    def setUp(self) -> None:
        """Serve a resource that leaves the answer to the test."""
        super().setUp()
        self.held = Held()
        self.server.site.resource = self.held
        self.raw = self.server.connect()

    def shake_hands(self, more: bytes = b"") -> None:
        """Send the opening handshake, and more with it."""
        self.raw.send(format_request("GET", "/", HANDSHAKE) + more)

    def test_not_taken(self) -> None:
        """A handshake that is answered as any request is one, and the connection lives on."""
        self.shake_hands()
        self.held.request.write(b"no WebSocket here")
        self.held.request.finish()
        self.raw.request("GET", "/")
        self.held.request.finish()
        responses = self.raw.responses()
        self.assertEqual([each.body for each in responses], [b"no WebSocket here", b""])
        self.assertEqual(self.phases, [ConnectionPhase.IDLE])
        self.assertFalse(draining(self.held.request).called)

    def test_refused(self) -> None:
        """A library that has taken the connection may answer otherwise, and close."""
        lines: list[bytes] = []
        self.server.site.access_log = AccessLog("json", self.server.clock, lines.append)
        self.shake_hands()
        protocol = self.held.take(self.app)
        protocol.transport.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        protocol.transport.loseConnection()
        protocol.transport.write(ANSWER)  # which it should not
        [response] = self.raw.responses()
        self.assertEqual((response.status, self.raw.received), (403, b""))
        self.assertTrue(self.raw.ended)
        self.raw.close()
        self.assert_gone()
        [line] = map(json.loads, lines)
        self.assertEqual((line["status"], line.get("outcome")), (403, None))

    def test_client_goes_before_the_answer(self) -> None:
        """A library that has taken the connection is told when that is lost."""
        self.shake_hands()
        self.held.take(self.app)
        self.raw.abort()
        self.assert_gone()

    def test_finished_after_all(self) -> None:
        """So it is when the request is answered in spite of it."""
        self.shake_hands()
        self.held.take(self.app)
        self.held.request.finish()
        self.assertEqual(self.raw.responses()[0].status, 200)
        self.assertEqual((self.phases, len(self.app.lost)), ([ConnectionPhase.IDLE], 1))

    def test_too_late(self) -> None:
        """After ``handler_timeout`` the client gets 503, and no answer of the library any more."""
        self.server = MemoryServer(self.held, handler_timeout=1)
        self.raw = self.server.connect()
        self.shake_hands()
        protocol = self.held.take(self.app)
        self.server.advance(1 + SWEEP_INTERVAL)
        protocol.transport.write(ANSWER)
        [response] = self.raw.responses()
        self.assertEqual((response.status, self.raw.received), (503, b""))
        self.raw.close()
        self.assert_gone()

    def test_cut(self) -> None:
        """Before its answer it is a request, which the drain's deadline may cut."""
        self.shake_hands()
        self.held.take(self.app)
        [cut] = self.server.stop().cut
        self.assertEqual((cut.path, cut.doing), ("/", ConnectionPhase.RESPONDING.value))

    def test_frames_with_the_handshake(self) -> None:
        """A client that does not wait for the answer is heard after the answer, in order."""
        self.shake_hands(frame(TEXT, b"early"))
        protocol = self.held.take(self.app)
        self.server.advance(1)
        self.assertEqual(self.app.messages, [])
        protocol.transport.write(ANSWER)
        self.assertEqual(self.app.messages, [])
        [connection] = self.server.connections
        self.assertFalse(connection._reading)  # or what comes now might be heard first
        self.raw.send(frame(TEXT, b"later"))
        self.assertEqual(self.app.messages, ["early", "later"])

    def test_many_frames_with_the_handshake(self) -> None:
        """Those of a client that sends more than is read before the answer are heard after it."""
        sent = frame(BINARY, bytes(3 * SEND_BUFFER))
        self.shake_hands(sent)
        protocol = self.held.take(self.app)
        protocol.transport.write(ANSWER)
        self.server.turn()
        self.assertEqual(self.app.messages, [bytes(3 * SEND_BUFFER)])

    def test_paused_before_the_answer(self) -> None:
        """A library may pause what arrives before it answers, and resume it later."""
        self.shake_hands(frame(TEXT, b"early"))
        protocol = self.held.take(self.app)
        protocol.transport.pauseProducing()
        protocol.transport.write(ANSWER)
        self.raw.send(frame(TEXT, b"a"))
        self.assertEqual(self.app.messages, ["early"])
        protocol.transport.resumeProducing()
        self.server.turn()
        self.assertEqual(self.app.messages, ["early", "a"])

    def test_lost_in_the_moment_of_the_answer(self) -> None:
        """Frames that came with the handshake are not given to one that was told of the end."""
        self.shake_hands(frame(TEXT, b"early"))
        protocol = self.held.take(self.app)
        protocol.transport.write(ANSWER)
        protocol.transport.abortConnection()
        self.server.turn()
        self.assertEqual(self.app.messages, [])
        self.assert_gone()

    def test_half_closed(self) -> None:
        """A client that closed its side with the handshake is answered, heard, and closed."""
        self.shake_hands(frame(TEXT, b"early"))
        self.raw.finish()
        self.held.take(self.app).transport.write(ANSWER)
        self.assertTrue(self.raw.ended)
        self.assertEqual(self.app.messages, ["early"])
        self.assert_gone()

    def test_message_with_the_answer(self) -> None:
        """A library may write its first frames together with the answer."""
        self.shake_hands()
        self.held.take(self.app).transport.writeSequence([ANSWER, frame(TEXT, b"a", masked=False)])
        self.assertEqual(self.raw.take(), ANSWER + frame(TEXT, b"a", masked=False))

    def test_other_protocols(self) -> None:
        """An upgrade to another protocol is not taken for a WebSocket."""
        self.raw.request("GET", "/", {"Connection": "Upgrade", "Upgrade": "h2c"})
        self.held.request.finish()
        self.assertEqual(self.raw.responses()[0].status, 200)

    def test_other_protocol_takes_the_connection(self) -> None:
        """A protocol of any other kind that takes a connection away does not hold a drain."""
        self.raw.request("GET", "/", {"Connection": "Upgrade", "Upgrade": "other"})
        protocol = self.held.take(self.app)
        protocol.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\nanything")
        self.assertTrue(self.raw.received.endswith(b"anything"))
        [cut] = self.server.stop().cut
        self.assertEqual((cut.path, cut.doing), ("/", ConnectionPhase.RESPONDING.value))
        self.assertTrue(self.raw.reset)
        self.assert_gone()

    def test_pipelined(self) -> None:
        """A request that waits behind an answered handshake is answered too."""
        self.shake_hands(format_request("GET", "/", HANDSHAKE))
        first = self.held.request
        first.finish()
        self.assertIsNot(self.held.request, first)
        protocol = self.held.take(self.app)
        protocol.transport.write(ANSWER)
        self.assertEqual(self.phases, [ConnectionPhase.WEBSOCKET])
        self.raw.send(frame(TEXT, b"a"))
        self.assertEqual(self.app.messages, ["a"])


class FailingStartTests(Base):
    """An application that fails as soon as its WebSocket is open."""

    make_resource = staticmethod(as_twisted)

    def test_fails(self) -> None:
        """The client gets 1011, and nothing of an error page between the frames."""

        def fail() -> None:
            raise ZeroDivisionError

        self.app.on_open = fail
        lines: list[bytes] = []
        self.server.site.access_log = AccessLog("json", self.server.clock, lines.append)
        client = self.connect()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual((client.closed_with, client.messages), ((1011, ""), []))
        client.connection.close()
        self.assert_gone()
        self.assertEqual([json.loads(each)["status"] for each in lines], [101])

    def test_through_klein(self) -> None:
        """A Klein app may return a resource of WebSockets."""
        try:
            from klein import Klein
        except ImportError as error:
            raise SkipTest(f"Klein is not installed: {error}") from None
        app, resource = Klein(), self.server.site.resource
        app.route("/", branch=True)(lambda request: resource)
        self.server.site.resource = app.resource()
        client = self.connect()
        client.say("a")
        self.assertEqual((self.phases, client.messages), ([ConnectionPhase.WEBSOCKET], ["a"]))


class KeepAliveTests(Base):
    """Clients that say nothing, or are not there any more."""

    settings = {"websocket_ping_interval": 10, "websocket_ping_timeout": 5}

    def test_pinged(self) -> None:
        """A silent client is pinged every interval; the application sees no pong to that."""
        client = self.connect()
        self.pass_time(35)
        self.assertEqual(len(client.pings), 3)
        self.assertEqual(self.app.pongs, [])
        client.send(Pong(b"another"))
        self.assertEqual(self.app.pongs, [b"another"])

    def test_not_silent(self) -> None:
        """A client that says something is not pinged."""
        client = self.connect()
        for _ in range(30):
            self.pass_time(1)
            client.say("a")
        self.assertEqual(client.pings, [])

    def test_no_pong(self) -> None:
        """A client that does not answer is closed with 1011, and the application told."""
        client = self.connect(polite=False)
        self.pass_time(10 + 5 + 1)
        self.assertEqual(client.closed_with, (1011, "no answer to a ping"))
        self.assertEqual(self.server.connections.limits, {"websocket_ping_timeout": 1})
        self.assertTrue(client.connection.closed)
        self.assert_gone()

    def test_anything_is_a_sign_of_life(self) -> None:
        """A client that is in the middle of a message need not put a pong into it."""
        client = self.connect(polite=False)
        for byte in frame(TEXT, b"a" * 30):
            self.pass_time(1)
            client.connection.send(bytes([byte]))
        self.assertEqual(self.phases, [ConnectionPhase.WEBSOCKET])

    def test_gone_without_a_word(self) -> None:
        """A client whose network is gone, and which takes nothing, is ended likewise."""
        client = self.connect(polite=False)
        client.connection.reading = False
        self.server.advance(10 + 5 + 1)
        self.assertTrue(client.connection.closed)
        self.assert_gone()

    def test_ping_behind_a_download(self) -> None:
        """While a slow client still receives what was sent before the ping, it need not answer."""
        client = self.connect(polite=False)
        client.connection.reading = False
        self.app.speaker.say(b"x" * 15_000)
        self.server.turn()
        for _ in range(200):
            self.server.advance(0.25)
            client.connection.take_some(70)
        self.assertEqual(self.phases, [ConnectionPhase.WEBSOCKET])
        self.server.advance(6)
        self.assertEqual(self.phases, [])

    def test_kernel_alone(self) -> None:
        """A kernel that takes all that is sent is no sign of life of its process."""
        self.connect(polite=False)
        for _ in range(10 + 5 + 1):
            self.app.speaker.say("news")
            self.pass_time(1)
        self.assert_gone()


class NoKeepAliveTests(Base):
    """What of it is turned off."""

    def test_no_pings(self) -> None:
        """With an interval of 0 nobody is pinged, and silence has no end."""
        self.settings = {"websocket_ping_interval": 0}
        self.setUp()
        client = self.connect(polite=False)
        self.pass_time(3600)
        self.assertEqual((client.pings, self.phases), ([], [ConnectionPhase.WEBSOCKET]))

    def test_no_timeout(self) -> None:
        """With a timeout of 0 clients are pinged, and need not answer."""
        self.settings = {"websocket_ping_interval": 10, "websocket_ping_timeout": 0}
        self.setUp()
        client = self.connect(polite=False)
        self.pass_time(35)
        self.assertEqual((len(client.pings), self.phases), (3, [ConnectionPhase.WEBSOCKET]))


class GoingAwayTests(Base):
    """The close with 1001, and what happens around it."""

    settings = {"drain_timeout": 30, "linger_timeout": 2}

    def test_evenly(self) -> None:
        """Clients are sent away one by one, over the second half of the drain."""
        clients = [WebSocketClient(self.server) for _ in range(26)]
        drained = self.server.drain()
        told = []
        for _ in range(30):
            self.server.advance(1)
            for each in clients:
                each.look()
                if each.closed_with:
                    each.connection.close()
            told.append(sum(each.closed_with == GOING_AWAY for each in clients))
        self.assertEqual(told[:15], [0] * 15)
        self.assertEqual(told[15:28], list(range(2, 28, 2)))
        report = self.successResultOf(drained)
        self.assertEqual((report.sent_away, report.cut), (26, ()))
        self.assertLess(report.seconds, 29)

    def test_some_leave_on_their_own(self) -> None:
        """Who leaves on its own gives the others more time."""
        clients = [WebSocketClient(self.server) for _ in range(4)]
        self.server.drain()
        self.server.advance(16)
        for each in clients[:2]:
            each.connection.close()
        self.server.advance(5)  # half of the time is over, and half of them are gone
        for each in clients[2:]:
            each.look()
            self.assertIsNone(each.closed_with)

    def test_opened_in_the_drain(self) -> None:
        """A WebSocket that is opened after all others were sent away is sent away at once."""
        self.settings = {"drain_timeout": 30, "read_header_timeout": 0}
        self.setUp()
        connection = self.server.connect()
        request = format_request("GET", "/", HANDSHAKE)
        connection.send(request[:-1])
        self.server.drain()
        self.server.advance(28 + SWEEP_INTERVAL)
        connection.send(request[-1:])
        self.server.advance(SWEEP_INTERVAL)
        self.assertTrue(connection.received.endswith(b"\r\n\r\n\x88\x02\x03\xe9"))

    def test_at_once(self) -> None:
        """With no time for a drain they are told, nevertheless, and then ended."""
        self.settings = {"drain_timeout": 0}
        self.setUp()
        client = self.connect(polite=False)
        report = self.server.stop()
        client.look()
        self.assertEqual(client.closed_with, GOING_AWAY)
        self.assertEqual((report.sent_away, report.cut), (1, ()))
        self.assertFalse(client.connection.reset)

    def test_last_words_of_the_application(self) -> None:
        """What the application says in the very moment of the end is sent before that."""
        self.settings = {"drain_timeout": 0}
        self.setUp()
        client = self.connect(polite=False)
        draining(self.app.speaker.transport).addCallback(lambda _: self.app.speaker.say("bye"))
        self.server.stop()
        client.look()
        self.assertEqual((client.messages, client.closed_with), (["bye"], GOING_AWAY))

    def test_ended_while_it_receives(self) -> None:
        """A message that the deadline destroys is a cut, as of any answer."""
        client = self.connect(polite=False)
        self.server.drain()
        self.server.advance(28 - SWEEP_INTERVAL)
        client.connection.reading = False
        self.app.speaker.say(b"x" * (2 * SEND_BUFFER))
        report = self.server.stop()
        [cut] = report.cut
        self.assertEqual(
            (cut.method, cut.path, cut.doing), ("GET", "/", ConnectionPhase.WEBSOCKET_CLOSING.value)
        )
        self.assertTrue(client.connection.reset)
        self.assert_gone()

    def test_heard_until_it_answers(self) -> None:
        """What the client says before its own Close frame arrives; the answer is not sent."""
        client = self.connect(polite=False)
        self.server.drain()
        self.server.advance(28 + SWEEP_INTERVAL)
        client.look()
        self.assertEqual(client.closed_with, GOING_AWAY)
        client.connection.send(frame(TEXT, b"one more") + frame(PING, b"there?"))
        self.assertEqual(self.app.messages, ["one more"])
        self.assertEqual(client.connection.take(), b"")
        client.connection.send(frame(CLOSE, (1001).to_bytes(2, "big")))
        self.assertTrue(client.connection.ended)
        self.assertEqual(client.connection.take(), b"")

    def test_resumed(self) -> None:
        """When a drain is given up, who was told goes, and who was not stays."""
        first = self.connect()
        self.server.advance(1)
        second = self.connect()
        self.server.drain()
        self.server.advance(22)
        self.server.connections.resume()
        self.server.advance(10)
        for each in (first, second):
            each.look()
        self.assertEqual([first.closed_with, second.closed_with], [GOING_AWAY, None])
        self.assertEqual(self.phases, [ConnectionPhase.WEBSOCKET])

    def test_within_a_frame_of_the_application(self) -> None:
        """A frame that is sent in pieces is not broken: its end is waited for."""
        client = self.connect(polite=False)
        whole = frame(TEXT, b"abcdef", masked=False)
        transport = self.app.speaker.transport
        transport.write(whole[:1])
        transport.write(whole[1:4])
        self.server.drain()
        self.server.advance(28 + SWEEP_INTERVAL)
        transport.write(whole[4:])
        client.look()
        self.assertEqual((client.messages, client.closed_with), (["abcdef"], None))
        self.server.advance(SWEEP_INTERVAL)
        client.look()
        self.assertEqual(client.closed_with, GOING_AWAY)


class FlowTests(Base):
    """Clients and applications that do not keep up."""

    settings = {"websocket_ping_interval": 0}

    def test_slow_reader(self) -> None:
        """A client that does not read is ended after ``write_timeout``, and that is logged."""
        client = self.connect(polite=False)
        client.connection.reading = False
        self.app.speaker.say(b"x" * (3 * SEND_BUFFER))
        self.server.advance(self.server.settings.write_timeout + UNTIL_NOTICED)
        self.assertTrue(client.connection.reset)
        self.assert_gone()

    def test_not_heard_while_it_does_not_read(self) -> None:
        """What a client sends waits, as long as it does not read what it gets for it."""
        client = self.connect(polite=False)
        client.connection.reading = False
        for _ in range(20):
            client.connection.send(frame(BINARY, bytes(SEND_BUFFER)))
        heard = len(self.app.messages)
        self.assertLess(heard, 20)
        self.assertGreater(heard, 15)  # a MiB of answers, and what the kernel holds
        client.connection.reading = True
        self.server.turn()
        self.assertEqual(len(self.app.messages), 20)

    def test_a_flood_takes_turns(self) -> None:
        """Of many small frames some are passed on at once, and others have their turn between."""
        client = self.connect(polite=False)
        order: list[str] = []

        def on_message(message: str | bytes) -> None:
            if not order:
                self.server.clock.callLater(0, order.append, "another's turn")
            order.append("message")

        self.app.on_message = on_message
        client.connection.send(frame(BINARY, b"a") * 2000)
        self.assertEqual(order.count("message"), 2000)
        self.assertLess(order.index("another's turn"), 300)
        self.app.messages.clear()
        client.connection.send(frame(BINARY, b"a") * 2000)
        self.assertEqual(len(self.app.messages), 2000)  # it is still read from

    def test_a_flood_can_be_paused(self) -> None:
        """An application that wants no more in the middle of it gets none."""
        client = self.connect(polite=False)
        connection: Any
        [connection] = self.server.connections
        self.app.on_message = lambda message: connection.app_transport.pauseProducing()
        client.connection.send(frame(BINARY, b"a") * 2000)
        self.assertLess(len(self.app.messages), 300)
        self.app.on_message = lambda message: None
        connection.app_transport.resumeProducing()
        self.server.turn()
        self.assertEqual(len(self.app.messages), 2000)

    def test_end_of_a_flood(self) -> None:
        """What came before the end of the client's side is passed on."""
        client = self.connect(polite=False)
        self.app.on_message = lambda message: None
        client.connection.arrive(frame(BINARY, b"a") * 2000)
        client.connection.finish()
        self.assertEqual(len(self.app.messages), 2000)

    def test_failing_producer(self) -> None:
        """A producer that fails closes its WebSocket, as an application that fails does."""
        client = self.connect()
        producer = Producer()

        def fail() -> None:
            raise ValueError("as the test wants it")

        producer.on_resume = fail
        client.connection.reading = False
        self.app.speaker.transport.registerProducer(producer, True)
        self.app.speaker.say(b"x" * (3 * SEND_BUFFER))
        client.connection.reading = True
        client.look()
        self.assertEqual(client.closed_with, (1011, ""))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_heard_while_it_is_sent_to(self) -> None:
        """A producer that always has more does not keep the client from being heard."""
        client = self.connect()
        producer = Producer()
        producer.on_resume = lambda: self.app.speaker.say(b"x" * (3 * SEND_BUFFER))
        self.app.on_message = lambda message: self.app.speaker.close()
        self.app.speaker.transport.registerProducer(producer, True)
        client.connection.reading = False
        producer.on_resume()
        client.say("stop")
        client.connection.reading = True
        client.look()
        self.assertEqual((self.app.messages, client.closed_with), (["stop"], (1000, "")))

    def test_paused_by_the_application(self) -> None:
        """The application may pause what arrives."""
        client = self.connect()
        self.app.speaker.transport.pauseProducing()
        client.say("a")
        self.assertEqual(self.app.messages, [])
        self.app.speaker.transport.resumeProducing()
        self.server.turn()
        self.assertEqual(self.app.messages, ["a"])

    def test_closed_while_paused(self) -> None:
        """A close reads on, to see the client's."""
        client = self.connect()
        for call in ("pauseProducing", "stopProducing", "pauseProducing"):
            getattr(self.app.speaker.transport, call)()
        client.connection.close()
        self.assert_gone()

    def test_one_producer(self) -> None:
        """A second producer is an error, as with every transport."""
        self.connect()
        transport = self.app.speaker.transport
        transport.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, transport.registerProducer, Producer(), True)
        transport.unregisterProducer()
        transport.registerProducer(Producer(), True)

    def test_half_closed_by_a_client_that_reads(self) -> None:
        """A client that has closed its side is not sent to without end."""
        client = self.connect(polite=False)
        producer = Producer()
        producer.on_resume = lambda: self.app.speaker.say(b"x" * (2 * SEND_BUFFER))
        self.app.speaker.transport.registerProducer(producer, True)
        client.connection.reading = False
        producer.on_resume()
        client.connection.finish()
        client.connection.reading = True
        self.assertTrue(client.connection.closed)
        self.assertEqual(producer.calls, ["pause", "stop"])
        self.assert_gone()

    def test_late_producer(self) -> None:
        """A producer that comes when the client has not read all is paused at once."""
        client = self.connect(polite=False)
        client.connection.reading = False
        self.app.speaker.say(b"x" * (3 * SEND_BUFFER))
        self.server.turn()
        producer = Producer()
        self.app.speaker.transport.registerProducer(producer, True)
        self.assertEqual(producer.calls, ["pause"])

    def test_pull_producer(self) -> None:
        """A producer that waits to be asked is asked, as fast as the client reads."""
        cooperator = Cooperator(scheduler=lambda call: self.server.clock.callLater(0.1, call))
        # The global one would need the reactor to run.
        module = sys.modules[twisted_internals.PullToPush.__module__]
        self.patch(module, "cooperate", cooperator.cooperate)
        client = self.connect()
        producer = Producer()
        producer.on_resume = lambda: self.app.speaker.say("piece")
        self.app.speaker.transport.registerProducer(producer, False)
        self.server.advance(1)
        client.look()
        self.assertEqual(set(client.messages), {"piece"})
        self.app.speaker.transport.unregisterProducer()
        before = len(producer.calls)
        self.server.advance(1)
        self.assertEqual(len(producer.calls), before)

    def test_library_ignores_a_close(self) -> None:
        """A library that does not answer the client's Close frame does not hold the connection."""
        client = self.connect(polite=False)
        self.app.speaker.dataReceived = lambda data: None
        client.send(CloseConnection(1000))
        self.server.advance(2 * self.server.settings.linger_timeout + UNTIL_NOTICED)
        self.assertTrue(client.connection.closed)
        self.assert_gone()

    def test_lost_handler_fails(self) -> None:
        """An application that fails when it is told of the loss leaves nothing behind."""
        client = self.connect()
        producer = Producer()
        producer.calls = self.app.lost = None  # type: ignore[assignment]
        self.app.speaker.transport.registerProducer(producer, True)
        client.connection.close()
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 2)
        self.assertEqual(len(self.server.connections), 0)
        self.assertEqual(timers_left(self.server), [])


class SizeTests(Base):
    """The limit can be set."""

    settings = {"max_message_size": 10}

    def test_limit(self) -> None:
        """A message may have so many bytes and no more, over all its fragments."""
        client = self.connect()
        client.send(BytesMessage(b"x" * 5, message_finished=False))
        client.send(BytesMessage(b"x" * 5))
        self.assertEqual(self.app.messages, [b"x" * 10])
        client.send(BytesMessage(b"x" * 5, message_finished=False))
        client.send(BytesMessage(b"x" * 6))
        self.assertEqual(client.closed_with, (1009, "a message over 10 bytes"))

    def test_turned_off(self) -> None:
        """0 is no limit."""
        self.settings = {"max_message_size": 0}
        self.setUp()
        client = self.connect()
        client.say(b"x" * (2 << 20))
        self.assertEqual(len(self.app.messages), 1)


class SplitTests(SynchronousTestCase):
    """Bytes come in any pieces."""

    @given(st.lists(st.integers(0, 60), max_size=6))
    @examples
    def test_any_split(self, cuts: list[int]) -> None:
        """Handshake excepted, the same bytes in any pieces are the same messages."""
        test = TakingTests()
        test.setUp()
        client = test.connect(polite=False)
        sent = (
            frame(TEXT, b"ab", final=False)
            + frame(PING, b"p")
            + frame(0, b"c")
            + frame(BINARY, b"d")
            + frame(CLOSE, b"\x03\xe8")
            + frame(TEXT, b"never")
        )
        where = [0, *sorted(cuts), len(sent)]
        for a, b in pairwise(where):
            client.connection.send(sent[a:b])
        self.assertEqual(test.app.messages, ["abc", b"d"])
        self.assertTrue(client.connection.ended)


class Held(Resource):
    """Leaves the answer to the test."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """Keep the request."""
        self.request = request
        return NOT_DONE_YET

    def take(self, app: Application) -> TakingProtocol:
        """Take the connection of the request over, as autobahn does."""
        app.speaker = protocol = TakingProtocol(app)
        transport, self.request.channel.transport = self.request.channel.transport, None
        transport.protocol = protocol
        protocol.makeConnection(transport)
        transport.resumeProducing()
        return protocol
