"""Connections that move from one server to another, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import examples
from twisted_graceful.handover_interface import HandedConnection
from twisted_graceful.http.handover import HandoverQueue
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .generations import GET, Generation, Generations

PIPELINE = (
    GET.replace(b"/", b"/one", 1)
    + b"POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    + b"POST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    + b"\r\n"
    + GET.replace(b"/", b"/four", 1)
)
WHOLE = [b"0 /one ", b"0 /two hello", b"0 /three hi", b"0 /four "]


def pieces(data: bytes, ends: list[int]) -> Iterator[bytes]:
    """Cut bytes at some places."""
    begin = 0
    for end in [*sorted(ends), len(data)]:
        yield data[begin:end]
        begin = end


class MovedTests(SynchronousTestCase):
    """A connection after a handover."""

    def test_idle(self) -> None:
        """An idle connection is answered by the successor, and neither closed nor shut down."""
        generations = Generations()
        client = generations.servers[0].connect()
        client.request("GET", "/")
        client.responses()
        generations.upgrade()
        client.request("GET", "/next")
        [response] = client.responses()
        self.assertEqual(response.body, b"1 /next ")
        self.assertNotIn("connection", response.headers)
        self.assertFalse(client.closed or client.ended)

    def test_the_predecessor_is_done(self) -> None:
        """What was handed over ends the drain, which counts it, and nothing is left open twice."""
        generations = Generations()
        first = generations.servers[0]
        clients = [first.connect() for _ in range(3)]
        second = MemoryServer(Generation(1), generations.clock)
        drained = first.hand_over(second)
        first.turn()
        report = self.successResultOf(drained)
        self.assertEqual((report.handed_over, report.closed_idle), (3, 0))
        self.assertEqual((len(first.connections), len(second.connections)), (0, 3))
        for client in clients:
            with self.subTest(client=client):
                client.close()
                self.assertTrue(client.closed)

    def test_busy(self) -> None:
        """A connection that is being answered follows when its answer is complete, unannounced."""
        generations = Generations(hold=True)
        client = generations.servers[0].connect()
        client.request("GET", "/")
        generations.upgrade()
        generations.apps[0].answer()
        client.request("GET", "/next")
        held, following = client.responses()
        self.assertEqual((held.body, following.body), (b"0 held", b"1 /next "))
        self.assertNotIn("connection", held.headers)

    def test_slow_reader(self) -> None:
        """A connection whose answer is not sent follows when the client has read it."""
        generations = Generations(hold=True)
        client = generations.servers[0].connect()
        client.reading = False
        client.request("GET", "/")
        [request] = generations.apps[0].held
        request.write(b"x" * 200_000)
        request.finish()
        generations.upgrade()
        self.assertEqual(len(generations.servers[0].connections), 1)
        client.reading = True
        generations.servers[0].advance(1)
        self.assertEqual(len(generations.servers[0].connections), 0)
        client.request("GET", "/next")
        self.assertEqual([len(each.body) for each in client.responses()], [200_000, 8])

    @examples
    @given(st.data())
    def test_order_and_bytes(self, data: st.DataObject) -> None:
        """Requests that are cut anywhere, with any number of upgrades at each cut, are answered
        in order, each once and from its own bytes."""
        ends = data.draw(st.lists(st.integers(0, len(PIPELINE)), max_size=4))
        generations = Generations()
        client = generations.servers[0].connect()
        for piece in pieces(PIPELINE, ends):
            client.send(piece)
            for _ in range(data.draw(st.integers(0, 2))):
                generations.upgrade()
        received = client.responses()
        self.assertEqual([each.body[1:] for each in received], [each[1:] for each in WHOLE])
        numbers = [int(each.body[:1]) for each in received]
        self.assertEqual(numbers, sorted(numbers))
        self.assertFalse(client.reset)

    def test_pipelined_behind_a_slow_answer(self) -> None:
        """What was read of later requests goes with the connection."""
        generations = Generations(hold=True)
        client = generations.servers[0].connect()
        client.send(GET + PIPELINE)
        generations.upgrade()
        generations.apps[0].answer()
        answers = [each.body for each in client.responses()]
        self.assertEqual(answers, [b"0 held", *(b"1" + each[1:] for each in WHOLE)])

    def test_handed_on(self) -> None:
        """What was handed over can be handed over again."""
        generations = Generations()
        client = generations.servers[0].connect()
        for number in range(1, 4):
            with self.subTest(number=number):
                generations.upgrade()
                client.request("GET", "/")
                self.assertEqual(client.responses()[0].body, b"%d / " % number)


class FactsTests(SynchronousTestCase):
    """What the successor knows of a connection."""

    def test_deadline_of_a_head(self) -> None:
        """A head has no more time in all than without an upgrade."""
        generations = Generations(read_header_timeout=5)
        client = generations.servers[0].connect()
        client.send(GET[:-1])
        generations.servers[0].advance(4)
        generations.upgrade()
        generations.servers[1].advance(0.5)
        self.assertFalse(client.ended)
        generations.servers[1].advance(1)
        self.assertEqual(client.responses()[0].status, 408)

    def test_idle_timeout(self) -> None:
        """The time that it was idle counts."""
        generations = Generations(idle_timeout=10)
        client = generations.servers[0].connect()
        client.request("GET", "/")
        generations.servers[0].advance(6)
        generations.upgrade()
        generations.servers[1].advance(3)
        self.assertFalse(client.ended)
        generations.servers[1].advance(2)
        self.assertTrue(client.ended)

    def test_answer_in_the_kernel(self) -> None:
        """A client that still reads its last answer is not idle after the upgrade either."""
        generations = Generations(idle_timeout=10, write_timeout=8, max_request_line=40_000)
        client = generations.servers[0].connect()
        client.reading = False
        client.request("GET", "/" + "x" * 30_000)
        generations.upgrade()
        self.assertEqual(len(generations.servers[0].connections), 0)
        for _ in range(5):
            generations.servers[1].advance(6)
            self.assertFalse(client.ended or client.closed)
            client.take_some(4000)
        client.reading = True
        generations.servers[1].advance(9)
        self.assertFalse(client.ended)
        generations.servers[1].advance(3)
        self.assertTrue(client.ended)

    def test_answer_that_nobody_reads(self) -> None:
        """The time that a client has to read an answer does not end with an upgrade."""
        generations = Generations(idle_timeout=100, write_timeout=10)
        client = generations.servers[0].connect()
        client.reading = False
        client.request("GET", "/" + "x" * 5000)
        generations.upgrade()
        generations.servers[1].advance(12)
        self.assertTrue(client.closed)

    def test_max_requests_per_connection(self) -> None:
        """The requests that the predecessor answered count."""
        generations = Generations(max_requests_per_connection=2)
        client = generations.servers[0].connect()
        client.request("GET", "/")
        generations.upgrade()
        client.request("GET", "/")
        first, second = client.responses()
        self.assertNotIn("connection", first.headers)
        self.assertEqual(second.headers["connection"], "close")

    def test_behind_a_proxy(self) -> None:
        """The addresses of a PROXY header go with the connection."""
        generations = Generations(proxy_protocol=True, access_log="-")
        client = generations.servers[0].connect()
        client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n" + GET)
        generations.upgrade()
        client.send(GET)
        self.assertEqual(len(client.responses()), 2)
        for server in generations.servers:
            [line] = server.access_log
            self.assertTrue(line.startswith("192.0.2.7 "), line)

    def test_half_a_head_is_logged_once(self) -> None:
        """A head that was begun before the upgrade is one request in the logs of both."""
        generations = Generations(access_log="-")
        client = generations.servers[0].connect()
        client.send(GET[:-1])
        generations.upgrade()
        client.send(GET[-1:])
        self.assertEqual([len(each.access_log) for each in generations.servers], [0, 1])


class RemainsTests(SynchronousTestCase):
    """A connection that cannot move."""

    def closes_with_notice(self, generations: Generations, before: bytes = b"") -> None:
        """It stays, is told that its next answer is the last, and is closed then."""
        client = generations.servers[0].connect()
        client.send(before)
        generations.upgrade()
        self.assertEqual(len(generations.servers[0].connections), 1)
        client.send(GET)
        [response] = client.responses()
        self.assertEqual(response.body, b"0 / ")
        self.assertEqual(response.headers["connection"], "close")
        self.assertTrue(client.ended)

    def test_refused(self) -> None:
        """One that the successor refuses stays, and its next answer is its last."""
        generations = Generations()
        generations.settings["proxy_protocol"] = True  # of the successor: it waits for headers
        self.closes_with_notice(generations)

    def test_refused_and_resumed(self) -> None:
        """If the successor dies, what it refused moves to the next one."""
        generations = Generations()
        first = generations.servers[0]
        client = first.connect()
        generations.settings["proxy_protocol"] = True
        generations.upgrade()
        first.connections.resume()
        del generations.settings["proxy_protocol"]
        first.hand_over(MemoryServer(Generation(7), generations.clock))
        client.request("GET", "/")
        self.assertEqual(client.responses()[0].body, b"7 / ")

    def test_half_closed(self) -> None:
        """A client that has closed its side waits for its last answer, here."""
        generations = Generations(hold=True)
        client = generations.servers[0].connect()
        client.request("GET", "/")
        client.finish()
        generations.upgrade()
        generations.apps[0].answer()
        [response] = client.responses()
        self.assertEqual(response.headers["connection"], "close")

    def test_body_under_way(self) -> None:
        """A request whose body is under way is answered here, and then the connection moves."""
        generations = Generations()
        client = generations.servers[0].connect()
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        generations.upgrade()
        client.send(b"llo")
        client.send(GET)
        self.assertEqual([each.body for each in client.responses()], [b"0 /a hello", b"1 / "])


class Stubborn:
    """A carrier that neither takes nor returns anything before it is told to."""

    is_open = True

    def __init__(self) -> None:
        self.departures: list[object] = []

    @property
    def room(self) -> int:
        """For ten."""
        return 10 - len(self.departures)

    def call_when_room(self, call: object) -> None:
        """Never."""

    def send(self, departures: list[object]) -> None:
        """Keep them."""
        self.departures += departures


class OnTheirWayTests(SynchronousTestCase):
    """A connection of which nobody knows yet whose it is."""

    def setUp(self) -> None:
        """Let a connection be on its way."""
        self.server = MemoryServer(Generation(0))
        self.client = self.server.connect()
        self.carrier = Stubborn()
        self.drained = self.server.connections.drain(HandoverQueue(self.server.clock, self.carrier))
        self.server.turn()
        [self.departure] = self.carrier.departures

    def test_not_read(self) -> None:
        """Nobody reads from it, and no deadline ends it."""
        self.client.send(GET)
        self.server.advance(10)
        self.assertEqual(self.client.received, b"")
        self.assertFalse(self.client.closed)

    def test_no_deadline(self) -> None:
        """What may be another's is not shut down when its time is over; taken back, it is."""
        self.server.advance(self.server.settings.read_header_timeout + 1)
        [kernel] = self.server.kernels.values()
        self.assertFalse(kernel.closed or kernel.reset or kernel.server_finished)
        self.departure.take_back()
        self.server.advance(1)
        self.assertTrue(kernel.server_finished)

    def test_taken_back(self) -> None:
        """Taken back, it is served, with notice."""
        self.client.send(GET)
        self.departure.take_back()
        [response] = self.client.responses()
        self.assertEqual((response.body, response.headers["connection"]), (b"0 / ", "close"))

    def test_cut(self) -> None:
        """The end of a drain neither resets nor shuts down what may be another's, nor names it."""
        [kernel] = self.server.kernels.values()
        kernel.owners += 1
        self.server.connections.cut()
        self.assertEqual(self.successResultOf(self.drained).cut, ())
        self.assertEqual(kernel.owners, 1)
        self.assertFalse(kernel.closed or kernel.reset or kernel.server_finished)
        self.departure.release()
        self.departure.take_back()
        self.assertEqual(kernel.owners, 1)

    def test_client_gone(self) -> None:
        """The end of a client is left to whoever serves it."""
        self.client.abort()
        self.departure.take_back()
        self.server.turn()
        self.assertTrue(self.client.closed)
        self.successResultOf(self.drained)


