"""What users test their applications with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException, HTTPSConnection
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.certificates import ONE, ONE_KEY
from tests.unit.secure import certificate_file, client_context
from tests.unit.support import examples, leaves_nothing_open, run_python
from tests.unit.web import Echo, RawClient, connect, fetch, is_refused, timers_left
from twisted_graceful import AppError, DrainReport, SettingsError
from twisted_graceful.testing import MemoryConnection, MemoryServer, RunningServer, serve
from twisted_graceful.testing.http_messages import format_request, take_response
from twisted_graceful.testing.memory_transport import SEND_BUFFER, MemoryReactor

from ..case import SynchronousTestCase, TestCase


def hello(environ: Any, start_response: Any) -> list[bytes]:
    """A WSGI application."""
    start_response("200 OK", [])
    return [b"hello"]


class ImportTests(SynchronousTestCase):
    """A test may choose its reactor after the import."""

    def test_no_reactor(self) -> None:
        """Neither the import nor a server in memory installs the global reactor."""
        done = run_python(
            "-c",
            "import sys\n"
            "from twisted.web.resource import Resource\n"
            "from twisted_graceful.testing import MemoryServer\n"
            "server = MemoryServer(Resource())\n"
            "assert server.get('/').status == 404\n"
            "server.stop()\n"
            "print('twisted.internet.reactor' in sys.modules)\n"
            "print('pytest' in sys.modules or 'pytest_twisted' in sys.modules)\n",
        )
        self.assertEqual((done.stdout, done.stderr), ("False\nFalse\n", ""))


class MemoryRequestTests(SynchronousTestCase):
    """A request to a server in memory."""

    def test_get(self) -> None:
        """An answer has a status, headers and a body."""
        response = MemoryServer(Echo()).get("/x?y=1")
        self.assertEqual((response.status, response.body), (200, b"GET /x?y=1 "))
        self.assertEqual(response.headers["content-type"], "text/html")
        self.assertIsNone(response.headers["X-None"])

    def test_request(self) -> None:
        """A request has a method, headers and a body of the test's choice."""
        app = Echo(hold=True)
        client = MemoryServer(app).connect()
        client.request("PATCH", "/x", {"X-Colour": "blue"}, b"body")
        self.assertEqual(app.seen, [b"PATCH /x body"])
        self.assertEqual(app.held[0].getHeader("x-colour"), "blue")

    def test_head(self) -> None:
        """An answer to HEAD has no body, whatever length it names."""
        server = MemoryServer(Echo())
        response = server.request("HEAD", "/")
        self.assertEqual((response.status, response.body), (200, b""))

    def test_answers_that_take_time(self) -> None:
        """An answer that takes its time comes when the clock has been moved."""

        class Slow(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> int:
                later = deferLater(server.clock, 5, lambda: b"at last")
                later.addCallback(request.write).addCallback(lambda _: request.finish())
                return NOT_DONE_YET

        server = MemoryServer(Slow())
        client = server.connect()
        client.request("GET", "/")
        server.advance(4.9)
        self.assertEqual(client.responses(), [])
        server.advance(0.2)
        self.assertEqual([each.body for each in client.responses()], [b"at last"])

    def test_not_at_once(self) -> None:
        """`get` of an answer that is not there at once fails the test, and says what to do."""
        server = MemoryServer(Echo(hold=True))
        error = self.assertRaises(AssertionError, server.get, "/slow")
        self.assertIn("GET /slow", str(error))

    def test_nothing_left(self) -> None:
        """`get` leaves neither a connection nor a timer behind."""
        server = MemoryServer(Echo())
        server.get("/")
        self.assertEqual(len(server.connections), 0)
        self.assertEqual(timers_left(server), [])

    def test_access_log(self) -> None:
        """The access log is a list of lines, which is empty unless there is to be one."""
        for path, count in (("", 0), ("-", 1), ("/no/such/directory/access.log", 1)):
            with self.subTest(path=path, count=count):
                server = MemoryServer(Echo(), access_log=path)
                server.get("/x")
                self.assertEqual(len(server.access_log), count)
        self.assertIn('"GET /x HTTP/1.1" 200 ', server.access_log[0])

    def test_clock(self) -> None:
        """A clock of the test's own is the time of the server."""
        clock = Clock()
        server = MemoryServer(Echo(), clock, read_header_timeout=5)
        client = server.connect()
        clock.advance(6)
        self.assertTrue(client.ended)


class MemoryAppTests(SynchronousTestCase):
    """What a server in memory can serve."""

    def test_factory(self) -> None:
        """It serves what a class or function makes."""
        self.assertEqual(MemoryServer(Echo).get("/").status, 200)

    def test_klein(self) -> None:
        """It serves a Klein application, its Deferreds and coroutines included."""
        app = Klein()
        waiting: Deferred[bytes] = Deferred()

        @app.route("/now")
        async def now(request: Request) -> bytes:
            return b"now"

        @app.route("/later")
        async def later(request: Request) -> bytes:
            return await waiting

        server = MemoryServer(app)
        self.assertEqual(server.get("/now").body, b"now")
        client = server.connect()
        client.request("GET", "/later")
        self.assertEqual(client.responses(), [])
        waiting.callback(b"later")
        self.assertEqual([each.body for each in client.responses()], [b"later"])

    def test_refused(self) -> None:
        """What needs threads or time is refused, and the message names the way out."""
        for app in (hello, Deferred):
            with self.subTest(app=app):
                error = self.assertRaises(AppError, MemoryServer, app)
                self.assertIn("use `serve`", str(error))

    def test_settings(self) -> None:
        """A setting that is out of range is refused."""
        self.assertRaises(SettingsError, MemoryServer, Echo, drain_timeout=-1)


class MemoryConnectionTests(SynchronousTestCase):
    """A connection in memory behaves as one of TCP."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app)
        self.client = self.server.connect()

    def test_bytes(self) -> None:
        """What the server sent can be looked at, and taken."""
        self.client.send(b"nonsense\r\n\r\n")
        self.assertEqual(self.client.received, self.client.received)
        taken = self.client.take()
        self.assertTrue(taken.startswith(b"HTTP/1.1 400 "))
        self.assertEqual(self.client.received, b"")

    def test_arrive(self) -> None:
        """Bytes that have arrived are read in the server's next turn, and not before."""
        self.client.arrive(format_request("GET", "/"))
        self.assertEqual(self.app.seen, [])
        self.server.turn()
        self.assertEqual(self.app.seen, [b"GET / "])

    def test_client_that_does_not_read(self) -> None:
        """A client that does not read gets what fits into the kernel, and the rest later."""
        self.client.reading = False
        self.client.request("POST", "/", body=b"x" * 3 * SEND_BUFFER)
        self.app.answer()
        self.assertEqual(self.client.received, b"")
        (transport,) = (each.transport for each in self.server.connections)  # type: ignore[attr-defined]
        self.assertGreater(transport.unsent, SEND_BUFFER)
        self.client.reading = True
        (response,) = self.client.responses()
        self.assertEqual(len(response.body), len(b"POST / ") + 3 * SEND_BUFFER)

    def test_end_that_was_not_read(self) -> None:
        """A client that does not read does not see that the server has finished."""
        self.client.reading = False
        self.client.send(b"nonsense\r\n\r\n")
        self.assertFalse(self.client.ended)
        self.client.reading = True
        self.assertTrue(self.client.ended)

    def test_answer_that_was_not_read(self) -> None:
        """What the kernel has taken can still be read when the server has closed."""
        self.client.reading = False
        self.client.send(b"nonsense\r\n\r\n")
        self.client.finish()
        self.assertEqual((self.client.closed, self.client.received), (True, b""))
        self.client.reading = True
        self.assertTrue(self.client.received.startswith(b"HTTP/1.1 400 "))

    def test_looks_are_up_to_date(self) -> None:
        """Whoever looks at a connection sees what the server has done by now."""
        looks: list[Callable[[MemoryConnection], bool]] = [
            lambda client: client.closed,
            lambda client: client.reset,
            lambda client: not client.ended,
        ]
        for look in looks:
            with self.subTest(look=look):
                client = self.server.connect()
                client.request("GET", "/")
                for connection in self.server.connections:
                    connection.end()
                self.assertTrue(look(client))

    def test_unread_bytes_make_a_reset(self) -> None:
        """A close with bytes that the server has not read destroys what the client has not."""
        self.client.reading = False
        self.client.send(b"nonsense\r\n\r\n")
        self.client.arrive(b"more")
        for connection in self.server.connections:
            connection.transport.loseConnection()  # type: ignore[attr-defined]
        self.client.reading = True
        self.assertEqual((self.client.closed, self.client.reset), (True, True))
        self.assertEqual((self.client.received, self.client.ended), (b"", False))

    def test_abort_of_the_client(self) -> None:
        """A client's reset ends the request that was under way."""
        self.client.request("GET", "/")
        gone = self.app.held[0].notifyFinish()
        self.client.abort()
        self.failureResultOf(gone)

    def test_client_that_has_closed(self) -> None:
        """An answer to a client that has closed ends in a reset by the client."""
        self.client.request("GET", "/")
        self.client.close()
        gone = self.app.held[0].notifyFinish()
        self.app.held[0].write(b"anyone?")
        self.server.turn()
        self.failureResultOf(gone)

    def test_endless(self) -> None:
        """An answer without end to a client that reads is an error, and not a test that hangs."""

        class Endless(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> int:
                request.registerProducer(self, True)
                self.request = request
                self.resumeProducing()
                return NOT_DONE_YET

            def resumeProducing(self) -> None:
                self.request.write(b"x" * 3 * SEND_BUFFER)

            def pauseProducing(self) -> None:
                pass

            def stopProducing(self) -> None:
                pass

        self.patch(MemoryReactor, "most_rounds", 50)
        client = MemoryServer(Endless()).connect()
        self.assertRaises(RuntimeError, client.request, "GET", "/")


class MemoryTimeTests(SynchronousTestCase):
    """Time passes for a server in memory as for a real one."""

    def test_each_timer_at_its_time(self) -> None:
        """In one long step every timer runs at its own time, those included that others set."""
        server = MemoryServer(Echo())
        ran: list[float] = []

        def tick() -> None:
            ran.append(server.clock.seconds())
            if len(ran) < 3:
                server.clock.callLater(2, tick)

        server.clock.callLater(2, tick)
        server.advance(100)
        self.assertEqual((ran, server.clock.seconds()), ([2, 4, 6], 100))

    def test_bytes_between_timers(self) -> None:
        """What a timer sends arrives before the next timer runs."""
        server = MemoryServer(Echo(), read_header_timeout=5, linger_timeout=2)
        client = server.connect()
        server.advance(6.9)
        self.assertEqual((client.ended, client.closed), (True, False))
        server.advance(1)
        self.assertTrue(client.closed)

    def test_at_the_end(self) -> None:
        """What is due at the very end of the time is done, and what that sends is read."""
        app = Echo()
        server = MemoryServer(app)
        client = server.connect()
        server.clock.callLater(5, client.arrive, format_request("GET", "/"))
        server.advance(4.9)
        self.assertEqual(app.seen, [])
        server.advance(0.1)
        self.assertEqual(app.seen, [b"GET / "])


class MemoryDrainTests(SynchronousTestCase):
    """A server in memory can be drained."""

    def setUp(self) -> None:
        """Let a request wait for its answer."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app, drain_timeout=7)
        self.client = self.server.connect()
        self.client.request("GET", "/")

    def test_drain(self) -> None:
        """`drain` gives a Deferred of the report, and what was begun can end."""
        drained = self.server.drain()
        self.assertNoResult(drained)
        self.app.answer()
        self.client.close()
        self.assertEqual(self.successResultOf(drained), DrainReport(answered=1, told_to_close=1))

    def test_refuses(self) -> None:
        """While it drains it accepts nobody; resumed it does."""
        self.server.drain()
        self.assertRaises(ConnectionRefusedError, self.server.connect)
        self.server.connections.resume()
        self.server.connect()

    def test_stop(self) -> None:
        """`stop` moves the clock until the drain is over, and returns the report."""
        report = self.server.stop()
        self.assertEqual((len(report.cut), report.seconds), (1, 7))

    def test_endless(self) -> None:
        """`stop` fails the test if the drain does not end with its deadline."""
        self.patch(self.server.connections, "remove", lambda connection: None)
        self.assertRaises(AssertionError, self.server.stop)


class MessageTests(SynchronousTestCase):
    """Answers are found in what was received."""

    LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
    CHUNKED = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
    )
    NO_BODY = b"HTTP/1.1 204 No Content\r\n\r\n"
    CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH
    BODIES: dict[bytes, bytes] = {
        LENGTH: b"body",
        CHUNKED: b"body",
        NO_BODY: b"",
        CONTINUED: b"body",
    }

    @examples
    @given(st.sampled_from(list(BODIES)), st.data())
    def test_incomplete(self, answer: bytes, data: st.DataObject) -> None:
        """As long as the last byte is missing there is no answer."""
        missing = data.draw(st.integers(1, len(answer)))
        received = bytearray(answer[: len(answer) - missing])
        self.assertIsNone(take_response(received, "GET", ended=False))

    @examples
    @given(st.lists(st.sampled_from(list(BODIES)), min_size=1, max_size=4))
    def test_several(self, answers: list[bytes]) -> None:
        """Answers that follow one another are taken one by one, and no byte is left."""
        received = bytearray(b"".join(answers))
        for answer in answers:
            response = take_response(received, "GET", ended=False)
            assert response is not None
            self.assertEqual(response.body, self.BODIES[answer])
        self.assertEqual(received, b"")

    def test_until_close(self) -> None:
        """An answer without a length ends with the connection."""
        received = bytearray(b"HTTP/1.0 200 OK\r\n\r\nall of")
        self.assertIsNone(take_response(received, "GET", ended=False))
        received += b" this"
        response = take_response(received, "GET", ended=True)
        assert response is not None
        self.assertEqual(response.body, b"all of this")

    def test_cut_short(self) -> None:
        """An answer that the end of the connection cut short is none."""
        for answer in (self.LENGTH, self.CHUNKED):
            with self.subTest(answer=answer):
                self.assertIsNone(take_response(bytearray(answer[:-1]), "GET", ended=True))

    def test_not_http(self) -> None:
        """What is not HTTP is an error."""
        received = bytearray(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.assertRaises(HTTPException, take_response, received, "GET", ended=False)

    def test_request(self) -> None:
        """A request names the host, and its length where it has a body, unless told otherwise."""
        self.assertEqual(
            format_request("PUT", "/x", {"Host": "example.org"}, b"body"),
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody",
        )


class Cleanups:
    """Stands for a test case, whose end the test decides."""

    def __init__(self) -> None:
        self.added: list[Callable[[], Any]] = []

    def addCleanup(self, function: Callable[[], Any], /) -> None:
        """Keep it."""
        self.added.append(function)


class ServeTests(TestCase):
    """A server on a free port."""

    timeout = 20

    async def test_serves(self) -> None:
        """It answers at its URL when the Deferred has fired."""
        server = await serve(self, Echo())
        self.assertEqual(server.url, f"http://127.0.0.1:{server.port}")
        self.assertEqual(await fetch(server.url + "/x"), b"GET /x ")

    async def test_several(self) -> None:
        """Each has a port of its own."""
        first, second = await serve(self, Echo()), await serve(self, Echo())
        self.assertNotEqual(first.port, second.port)

    async def test_wsgi(self) -> None:
        """It serves what `new` does, with its settings."""
        server = await serve(self, hello, wsgi=True, wsgi_threads=1)
        self.assertEqual(await fetch(server.url), b"hello")
        self.assertEqual(server.service.settings.wsgi_threads, 1)

    async def test_tls(self) -> None:
        """With a certificate its URL is one of https."""
        path = certificate_file(self, ONE, ONE_KEY)
        server = await serve(self, Echo(), tls_cert=path)
        self.assertEqual(server.url, f"https://127.0.0.1:{server.port}")

        def fetched() -> bytes:
            client = HTTPSConnection("127.0.0.1", server.port, context=client_context(), timeout=10)
            with closing(client):
                client.request("GET", "/x")
                return client.getresponse().read()

        self.assertEqual(await deferToThread(fetched), b"GET /x ")

    async def test_waits_for_the_application(self) -> None:
        """An application that takes its time is waited for."""
        app: Deferred[Echo] = Deferred()
        serving = serve(self, app)
        self.assertNoResult(serving)
        app.callback(Echo())
        server = await serving
        self.assertEqual(await fetch(server.url), b"GET / ")

    async def test_drained_at_the_end(self) -> None:
        """When the test is over what was begun is answered, and then the port is closed."""
        case, app = Cleanups(), Echo(hold=True)
        server = await serve(case, app)
        client = await connect(server.port)
        client.transport.write(format_request("GET", "/"))
        await self.until_held(app)
        (cleanup,) = case.added
        drained = cleanup()
        app.answer()
        self.assertIn(b"Connection: close", await client.lost)
        report = await drained
        self.assertEqual((report.answered, report.cut), (1, ()))
        self.assertTrue(is_refused(server.port))

    async def until_held(self, app: Echo) -> None:
        """Wait until the application has a request."""
        from twisted.internet import reactor

        for _ in range(1000):
            if app.held:
                return
            await deferLater(reactor, 0.01)
        self.fail("no request came")

    async def test_idle_at_the_end(self) -> None:
        """A client that keeps its connection does not hold the end of the test."""
        case = Cleanups()
        server = await serve(case, Echo())
        client: RawClient = await connect(server.port)
        client.transport.write(format_request("GET", "/"))
        await client.until(b"GET / ")
        report = await case.added[0]()
        self.assertEqual(report.closed_idle, 1)
        self.assertLess(report.seconds, 1)

    async def test_stop(self) -> None:
        """It can be stopped before the end of the test, which then has nothing to drain."""
        server: RunningServer = await serve(self, Echo())
        await fetch(server.url)
        self.assertIsInstance(await server.stop(), DrainReport)
        self.assertTrue(is_refused(server.port))

    async def test_failing_application(self) -> None:
        """With an application that cannot be made it fails, and leaves nothing open."""

        def broken() -> Any:
            raise ZeroDivisionError("broken")

        with leaves_nothing_open(self):
            await self.assertFailure(serve(self, broken), AppError)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_bad_setting(self) -> None:
        """A setting that is out of range is refused at once."""
        self.assertRaises(SettingsError, serve, self, Echo(), drain_timeout=-1)
