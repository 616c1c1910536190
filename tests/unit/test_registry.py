"""The registry of a site's connections, and their drain."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.unit.web import Echo, timers_left
from twisted_graceful.http.log.drain_report import CutRequest, DrainReport
from twisted_graceful.http.phases import ConnectionPhase
from twisted_graceful.http.registry import SWEEP_INTERVAL
from twisted_graceful.testing import MemoryConnection, MemoryServer
from twisted_graceful.testing.http_messages import format_request

from ..case import SynchronousTestCase

A_BIT = 2 * SWEEP_INTERVAL
"""Seconds by which the end of the idle grace may be late."""


class DrainTestCase(SynchronousTestCase):
    """A server whose application answers when it is told to."""

    def setUp(self) -> None:
        """Serve with no limits but those of the drain, each wait of its own length."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(
            self.app,
            drain_timeout=20,
            idle_grace=3,
            linger_timeout=1,
            **dict.fromkeys(("read_header_timeout", "read_timeout", "write_timeout"), 0),
        )

    def asking(self, path: str = "/") -> MemoryConnection:
        """A client whose request is being answered."""
        client = self.server.connect()
        client.request("GET", path)
        return client

    def idle(self) -> MemoryConnection:
        """A client whose request has been answered."""
        client = self.asking()
        self.app.answer()
        client.responses()
        return client

    def assertDrained(self, drained: Deferred[DrainReport]) -> DrainReport:
        """The drain is over, and has left no timer behind."""
        report: DrainReport = self.successResultOf(drained)
        self.assertEqual(len(self.server.connections), 0)
        return report


class RegistryTests(DrainTestCase):
    """All connections that are open, and no other."""

    def test_all(self) -> None:
        """It has each connection from its begin to its end."""
        clients = [self.server.connect() for _ in range(3)]
        self.assertEqual(len(self.server.connections), 3)
        self.assertEqual(
            [each.phase for each in self.server.connections], [ConnectionPhase.SILENT] * 3
        )
        clients[0].close()
        clients[1].abort()
        self.assertEqual(len(self.server.connections), 1)

    def test_answered(self) -> None:
        """It counts the requests that were answered."""
        client = self.asking()
        self.assertEqual(self.server.connections.answered, 0)
        self.app.answer()
        client.request("GET", "/")
        self.app.answer()
        self.assertEqual(self.server.connections.answered, 2)

    def test_draining(self) -> None:
        """It is draining from the begin of a drain, after its end too, until it is resumed."""
        self.assertFalse(self.server.connections.draining)
        self.server.drain()
        self.assertTrue(self.server.connections.draining)
        self.server.connections.resume()
        self.assertFalse(self.server.connections.draining)


class CrowdTests(DrainTestCase):
    """When clients wait for a place."""

    def setUp(self) -> None:
        """Ten clients are idle, one after the other; another two are being answered."""
        super().setUp()
        self.clients = []
        for _ in range(10):
            self.clients.append(self.idle())
            self.server.advance(0.1)
        self.busy = [self.asking() for _ in range(2)]

    def crowd(self) -> None:
        """Clients begin to wait."""
        self.server.connections.has_clients_waiting = lambda: True

    def test_nobody_waits(self) -> None:
        """As long as nobody does, who is idle may stay."""
        self.server.advance(60)
        self.assertFalse(any(client.ended for client in self.clients))

    def test_grace(self) -> None:
        """Nobody who is idle for less than the grace has to leave, nor who is being answered."""
        self.crowd()
        self.server.advance(1.5)
        self.assertFalse(any(client.ended for client in self.clients))
        self.server.advance(60)
        self.assertTrue(all(client.ended for client in self.clients))
        self.assertFalse(any(client.ended for client in self.busy))

    def test_longest_first(self) -> None:
        """Those who are idle for longest leave first, and no more than are a tenth."""
        self.server.advance(60)
        self.crowd()
        self.server.advance(SWEEP_INTERVAL)
        self.assertEqual([client.ended for client in self.clients], [True] * 2 + [False] * 8)

    def test_waits_for_those_who_leave(self) -> None:
        """No others have to leave before those who were sent away are gone."""
        self.server.advance(60)
        self.crowd()
        self.server.advance(SWEEP_INTERVAL)
        self.server.advance(SWEEP_INTERVAL)
        self.assertEqual(sum(client.ended for client in self.clients), 2)
        self.clients[0].close()
        self.server.advance(SWEEP_INTERVAL)
        self.assertEqual([client.ended for client in self.clients[:4]], [True, True, True, False])