class RoomTests(SynchronousTestCase):
    """As many as the carrier has room for are on their way, and in the end all."""

    def setUp(self) -> None:
        """Let there be more busy connections than room."""
        self.app = Generation(0, hold=True)
        self.server = MemoryServer(self.app)
        self.clients = [self.server.connect() for _ in range(15)]
        for client in self.clients:
            client.request("GET", "/")
        self.carrier = Stubborn()

    def hand_over(self) -> None:
        """Begin to hand over."""
        self.server.connections.drain(HandoverQueue(self.server.clock, self.carrier))
        self.server.turn()

    def test_busy(self) -> None:
        """Of connections whose answers are complete at once, those without room are served here."""
        self.hand_over()
        for _ in self.clients:
            self.app.answer()
        self.server.turn()
        self.assertEqual(len(self.carrier.departures), 10)
        self.app.hold = False
        for client in self.clients[10:]:
            client.request("GET", "/")
            answers = client.responses()
            self.assertEqual([each.body for each in answers], [b"0 held", b"0 / "])
            self.assertNotIn("connection", answers[1].headers)

    def test_later(self) -> None:
        """Those without room follow as soon as there is some, though nobody says so."""
        self.hand_over()
        for _ in self.clients:
            self.app.answer()
        self.server.turn()
        self.carrier.departures.clear()  # they have arrived
        self.server.advance(1)
        self.assertEqual(len(self.carrier.departures), 5)

    def test_idle(self) -> None:
        """The same for those that were idle."""
        for _ in self.clients:
            self.app.answer()
        self.server.turn()
        self.hand_over()
        self.assertEqual(len(self.carrier.departures), 10)
        self.carrier.departures.clear()
        self.server.advance(1)
        self.assertEqual(len(self.carrier.departures), 5)


class UnreadTests(SynchronousTestCase):
    """Handed bytes."""

    def test_facts_are_json(self) -> None:
        """Whoever carries the facts can read them, and a reader ignores what it does not know."""
        generations = Generations()
        client = generations.servers[0].connect()
        client.send(GET[:5])
        [connection] = generations.servers[0].connections
        handed = connection.detach().handed
        facts = {**json.loads(handed.facts), "later": "field"}
        self.assertEqual((handed.unread, facts["phase"]), (GET[:5], "reading"))
        server = MemoryServer(Generation(1), generations.clock)
        kernel = generations.servers[0].kernels[handed.descriptor]
        server.take_up(
            HandedConnection(handed.descriptor, "", json.dumps(facts), handed.unread), kernel
        )
        kernel.inbox += GET[5:]
        server.turn()
        self.assertIn(b"1 / ", kernel.received)
