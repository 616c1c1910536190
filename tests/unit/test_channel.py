"""One connection: its phases, its announced end and its staged close."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from tests.unit.support import examples
from tests.unit.web import Echo, timers_left
from twisted_graceful.http.phases import ConnectionPhase
from twisted_graceful.http.registry import SWEEP_INTERVAL
from twisted_graceful.testing import MemoryConnection, MemoryServer
from twisted_graceful.testing.http_messages import format_request
from twisted_graceful.testing.memory_transport import CLIENT, SEND_BUFFER, SERVER

from ..case import SynchronousTestCase

GET_A = format_request("GET", "/a")
GET_B = format_request("GET", "/b")
POST_C = format_request("POST", "/c", body=b"twelve bytes")
CHUNKED_D = (
    b"POST /d HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\ntwelve\r\n6\r\n bytes\r\n0\r\n\r\n"
)
ANSWERS = {
    GET_A: b"GET /a ",
    GET_B: b"GET /b ",
    POST_C: b"POST /c twelve bytes",
    CHUNKED_D: b"POST /d twelve bytes",
}
A_BIT = 2 * SWEEP_INTERVAL
"""Seconds by which a deadline may be late."""

requests = st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=4)


def phase(server: MemoryServer) -> ConnectionPhase:
    """The phase of the one connection of a server."""
    (connection,) = server.connections
    return connection.phase


@st.composite
def split_streams(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Some requests, and their bytes in chunks of any size."""
    sent = draw(requests)
    stream = b"".join(sent)
    cuts = sorted(draw(st.sets(st.integers(1, len(stream) - 1), max_size=4)))
    edges = [0, *cuts, len(stream)]
    return sent, [stream[start:end] for start, end in pairwise(edges)]


class ChannelTestCase(SynchronousTestCase):
    """What the tests of this module share."""

    def assertAnswers(self, client: MemoryConnection, sent: Sequence[bytes]) -> None:
        """All were answered, in order; the last answer says close, and the FIN follows."""
        responses = client.responses()
        self.assertEqual([each.body for each in responses], [ANSWERS[each] for each in sent])
        said = [each.headers["Connection"] for each in responses]
        self.assertEqual(said, [None] * (len(sent) - 1) + ["close"])
        self.assertEqual((client.received, client.ended), (b"", True))