class FaultTests(DrainTestCase):
    """A fault in one connection is the end of that one only."""

    def test_deadline(self) -> None:
        """One whose deadline cannot be carried out is logged and ended; the others live on."""
        broken, other = self.server.connect(), self.server.connect()
        connection = next(iter(self.server.connections))

        def check(now: float) -> None:
            raise ZeroDivisionError

        self.patch(connection, "check", check)
        connection.deadline = self.server.clock.seconds()
        self.server.advance(A_BIT)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(sorted([broken.closed, other.closed]), [False, True])


class SweepTests(SynchronousTestCase):
    """A great many connections."""

    def test_each_has_its_turn(self) -> None:
        """The deadlines of many connections are kept as those of few, within a second."""
        server = MemoryServer(Echo(), read_header_timeout=5, linger_timeout=0)
        clients = [server.connect() for _ in range(1500)]
        server.advance(4.9)
        self.assertEqual(len(server.connections), 1500)
        server.advance(1.1 + A_BIT)
        self.assertEqual(len(server.connections), 0)
        self.assertTrue(all(client.closed for client in clients[:10]))


class EmptyDrainTests(DrainTestCase):
    """With no connection a drain takes no time."""

    def test_none_ever(self) -> None:
        """It is over at once when there never was a connection, and leaves no timer."""
        drained = self.server.drain()
        self.assertEqual(self.successResultOf(drained), DrainReport())
        self.assertEqual(timers_left(self.server), [])

    def test_none_any_more(self) -> None:
        """It is over at once when all connections have gone, in whatever way."""
        self.idle().close()
        self.idle().abort()
        self.server.connect().close()
        self.asking().abort()
        half = self.server.connect()
        half.send(b"GET / HT")
        half.abort()
        self.assertEqual(self.successResultOf(self.server.drain()), DrainReport())

    def test_last_one_goes(self) -> None:
        """It is over in the moment in which the last connection goes, and leaves no timer."""
        first, second = self.server.connect(), self.server.connect()
        drained = self.server.drain()
        self.server.advance(1)
        first.close()
        self.assertNoResult(drained)
        self.server.advance(1)
        second.close()
        self.assertEqual(self.assertDrained(drained), DrainReport(seconds=2))
        self.assertEqual(timers_left(self.server), [])


class GraceTests(DrainTestCase):
    """A connection on which nothing was begun is kept for one more request."""

    def test_idle(self) -> None:
        """An idle connection is closed after the grace, and not before."""
        client = self.idle()
        drained = self.server.drain()
        self.server.advance(2.9)
        self.assertFalse(client.ended)
        self.server.advance(A_BIT)
        self.assertEqual((client.ended, client.closed), (True, False))
        client.close()
        self.assertEqual((client.closed, client.reset), (True, False))
        self.assertEqual(self.assertDrained(drained).closed_idle, 1)

    def test_silent(self) -> None:
        """So is a connection that was accepted and has never sent a byte."""
        client = self.server.connect()
        drained = self.server.drain()
        self.server.advance(2.9)
        self.assertFalse(client.ended)
        self.server.advance(A_BIT)
        self.assertTrue(client.ended)
        client.close()
        self.assertEqual(self.assertDrained(drained).closed_idle, 1)

    def test_one_more_request(self) -> None:
        """In the grace one more request is answered, says close, and is the last."""
        for waiting in (self.idle, self.server.connect):
            with self.subTest(waiting=waiting):
                client = waiting()
                drained = self.server.drain()
                self.server.advance(2.9)
                client.request("GET", "/more")
                self.app.answer()
                client.send(format_request("GET", "/too-many"))
                (response,) = client.responses()
                self.assertEqual(response.headers["Connection"], "close")
                self.assertEqual((client.received, client.ended), (b"", True))
                client.close()
                report = self.assertDrained(drained)
                self.assertEqual((report.answered, report.closed_idle), (1, 0))
                self.server.connections.resume()

    def test_begins_with_the_drain(self) -> None:
        """For a connection that has long been idle the grace begins with the drain."""
        client = self.idle()
        self.server.advance(50)
        self.server.drain()
        self.server.advance(2.9)
        self.assertFalse(client.ended)

    def test_request_begun_in_it(self) -> None:
        """A request whose first byte comes in the grace may take as long as any other."""
        client = self.idle()
        request = format_request("GET", "/late")
        self.server.drain()
        self.server.advance(2.9)
        client.send(request[:1])
        self.server.advance(10)
        client.send(request[1:])
        self.app.answer()
        (response,) = client.responses()
        self.assertEqual(response.body, b"GET /late ")

    def test_request_not_read_yet(self) -> None:
        """A request that has arrived when the grace ends, but was not read yet, is answered."""
        for waiting in (self.idle, self.server.connect):
            with self.subTest(waiting=waiting):
                client = waiting()
                self.server.drain()
                client.arrive(format_request("GET", "/late"))
                # As after a turn of the reactor that was too long: timers run before the reads.
                for _ in range(int((3 + A_BIT) / SWEEP_INTERVAL)):
                    self.server.clock.advance(SWEEP_INTERVAL)
                self.server.turn()
                self.assertEqual(len(self.app.held), 1)
                self.app.answer()
                (response,) = client.responses()
                self.assertEqual(response.body, b"GET /late ")
                client.close()
                self.server.connections.resume()

    def test_none(self) -> None:
        """With a grace of 0 idle connections are closed by the next sweep."""
        server = MemoryServer(self.app, idle_grace=0)
        client = server.connect()
        server.drain()
        server.advance(A_BIT)
        self.assertTrue(client.ended)

    def test_client_that_does_not_close(self) -> None:
        """A client that does not close after our FIN holds the drain for the linger timeout."""
        self.idle()
        drained = self.server.drain()
        self.server.advance(3 + A_BIT)
        self.assertNoResult(drained)
        self.server.advance(1 + A_BIT)
        self.assertEqual(self.assertDrained(drained).cut, ())


class DeadlineTests(DrainTestCase):
    """A drain ends, and tells what its deadline cut."""

    def test_cut(self) -> None:
        """At the deadline, and not before, a request is cut by a reset."""
        client = self.asking()
        drained = self.server.drain()
        self.server.advance(19.9)
        self.assertNoResult(drained)
        self.assertFalse(client.closed)
        self.server.advance(0.2)
        self.assertTrue(client.reset)
        self.assertEqual(len(self.assertDrained(drained).cut), 1)
        self.assertEqual(timers_left(self.server), [])

    def test_named(self) -> None:
        """The report names method, path without its query, age since the first byte, and phase."""
        answering = self.server.connect()
        answering.request("DELETE", "/accounts/7?token=secret")
        self.server.advance(5)
        reading = self.server.connect()
        reading.send(b"PUT /files/x HTTP/1.1\r\nContent-Le")
        self.server.advance(2)
        begun = self.server.connect()
        begun.send(b"GET /unknow")
        report = self.server.stop()
        self.assertEqual(
            sorted(report.cut, key=lambda cut: cut.age),
            [
                CutRequest("-", "-", 20, ConnectionPhase.READING.value),
                CutRequest("PUT", "/files/x", 22, ConnectionPhase.READING.value),
                CutRequest("DELETE", "/accounts/7", 27, ConnectionPhase.RESPONDING.value),
            ],
        )
        self.assertEqual(report.exit_status, 1)

    def test_second_request_of_a_connection(self) -> None:
        """It names the request that was cut, and not an earlier one of its connection."""
        client = self.asking("/first")
        self.server.advance(5)
        client.send(format_request("GET", "/second"))
        self.app.answer()
        self.server.advance(5)
        (cut,) = self.server.stop().cut
        self.assertEqual((cut.path, cut.age), ("/second", 25))

    def test_second_request_half_received(self) -> None:
        """Nor does it name an earlier one when the next is not known yet."""
        client = self.idle()
        client.send(b"GET /sec")
        (cut,) = self.server.stop().cut
        self.assertEqual((cut.method, cut.path), ("-", "-"))

    def test_hostile(self) -> None:
        """Control characters that a client sent, as Twisted lets pass, do not reach the log."""
        client = self.server.connect()
        client.send(b"GET /\x7f\x85\x9b31mred HTTP/1.1\r\n")
        (cut,) = self.server.stop().cut
        self.assertTrue(str(cut).isascii() and str(cut).isprintable(), str(cut))
        self.assertIn("31mred", cut.path)

    def test_answered_before(self) -> None:
        """A request that is answered just before the deadline is not cut."""
        client = self.asking()
        drained = self.server.drain()
        self.server.advance(19.9)
        self.app.answer()
        self.assertEqual(len(client.responses()), 1)
        client.close()
        report = self.assertDrained(drained)
        self.assertEqual((report.answered, report.cut), (1, ()))

    def test_idle_at_the_deadline(self) -> None:
        """A connection that is idle at the deadline is closed, and nothing is cut."""
        server = MemoryServer(self.app, drain_timeout=1, idle_grace=5, linger_timeout=1)
        client = server.connect()
        drained = server.drain()
        server.advance(1.1)
        self.assertEqual((client.closed, client.reset), (True, False))
        self.assertEqual(self.successResultOf(drained).cut, ())

    def test_client_that_lingers_at_the_deadline(self) -> None:
        """A client that has its whole answer and does not close is closed, and not cut."""
        client = self.asking()
        drained = self.server.drain()
        self.server.advance(19.5)
        self.app.answer()
        self.server.advance(0.6)
        self.assertEqual(len(client.responses()), 1)
        self.assertEqual((client.closed, client.reset), (True, False))
        self.assertEqual(self.assertDrained(drained).cut, ())

    def test_zero(self) -> None:
        """With a deadline of 0 what is under way is cut at once."""
        server = MemoryServer(self.app, drain_timeout=0)
        client = server.connect()
        client.request("GET", "/")
        self.assertEqual(len(server.stop().cut), 1)
        self.assertTrue(client.reset)