class PhaseTests(SynchronousTestCase):
    """What a connection is doing."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app)
        self.client = self.server.connect()

    def test_life(self) -> None:
        """A connection is silent, reads, answers, is idle, and reads again."""
        seen = [phase(self.server)]
        for data in (GET_A[:5], GET_A[5:]):
            self.client.send(data)
            seen.append(phase(self.server))
        self.app.answer()
        seen.append(phase(self.server))
        self.client.send(b"G")
        seen.append(phase(self.server))
        self.assertEqual(
            seen,
            [
                ConnectionPhase.SILENT,
                ConnectionPhase.READING,
                ConnectionPhase.RESPONDING,
                ConnectionPhase.IDLE,
                ConnectionPhase.READING,
            ],
        )

    def test_body(self) -> None:
        """A request is being read until its body is complete."""
        self.client.send(POST_C[:-1])
        self.assertIs(phase(self.server), ConnectionPhase.READING)
        self.client.send(POST_C[-1:])
        self.assertIs(phase(self.server), ConnectionPhase.RESPONDING)

    def test_since(self) -> None:
        """A phase knows when it began."""
        self.server.advance(3)
        self.client.send(GET_A)
        (connection,) = self.server.connections
        self.assertEqual(connection.since, 3)

    def test_pipelined(self) -> None:
        """With a second request in the same bytes it goes from one answer to the next."""
        self.client.send(GET_A + GET_B)
        self.app.answer()
        self.assertIs(phase(self.server), ConnectionPhase.RESPONDING)
        self.app.answer()
        self.assertIs(phase(self.server), ConnectionPhase.IDLE)

    def test_begun_after_an_answer(self) -> None:
        """The first bytes of a next head, in the chunk that ends a request, begin it."""
        self.app.hold = False
        for first in (GET_A, POST_C):
            with self.subTest(first=first):
                self.client.send(first + GET_B[:1])
                self.assertIs(phase(self.server), ConnectionPhase.READING)
                self.client.send(GET_B[1:])
                self.assertIs(phase(self.server), ConnectionPhase.IDLE)

    def test_closing(self) -> None:
        """After its last answer a connection is closing, and then it is gone."""
        self.client.send(format_request("GET", "/", {"Connection": "close"}))
        self.app.answer()
        self.assertIs(phase(self.server), ConnectionPhase.CLOSING)
        self.client.close()
        self.assertEqual(len(self.server.connections), 0)

    def test_lost(self) -> None:
        """A connection that the client resets is gone at once, and its request is told."""
        self.client.send(GET_A)
        told = self.app.held[0].notifyFinish()
        self.client.abort()
        self.assertEqual(len(self.server.connections), 0)
        self.failureResultOf(told)


class StrayLineTests(SynchronousTestCase):
    """An empty line after a body begins no request (RFC 9112 section 2.2)."""

    @examples
    @given(st.integers(1, len(POST_C) + 1), st.sampled_from([POST_C, CHUNKED_D, GET_A]))
    def test_any_split(self, split: int, request: bytes) -> None:
        """Wherever the bytes are split, the connection is idle after the stray line."""
        server = MemoryServer(Echo())
        client = server.connect()
        stream = request + b"\r\n"
        client.send(stream[:split])
        client.send(stream[split:])
        self.assertIs(phase(server), ConnectionPhase.IDLE)

    def test_while_answering(self) -> None:
        """One that comes while the answer is made leaves the connection idle after it."""
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        client.send(POST_C)
        client.send(b"\r\n")
        app.answer()
        self.assertIs(phase(server), ConnectionPhase.IDLE)

    def test_drain(self) -> None:
        """A drain closes such a connection as idle, and cuts nothing."""
        server = MemoryServer(Echo())
        client = server.connect()
        client.send(POST_C[:-1])
        client.send(POST_C[-1:] + b"\r\n")
        report = server.stop()
        self.assertEqual((report.closed_idle, report.cut), (1, ()))

    def test_half_a_stray_line(self) -> None:
        """Half a stray line, of which the rest never comes, does not hold a drain either."""
        server = MemoryServer(Echo())
        server.connect().send(POST_C + b"\r")
        self.assertEqual(server.stop().closed_idle, 1)

    def test_then_a_request(self) -> None:
        """The request after the stray line is answered."""
        server = MemoryServer(Echo())
        client = server.connect()
        client.send(POST_C + b"\r\n" + GET_A)
        self.assertEqual([each.body for each in client.responses()][1:], [ANSWERS[GET_A]])


class AnnouncedCloseTests(ChannelTestCase):
    """What was begun is answered, and the last answer says ``Connection: close``."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app)
        self.client = self.server.connect()

    def test_without_a_drain(self) -> None:
        """As long as no drain has begun no answer says close."""
        self.client.send(GET_A)
        self.app.answer()
        (response,) = self.client.responses()
        self.assertIsNone(response.headers["Connection"])
        self.assertFalse(self.client.ended)

    def test_the_application_says_something_else(self) -> None:
        """What else the application says of the connection is passed on, and ends nothing."""
        self.client.send(GET_A)
        self.app.held[0].setHeader("Connection", "keep-alive")
        self.app.answer()
        (response,) = self.client.responses()
        self.assertEqual(response.headers["Connection"], "keep-alive")
        self.assertFalse(self.client.ended)

    def test_being_answered(self) -> None:
        """A request that is being answered when the drain begins gets its answer."""
        self.client.send(GET_A)
        self.server.drain()
        self.app.answer()
        self.assertAnswers(self.client, [GET_A])

    def test_overrides_the_application(self) -> None:
        """What the application said about the connection is replaced."""
        self.client.send(GET_A)
        self.app.held[0].setHeader("Connection", "keep-alive")
        self.server.drain()
        self.app.answer()
        self.assertAnswers(self.client, [GET_A])

    @examples
    @given(st.sampled_from(list(ANSWERS)), st.data())
    def test_half_received(self, request: bytes, data: st.DataObject) -> None:
        """A head half received, or an upload under way, is answered when it is complete."""
        split = data.draw(st.integers(1, len(request) - 1))
        server = MemoryServer(Echo())
        client = server.connect()
        client.send(request[:split])
        server.drain()
        server.advance(4)
        client.send(request[split:])
        self.assertAnswers(client, [request])

    def test_expected_continue(self) -> None:
        """A client that waits for 100 Continue gets it in a drain, and then its answer."""
        head = format_request("POST", "/c", {"Expect": "100-continue", "Content-Length": "12"})
        self.client.send(head[:-2])
        self.server.drain()
        self.client.send(head[-2:])
        self.assertEqual(self.client.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.client.send(b"twelve bytes")
        self.app.answer()
        self.assertAnswers(self.client, [POST_C])

    def test_nothing_is_processed_after_it(self) -> None:
        """What the client sends after the last answer is not processed."""
        self.client.send(GET_A)
        self.server.drain()
        self.app.answer()
        self.client.send(GET_B)
        self.assertEqual(self.app.seen, [ANSWERS[GET_A]])
        self.assertAnswers(self.client, [GET_A])

    def test_nothing_is_processed_after_the_client_said_close(self) -> None:
        """After a request with ``Connection: close`` nothing is processed, drain or not."""
        self.client.send(format_request("GET", "/a", {"Connection": "close"}) + GET_B)
        self.app.answer_all()
        self.assertEqual(self.app.seen, [ANSWERS[GET_A]])
        self.assertAnswers(self.client, [GET_A])

    def test_head_sent_before(self) -> None:
        """A streamed answer that had begun ends whole; one more request is answered."""
        self.client.send(GET_A)
        self.app.held[0].write(b"begin ")
        self.server.drain()
        self.server.advance(10)
        self.app.answer()
        (streamed,) = self.client.responses()
        self.assertEqual(streamed.body, b"begin GET /a ")
        self.assertFalse(self.client.ended)
        self.server.advance(1.5)
        self.client.send(GET_B)
        self.app.answer()
        self.assertAnswers(self.client, [GET_B])

    def test_head_sent_before_and_no_more(self) -> None:
        """After such an answer the connection has the grace, and is then closed."""
        self.client.send(GET_A)
        self.app.held[0].write(b"begin ")
        drained = self.server.drain()
        self.server.advance(10)
        self.app.answer()
        self.server.advance(1.9)
        self.assertFalse(self.client.ended)
        self.server.advance(A_BIT)
        self.assertTrue(self.client.ended)
        self.client.close()
        report = self.successResultOf(drained)
        self.assertEqual((report.answered, report.closed_idle, report.cut), (1, 1, ()))

    def test_the_application_says_close(self) -> None:
        """An application that says close, drain or not, is taken at its word."""
        self.client.send(GET_A + GET_B)
        self.app.held[0].setHeader("Connection", "close")
        self.app.answer_all()
        self.assertAnswers(self.client, [GET_A])

    def test_the_application_gives_up(self) -> None:
        """An application that closes in the middle of its answer ends it without its end."""
        self.client.send(GET_A + GET_B)
        self.app.held[0].write(b"begin ")
        self.app.held[0].loseConnection()
        self.assertEqual((self.client.responses(), self.client.ended), ([], True))
        self.assertEqual(len(self.app.seen), 1)
        self.app.answer()  # which the client does not see any more
        self.client.close()
        self.assertEqual(len(self.server.connections), 0)

    def test_switched_protocols(self) -> None:
        """A 101 answer does not say close: the connection lives on in another protocol."""
        self.client.send(
            format_request("GET", "/", {"Connection": "Upgrade", "Upgrade": "another"})
        )
        self.server.drain()
        request = self.app.held.pop()
        request.setResponseCode(101)
        request.setHeader("Connection", "Upgrade")
        request.write(b"")
        head = self.client.received
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        self.assertIn(b"Connection: Upgrade\r\n", head)
        self.assertNotIn(b"close", head)
        self.assertFalse(self.client.ended)


class PipelineTests(ChannelTestCase):
    """Pipelined requests that were received before the drain are all answered, in order."""

    @examples
    @given(split_streams())
    def test_answers_that_take_time(self, stream: tuple[list[bytes], list[bytes]]) -> None:
        """They are when the drain begins before the first answer, at any split."""
        sent, chunks = stream
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        for chunk in chunks:
            client.send(chunk)
        server.drain()
        app.answer_all()
        self.assertAnswers(client, sent)

    @examples
    @given(split_streams())
    def test_drain_between_chunks(self, stream: tuple[list[bytes], list[bytes]]) -> None:
        """They are when the drain begins before the last bytes of the last one."""
        sent, chunks = stream
        assume(len(chunks[-1]) < len(sent[-1]))  # it was begun before the drain
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        for chunk in chunks[:-1]:
            client.send(chunk)
        server.drain()
        client.send(chunks[-1])
        app.answer_all()
        self.assertAnswers(client, sent)

    @examples
    @given(requests, st.data())
    def test_answers_at_once(self, sent: list[bytes], data: st.DataObject) -> None:
        """They are when each is answered at once, and the last was half received."""
        half = data.draw(st.integers(1, len(sent[-1]) - 1))
        server = MemoryServer(Echo())
        client = server.connect()
        stream = b"".join(sent)
        client.send(stream[: len(stream) - half])
        server.drain()
        client.send(stream[len(stream) - half :])
        self.assertAnswers(client, sent)

    @examples
    @given(requests)
    def test_in_the_kernel(self, sent: list[bytes]) -> None:
        """They are when they have arrived, but we have not read them yet."""
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        client.send(sent[0])
        server.drain()
        client.arrive(b"".join(sent[1:]))
        while app.held:
            app.answer()
            server.turn()
        self.assertAnswers(client, sent)

    def test_many(self) -> None:
        """They are when there are so many that we stopped reading."""
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        sent = [GET_A, POST_C] * 1000
        client.send(b"".join(sent))
        server.drain()
        for _ in sent:
            app.answer()
            server.turn()
        self.assertAnswers(client, sent)


class HalfCloseTests(ChannelTestCase):
    """A client may close its sending side and wait (RFC 9112 section 9.6)."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app)
        self.client = self.server.connect()

    def test_waits_for_its_answer(self) -> None:
        """A client that finishes sending gets its answer, which says close, and our close."""
        self.client.send(GET_A)
        self.client.finish()
        self.assertFalse(self.client.closed)
        self.app.answer()
        self.assertAnswers(self.client, [GET_A])
        self.assertTrue(self.client.closed)

    def test_head_sent_before(self) -> None:
        """An answer that had begun before the client finished ends whole, and then we close."""
        self.client.send(GET_A)
        self.app.held[0].write(b"begin ")
        self.client.finish()
        self.app.answer()
        (response,) = self.client.responses()
        self.assertEqual(response.body, b"begin GET /a ")
        self.assertEqual((self.client.closed, self.client.reset), (True, False))

    def test_pipelined(self) -> None:
        """Each request that was sent before the half-close is answered."""
        self.client.send(GET_A + POST_C + GET_B)
        self.client.finish()
        self.app.answer_all()
        self.assertAnswers(self.client, [GET_A, POST_C, GET_B])
        self.assertTrue(self.client.closed)

    def test_with_nothing_begun(self) -> None:
        """Without a request under way a half-close is answered by our close."""
        silent, idle = self.server.connect(), self.client
        idle.send(GET_A)
        self.app.answer()
        for client in (silent, idle):
            with self.subTest(client=client):
                client.finish()
                self.assertTrue(client.closed)

    def test_half_a_request(self) -> None:
        """Half a request, and no more to come, is closed, and the application not asked."""
        for half in (GET_A[:-1], POST_C[:-1]):
            with self.subTest(half=half):
                client = self.server.connect()
                client.send(half)
                client.finish()
                self.assertTrue(client.closed)
        self.assertEqual(self.app.seen, [])

    def test_in_a_drain(self) -> None:
        """In a drain too a half-closed client gets its answer, and is not cut."""
        self.client.send(GET_A)
        self.client.finish()
        drained = self.server.drain()
        self.app.answer()
        self.assertAnswers(self.client, [GET_A])
        self.assertEqual(self.successResultOf(drained).cut, ())

    def test_large_answer(self) -> None:
        """A half-closed client gets the whole of an answer that it is slow to read."""
        self.client.reading = False
        self.client.send(GET_A)
        self.client.finish()
        request = self.app.held.pop()
        request.write(b"x" * 3 * SEND_BUFFER)
        request.finish()
        self.server.advance(4)
        self.client.reading = True
        (response,) = self.client.responses()
        self.assertEqual(len(response.body), 3 * SEND_BUFFER)
        self.assertEqual((self.client.closed, self.client.reset), (True, False))

    def test_pipelined_and_slow(self) -> None:
        """Each request that was sent before it is answered, however slowly the client reads."""
        self.app.hold = False
        self.client.reading = False
        large = format_request("POST", "/large", body=b"x" * 3 * SEND_BUFFER)
        self.client.send(large + GET_A)
        self.client.finish()
        self.server.advance(4)
        self.client.reading = True
        bodies = [each.body for each in self.client.responses()]
        self.assertEqual((len(bodies), bodies[-1]), (2, ANSWERS[GET_A]))
        self.assertEqual((self.client.closed, self.client.reset), (True, False))


class AnswerTests(SynchronousTestCase):
    """What an application learns, and what every answer has."""

    def test_date(self) -> None:
        """Every answer has the date, to the second, and the name of the server."""
        server = MemoryServer(Echo())
        for seconds, date in ((0.5, "00:00:00"), (0.4, "00:00:00"), (61, "00:01:01")):
            with self.subTest(seconds=seconds, date=date):
                server.advance(seconds)
                headers = server.get("/").headers
                self.assertEqual(headers.get_all("Date"), [f"Thu, 01 Jan 1970 {date} GMT"])
                self.assertEqual(len(headers.get_all("Server") or ()), 1)

    def test_addresses(self) -> None:
        """The application can learn the address of its client, and its own."""
        app = Echo(hold=True)
        client = MemoryServer(app).connect()
        client.send(GET_A)
        (request,) = app.held
        self.assertEqual(request.getClientAddress(), IPv4Address("TCP", *CLIENT))
        self.assertEqual(request.getHost(), IPv4Address("TCP", *SERVER))
        self.assertEqual(request.channel.getPeer(), request.getClientAddress())
        self.assertFalse(request.isSecure())


class StagedCloseTests(ChannelTestCase):
    """Our FIN first, then the client's, so that no answer is destroyed by a reset."""

    def setUp(self) -> None:
        """Connect a client."""
        self.server = MemoryServer(Echo())
        self.client = self.server.connect()
        self.client.send(format_request("GET", "/a", {"Connection": "close"}))

    def test_waits_for_the_client(self) -> None:
        """After the last answer comes our FIN, and the socket stays open for the client's."""
        self.assertEqual((self.client.ended, self.client.closed), (True, False))
        self.client.close()
        self.assertEqual((self.client.closed, self.client.reset), (True, False))

    def test_discards(self) -> None:
        """What the client still sends is read and thrown away, so that no reset is sent."""
        self.client.send(GET_B * 1000)
        self.client.close()
        self.assertAnswers(self.client, [GET_A])
        self.assertEqual((self.client.closed, self.client.reset), (True, False))

    def test_discards_what_had_to_wait(self) -> None:
        """So is what the client sent while it was answered, and which we had stopped to read."""
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        client.send(format_request("GET", "/a", {"Connection": "close"}))
        for _ in range(10):
            client.send(b"x" * SEND_BUFFER)
        app.answer()
        self.assertAnswers(client, [GET_A])
        client.close()
        self.assertEqual((client.closed, client.reset), (True, False))

    def test_discards_the_rest_of_an_upload(self) -> None:
        """So is the rest of an upload after an answer that came early."""
        client = self.server.connect()
        client.send(b"POST /c HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n")
        client.send(b"x" * 100_000)
        client.close()
        self.assertTrue(client.received.startswith(b"HTTP/1.1 400 "))
        self.assertEqual((client.closed, client.reset), (True, False))

    def test_linger_timeout(self) -> None:
        """A client that does not close is closed after ``linger_timeout``, and not before."""
        self.server.advance(1.9)
        self.assertFalse(self.client.closed)
        self.server.advance(A_BIT)
        self.assertEqual((self.client.closed, len(self.server.connections)), (True, 0))

    def test_linger_goes_on_while_the_client_sends(self) -> None:
        """A client that is in the midst of an upload has time to come to the answer, up to 30 s."""
        for seconds in (10, 29.5):
            with self.subTest(seconds=seconds):
                client = self.server.connect()
                client.send(b"POST /c HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n")
                for _ in range(int(seconds / 0.5)):
                    client.send(b"x" * 1000)
                    self.server.advance(0.5)
                self.assertFalse(client.closed)
        for _ in range(3):
            client.send(b"x" * 1000)
            self.server.advance(0.5)
        self.assertTrue(client.closed)

    def test_no_linger(self) -> None:
        """With a ``linger_timeout`` of 0 nobody is waited for."""
        client = MemoryServer(Echo(), linger_timeout=0).connect()
        client.send(format_request("GET", "/a", {"Connection": "close"}))
        self.assertEqual((client.closed, len(client.responses())), (True, 1))

    def test_linger_begins_with_the_fin(self) -> None:
        """A client that reads slowly has the whole of ``linger_timeout`` after our FIN."""
        client = self.server.connect()
        client.reading = False
        client.send(format_request("POST", "/", {"Connection": "close"}, b"x" * 2 * SEND_BUFFER))
        self.server.advance(4)
        self.assertFalse(client.closed)
        client.reading = True
        self.server.advance(1.9)
        self.assertEqual((client.ended, client.closed), (True, False))
        self.server.advance(A_BIT)
        self.assertTrue(client.closed)

    def test_client_finishes_first(self) -> None:
        """A client that has finished and then reads slowly gets all, and then our close."""
        client = self.server.connect()
        client.reading = False
        client.send(format_request("POST", "/", {"Connection": "close"}, b"x" * 2 * SEND_BUFFER))
        client.finish()
        self.server.advance(4)
        self.assertFalse(client.closed)
        client.reading = True
        self.assertEqual(len(client.responses()), 1)
        self.assertEqual((client.closed, client.reset), (True, False))

    def test_closed_twice(self) -> None:
        """A second close of a connection that is closing does nothing."""
        (connection,) = self.server.connections
        connection.loseConnection()
        self.server.advance(2 + A_BIT)
        self.assertEqual((self.client.closed, self.client.reset), (True, False))


class OldClientTests(SynchronousTestCase):
    """A connection of HTTP/1.0 persists only if the client asks for that."""

    def test_answered_and_closed(self) -> None:
        """A request of HTTP/1.0 is answered, and the connection is closed."""
        client = MemoryServer(Echo()).connect()
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        (response,) = client.responses()
        self.assertEqual((response.body, client.ended), (ANSWERS[GET_A], True))

    def test_streamed_in_a_drain(self) -> None:
        """Its answer without a length ends with our FIN, in a drain too, and says close."""
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        drained = server.drain()
        app.answer()
        (response,) = client.responses()
        self.assertEqual((response.body, client.ended), (ANSWERS[GET_A], True))
        self.assertEqual(response.headers["Connection"], "close")
        self.assertIsNone(response.headers["Transfer-Encoding"])
        client.close()
        self.assertEqual(self.successResultOf(drained).answered, 1)


class BadRequestTests(SynchronousTestCase):
    """What is not HTTP is refused, and the connection closed."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Echo()
        self.server = MemoryServer(self.app)
        self.client = self.server.connect()

    def test_refused(self) -> None:
        """A bad head is answered by 400, a FIN and then a close; nothing after it is read."""
        self.client.send(b"nonsense\r\n\r\n" + GET_A)
        (response,) = self.client.responses()
        self.assertEqual((response.status, response.headers["Connection"]), (400, "close"))
        self.assertEqual((self.client.ended, self.client.closed), (True, False))
        self.assertEqual(self.app.seen, [])
        self.server.advance(2 + A_BIT)
        self.assertEqual(len(self.server.connections), 0)

    def test_too_long(self) -> None:
        """A line without end is refused before its end, and the registry forgets it."""
        self.client.send(b"GET /" + b"a" * 20_000)
        self.assertEqual([each.status for each in self.client.responses()], [414])
        self.server.advance(2 + A_BIT)
        self.assertEqual((self.client.closed, len(self.server.connections)), (True, 0))

    def test_after_answers(self) -> None:
        """What was pipelined before it is answered; the refusal comes after, and is the last."""
        self.app.hold = True
        self.client.send(GET_A + POST_C + b"nonsense\r\n\r\n" + GET_B)
        self.app.answer_all()
        self.assertEqual([each.status for each in self.client.responses()], [200, 200, 400])
        self.assertEqual(self.app.seen, [ANSWERS[GET_A], ANSWERS[POST_C]])

    def test_bad_body(self) -> None:
        """A body that is malformed is refused, and does not reach the application."""
        self.client.send(CHUNKED_D.replace(b"6\r\ntwelve", b"6\r\ntwelve!"))
        self.assertEqual([each.status for each in self.client.responses()], [400])
        self.assertEqual((self.client.ended, self.app.seen), (True, []))

    def test_in_a_drain(self) -> None:
        """A bad request does not hold a drain."""
        self.client.send(b"non")
        drained = self.server.drain()
        self.client.send(b"sense\r\n\r\n")
        self.client.close()
        self.assertEqual(self.successResultOf(drained).cut, ())


class TimeoutTests(SynchronousTestCase):
    """No client can hold a connection for ever."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(
            self.app,
            read_header_timeout=4,
            read_timeout=3,
            write_timeout=6,
            handler_timeout=8,
            half_close_timeout=7,
            idle_timeout=10,
        )
        self.client = self.server.connect()

    def assertRefused(self, status: int) -> None:
        """The client is told why, and that this is the end."""
        (response,) = self.client.responses()
        self.assertEqual((response.status, response.headers["Connection"]), (status, "close"))
        self.assertTrue(self.client.ended)

    def test_silent(self) -> None:
        """A connection that never sends a byte is closed after ``read_header_timeout``."""
        self.server.advance(3.9)
        self.assertFalse(self.client.ended)
        self.server.advance(A_BIT)
        self.assertEqual((self.client.received, self.client.ended), (b"", True))
        self.assertFalse(self.client.closed)
        self.server.advance(2 + A_BIT)
        self.assertEqual(len(self.server.connections), 0)

    def test_idle(self) -> None:
        """Between requests it is closed ``idle_timeout`` after the last answer."""
        self.client.send(GET_A)
        self.server.advance(3)
        self.app.answer()
        self.client.responses()
        self.server.advance(9.9)
        self.assertFalse(self.client.ended)
        self.server.advance(A_BIT)
        self.assertEqual((self.client.received, self.client.ended), (b"", True))

    def test_idle_begins_when_the_client_has_read(self) -> None:
        """A client that has not read all of its answer is not idle."""
        server = MemoryServer(Echo(), write_timeout=0, idle_timeout=10)
        client = server.connect()
        client.reading = False
        client.send(GET_A)
        server.advance(30)
        client.reading = True
        self.assertEqual(len(client.responses()), 1)
        server.advance(9)
        self.assertFalse(client.ended)
        server.advance(1 + A_BIT)
        self.assertTrue(client.ended)

    def test_not_read_yet(self) -> None:
        """A request that has arrived, but was not read yet, when the time is over is answered."""
        self.client.send(GET_B)
        self.app.answer()
        self.client.responses()
        for client, wait in ((self.server.connect(), 4), (self.client, 10)):
            with self.subTest(client=client, wait=wait):
                client.arrive(GET_A)
                # As after a turn of the reactor that was too long: timers run before the reads.
                for _ in range(int((wait + A_BIT) / SWEEP_INTERVAL)):
                    self.server.clock.advance(SWEEP_INTERVAL)
                self.server.turn()
                self.app.answer_all()
                self.assertEqual([each.body for each in client.responses()], [ANSWERS[GET_A]])

    def test_head(self) -> None:
        """A head that takes longer than ``read_header_timeout``, drop by drop, is answered 408."""
        for byte in GET_A[:4]:
            self.client.send(bytes([byte]))
            self.server.advance(1)
        self.server.advance(A_BIT)
        self.assertRefused(408)

    def test_body_that_stands_still(self) -> None:
        """A body of which nothing comes for ``read_timeout`` is answered 408."""
        self.client.send(POST_C[:-1])
        self.server.advance(2.9)
        self.assertFalse(self.client.ended)
        self.server.advance(A_BIT)
        self.assertRefused(408)

    def test_steady_body(self) -> None:
        """A body that keeps coming fast enough may take as long as it likes."""
        body = b"x" * 1000
        self.client.send(format_request("POST", "/", {"Content-Length": "20000"}))
        for _ in range(20):
            self.server.advance(2)
            self.client.send(body)
        self.app.answer()
        self.assertEqual(len(self.client.responses()), 1)

    def test_application(self) -> None:
        """An answer that does not begin in ``handler_timeout`` is 503; the application is told."""
        self.client.send(GET_A)
        told = self.app.held[0].notifyFinish()
        self.server.advance(7.9)
        self.assertFalse(self.client.ended)
        self.server.advance(A_BIT)
        self.assertRefused(503)
        self.failureResultOf(told)

    def test_half_closed(self) -> None:
        """A half-closed client, who may be gone, is closed if nothing is sent to it for a time."""
        self.client.send(GET_A)
        told = self.app.held[0].notifyFinish()
        self.app.held[0].write(b"begin ")
        self.client.finish()
        self.server.advance(6.9)
        self.app.held[0].write(b"again ")
        self.server.advance(6.9)
        self.assertFalse(self.client.closed)
        self.server.advance(2 * A_BIT)
        self.assertTrue(self.client.closed)
        self.failureResultOf(told)

    def test_begun_answer(self) -> None:
        """An answer that has begun may take as long as it likes."""
        self.client.send(GET_A)
        self.app.held[0].write(b"begin ")
        self.server.advance(100)
        self.app.answer()
        self.assertEqual([each.status for each in self.client.responses()], [200])

    def test_reader_that_stands_still(self) -> None:
        """A client that takes nothing of its answer for ``write_timeout`` is reset."""
        for headers in ({}, {"Connection": "close"}):
            with self.subTest(headers=headers):
                client = self.server.connect()
                client.reading = False
                client.send(format_request("POST", "/", headers, b"x" * 2 * SEND_BUFFER))
                self.app.answer()
                self.server.advance(5.5)
                self.assertFalse(client.closed)
                self.server.advance(0.5 + A_BIT)
                self.assertTrue(client.reset)

    def test_reader_of_a_short_answer(self) -> None:
        """So is one whose answer the kernel has taken whole, and which does not take that."""
        self.client.reading = False
        self.client.send(GET_A)
        self.app.answer()
        self.server.advance(5.9)
        self.assertFalse(self.client.closed)
        self.server.advance(A_BIT)
        self.assertTrue(self.client.reset)

    def test_reader_that_drips(self) -> None:
        """So is one that takes less than ``min_rate`` on average, however often it takes some."""
        self.client.reading = False
        self.client.send(format_request("POST", "/", body=b"x" * 2 * SEND_BUFFER))
        self.app.answer()
        for _ in range(5):
            self.server.advance(1)
            self.client.take_some(200)
        self.assertFalse(self.client.closed)
        self.server.advance(1 + A_BIT)
        self.assertTrue(self.client.reset)

    def test_slow_stream(self) -> None:
        """A client that is always a little behind a slow stream, and takes all, is not."""
        self.client.send(GET_A)
        request = self.app.held[0]
        for _ in range(60):
            request.write(b"event\n")
            self.client.reading = False
            self.server.advance(0.5)
            request.write(b"event\n")
            self.client.reading = True
            self.client.take()
        self.assertFalse(self.client.closed)

    def test_rare_stream(self) -> None:
        """Nor is one whose next event comes after a long time."""
        self.client.send(GET_A)
        for _ in range(10):
            self.app.held[0].write(b"event\n")
            self.assertIn(b"event", self.client.take())
            self.server.advance(10)
        self.assertFalse(self.client.closed)

    def test_long_download(self) -> None:
        """Nor is one that takes a large answer slowly, but fast enough, for however long."""
        self.client.reading = False
        self.client.send(format_request("POST", "/", body=b"x" * 2 * SEND_BUFFER))
        self.app.answer()
        for _ in range(200):
            self.server.advance(0.5)
            self.client.take_some(200)
        self.assertFalse(self.client.closed)

    def test_endless(self) -> None:
        """0 means for ever."""
        timeouts = ("read_header", "read", "write", "handler", "idle", "half_close")
        server = MemoryServer(self.app, **{f"{each}_timeout": 0 for each in timeouts})
        silent, reading, uploading, asking, half_closed, idle = (server.connect() for _ in range(6))
        idle.send(GET_A)
        self.app.answer()
        idle.responses()
        reading.send(GET_A[:-1])
        uploading.send(POST_C[:-1])
        asking.send(GET_A)
        half_closed.send(GET_A)
        half_closed.finish()
        server.advance(10_000)
        for client in (silent, reading, uploading, asking, half_closed, idle):
            with self.subTest(client=client):
                self.assertEqual((client.received, client.ended), (b"", False))

    def test_nothing_is_left(self) -> None:
        """A connection that is gone leaves no timer behind."""
        self.client.send(format_request("GET", "/", {"Connection": "close"}))
        self.client.close()
        self.server.connect().close()
        self.app.answer()
        self.assertEqual(timers_left(self.server), [])