class ReportTests(DrainTestCase):
    """What a drain tells."""

    def test_counts(self) -> None:
        """It counts what was answered, closed and cut since the drain began, and the time."""
        self.idle()
        answered, _cut = self.asking("/answered"), self.asking("/cut")
        drained = self.server.drain()
        self.server.advance(1)
        self.app.answer()
        answered.close()
        self.server.advance(20)
        report = self.assertDrained(drained)
        self.assertEqual((report.answered, report.closed_idle, report.seconds), (1, 1, 20))
        self.assertEqual([each.path for each in report.cut], ["/cut"])

    def test_client_went_away(self) -> None:
        """A request whose client has gone is neither answered nor cut."""
        client = self.asking()
        drained = self.server.drain()
        client.abort()
        self.assertEqual(self.assertDrained(drained), DrainReport())


class RepeatedDrainTests(DrainTestCase):
    """Two drains at once are one."""

    def test_same(self) -> None:
        """A second drain neither restarts the deadline nor gets another report."""
        self.asking()
        first = self.server.drain()
        self.server.advance(15)
        second = self.server.drain()
        self.server.advance(5.1)
        self.assertIs(self.assertDrained(first), self.assertDrained(second))

    def test_independent(self) -> None:
        """What one caller adds to its Deferred does not reach the other."""
        client = self.server.connect()
        first, second = self.server.drain(), self.server.drain()
        first.addCallback(lambda _: None)
        client.close()
        self.assertIsInstance(self.successResultOf(second), DrainReport)

    def test_after_its_end(self) -> None:
        """Asked again after the end it is the same report, at once."""
        client = self.server.connect()
        first = self.server.drain()
        client.close()
        again = self.server.drain()
        self.assertIs(self.successResultOf(first), self.successResultOf(again))


class ResumeTests(DrainTestCase):
    """A drain can be forgotten."""

    def test_lives_on(self) -> None:
        """Idle connections stay, answers do not say close, and no deadline cuts."""
        idle, asking = self.idle(), self.asking()
        self.server.drain()
        self.server.advance(1)
        self.server.connections.resume()
        self.server.advance(50)
        self.app.answer()
        (response,) = asking.responses()
        self.assertIsNone(response.headers["Connection"])
        self.assertEqual((idle.ended, asking.ended), (False, False))

    def test_ends_the_drain(self) -> None:
        """Who waited for the drain is told what it did until then."""
        self.asking()
        drained = self.server.drain()
        self.server.advance(1)
        self.server.connections.resume()
        self.assertEqual(self.successResultOf(drained), DrainReport(seconds=1))

    def test_drains_again(self) -> None:
        """The next drain has a deadline and a grace of its own, and counts anew."""
        self.idle()
        client = self.asking()
        self.server.drain()
        self.server.advance(1)
        self.app.answer()
        client.close()
        self.server.connections.resume()
        self.asking()
        drained = self.server.drain()
        self.server.advance(19.9)
        self.assertNoResult(drained)
        self.server.advance(0.2)
        report = self.assertDrained(drained)
        self.assertEqual((report.answered, report.closed_idle, len(report.cut)), (0, 1, 1))

    def test_without_a_drain(self) -> None:
        """With no drain under way it does nothing."""
        client = self.idle()
        self.server.connections.resume()
        self.assertFalse(client.ended)


class CutTests(DrainTestCase):
    """A drain can be ended early."""

    def test_all(self) -> None:
        """It ends every connection now, and the report names what was cut."""
        asking, idle = self.asking("/cut"), self.idle_beside()
        drained = self.server.drain()
        self.server.connections.cut()
        self.server.turn()
        self.assertEqual([each.path for each in self.assertDrained(drained).cut], ["/cut"])
        self.assertEqual((asking.reset, idle.closed, idle.reset), (True, True, False))
        self.assertEqual(timers_left(self.server), [])

    def idle_beside(self) -> MemoryConnection:
        """A client that is idle, while requests of others wait."""
        client = self.server.connect()
        client.request("GET", "/idle")
        request = self.app.held.pop()
        request.finish()
        client.responses()
        return client

    def test_twice(self) -> None:
        """Asked twice in one turn of the reactor it counts each request once."""
        self.asking()
        drained = self.server.drain()
        self.server.connections.cut()
        self.server.connections.cut()
        self.server.turn()
        self.assertEqual(len(self.assertDrained(drained).cut), 1)

    def test_without_a_drain(self) -> None:
        """With no drain under way it cuts nothing."""
        client = self.asking()
        self.server.connections.cut()
        self.server.turn()
        self.assertFalse(client.closed)