class LimitTests(ChannelTestCase):
    """No client can make the server keep more than is allowed."""

    def test_announced_body(self) -> None:
        """A body whose length is over the limit is answered 413 before it has arrived."""
        client = MemoryServer(Echo(), max_body_size=11).connect()
        client.send(POST_C[:-12])
        self.assertEqual([each.status for each in client.responses()], [413])
        self.assertTrue(client.ended)

    def test_chunked_body(self) -> None:
        """A body without a length is answered 413 when it is over the limit."""
        app = Echo()
        client = MemoryServer(app, max_body_size=11).connect()
        client.send(CHUNKED_D)
        self.assertEqual([each.status for each in client.responses()], [413])
        self.assertEqual((client.ended, app.seen), (True, []))

    def test_largest_body(self) -> None:
        """Bodies that are as large as the limit are accepted, each counted for itself."""
        for request in (POST_C, CHUNKED_D):
            with self.subTest(request=request):
                client = MemoryServer(Echo(), max_body_size=12).connect()
                client.send(request * 2)
                self.assertEqual([each.body for each in client.responses()], [ANSWERS[request]] * 2)

    def test_headers(self) -> None:
        """A request with more header fields than the limit is answered 431."""
        client = MemoryServer(Echo(), max_headers=3).connect()
        client.send(format_request("GET", "/", {f"X-{number}": "" for number in range(3)}))
        self.assertEqual([each.status for each in client.responses()], [431])

    def test_expectation(self) -> None:
        """A client that asks before it sends too much is told no, and not to continue."""
        client = MemoryServer(Echo(), max_body_size=11).connect()
        client.send(format_request("POST", "/", {"Expect": "100-continue", "Content-Length": "12"}))
        self.assertNotIn(b" 100 ", client.received)
        self.assertEqual([each.status for each in client.responses()], [413])

    def test_requests(self) -> None:
        """After ``max_requests_per_connection`` the answer says close, and nothing follows."""
        app = Echo()
        client = MemoryServer(app, max_requests_per_connection=2).connect()
        client.send(GET_A + POST_C + GET_B)
        self.assertAnswers(client, [GET_A, POST_C])
        self.assertEqual(len(app.seen), 2)

    def test_pipelined_bytes(self) -> None:
        """While a request is answered only so many bytes of the next ones are read."""
        app = Echo(hold=True)
        server = MemoryServer(app)
        client = server.connect()
        client.send(GET_A)
        for _ in range(100):
            client.send(b"x" * SEND_BUFFER)
        self.assertGreater(len(client._kernel.inbox), 90 * SEND_BUFFER)


@implementer(IPushProducer)
class Lines:
    """Writes lines as long as it is not paused."""

    def __init__(self, request: Request, count: int) -> None:
        self.request = request
        self.left = count
        request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write on."""
        self.running = True
        while self.running and self.left:
            self.left -= 1
            self.request.write(b"x" * 999 + b"\n")
        if not self.left and self.running:
            self.running = False
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        """Wait."""
        self.running = False

    def stopProducing(self) -> None:
        """Nobody reads any more."""
        self.running = False
        self.left = 0


class Download(Resource):
    """Half a megabyte of lines."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """Write them as fast as the client reads."""
        self.lines = Lines(request, 500)
        return NOT_DONE_YET


class DownloadTests(SynchronousTestCase):
    """A large answer, and a client that takes its time, with no limit but the drain's."""

    def setUp(self) -> None:
        """Let a client ask, and not read."""
        self.app = Download()
        self.server = MemoryServer(self.app, write_timeout=0)
        self.client = self.server.connect()
        self.client.reading = False
        self.client.request("GET", "/")

    def test_producer_waits(self) -> None:
        """A client that does not read makes the producer wait."""
        self.assertGreater(self.app.lines.left, 300)

    def test_one_producer(self) -> None:
        """A second producer is an error."""
        channel = self.app.lines.request.channel
        self.assertRaises(RuntimeError, channel.registerProducer, self.app.lines, True)

    def test_not_read_from(self) -> None:
        """A client that does not read its answers is not read from, until it reads again."""
        app = Echo()
        server = MemoryServer(app)
        client = server.connect()
        client.reading = False
        client.send(format_request("POST", "/", body=b"x" * 3 * SEND_BUFFER))
        client.send(GET_A)
        self.assertEqual(len(app.seen), 1)
        client.reading = True
        self.assertEqual(len(client.responses()), 2)

    def test_producer_is_told(self) -> None:
        """When the client goes away the producer is told to stop."""
        self.client.abort()
        self.assertEqual(self.app.lines.left, 0)
        self.assertEqual(len(self.server.connections), 0)

    def test_producer_cannot_be_told(self) -> None:
        """One that fails at that keeps nothing of the connection."""
        over: list[object] = []
        self.app.lines.request.notifyFinish().addBoth(over.append)

        def fail() -> None:
            raise ValueError("broken")

        self.app.lines.stopProducing = fail  # type: ignore[method-assign]
        self.client.abort()
        self.assertTrue(self.client.closed)
        self.assertEqual((len(over), len(self.server.connections)), (1, 0))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_whole_in_a_drain(self) -> None:
        """It arrives whole if the client reads before the deadline."""
        drained = self.server.drain()
        self.server.advance(29)
        self.assertFalse(self.client.closed)
        self.client.reading = True
        (response,) = self.client.responses()
        self.assertEqual(len(response.body), 500_000)
        self.client.close()
        self.assertEqual(self.successResultOf(drained).cut, ())

    def test_cut_at_the_deadline(self) -> None:
        """A client that does not read is cut at the deadline, by a reset, and not before."""
        drained = self.server.drain()
        self.server.advance(29.9)
        self.assertNoResult(drained)
        self.assertFalse(self.client.closed)
        self.server.advance(0.2)
        (cut,) = self.successResultOf(drained).cut
        self.assertEqual(
            (cut.method, cut.path, cut.doing), ("GET", "/", ConnectionPhase.RESPONDING.value)
        )
        self.assertTrue(self.client.reset)

    def test_answered_but_not_read(self) -> None:
        """An answer that is complete but still in our buffer at the deadline is cut too."""
        server = MemoryServer(Echo(), write_timeout=0)
        client = server.connect()
        client.reading = False
        client.request("POST", "/up", {"Connection": "close"}, b"x" * 2 * SEND_BUFFER)
        drained = server.drain()
        server.advance(29.9)
        self.assertNoResult(drained)
        server.advance(0.2)
        (cut,) = self.successResultOf(drained).cut
        self.assertEqual(
            (cut.method, cut.path, cut.doing), ("POST", "/up", ConnectionPhase.CLOSING.value)
        )
        self.assertTrue(client.reset)
