"""Servers as Twisted services, in the process of the test and with its reactor."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferTimeoutError
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.static import File

from tests.unit.support import leaves_nothing_open, run_python, temporary_directory
from tests.unit.web import ANSWER, GET, Echo, connect, fetch, is_refused
from twisted_graceful import (
    AppError,
    BindError,
    DrainReport,
    GracefulService,
    LogFileError,
    Server,
    SettingsError,
    draining,
    new,
)
from twisted_graceful.handover_interface import Departure
from twisted_graceful.http.io.connection_limit import limit_of_descriptors
from twisted_graceful.process.listeners.listener import Listener
from twisted_graceful.process.upgrade.handed_over import HandedOver
from twisted_graceful.testing.http_messages import take_response

from .real_reactor import RealReactorTestCase, port, url


class Nobody:
    """Carries no connection anywhere."""

    is_open = False
    room = 0

    def call_when_room(self, call: Callable[[], None]) -> None:
        """Never."""

    def send(self, departures: list[Departure]) -> None:
        """Never called."""


FOR_EVER = 3600
"""Seconds that no test waits for."""


async def turns() -> None:
    """Let the reactor do what it has been asked to do by now."""
    from twisted.internet import reactor

    for _ in range(2):
        await deferLater(reactor, 0)


class StartStopTests(RealReactorTestCase):
    """A server is started and stopped, and may be started again."""

    async def test_serves(self) -> None:
        """A server that is started answers."""
        server = await self.running(Echo())
        self.assertEqual(await fetch(url(server)), ANSWER)
        self.assertTrue(server.running)

    async def test_binds_before_it_starts(self) -> None:
        """The address is bound in the privileged start; who connects then is served later."""
        server = self.server(Echo())
        server.privilegedStartService()
        client = await connect(port(server))
        client.transport.write(GET)
        accepts = server.ready()
        server.startService()
        await accepts
        self.assertIn(ANSWER, await client.until(ANSWER))
        client.transport.loseConnection()
        await client.lost

    async def test_stop(self) -> None:
        """Stopped, it has closed its port, and says that nothing is bound."""
        server = await self.running(Echo())
        was = port(server)
        await server.stopService()
        self.assertTrue(is_refused(was))
        self.assertEqual((server.bound, bool(server.running)), ([], False))

    async def test_again_on_the_same_port(self) -> None:
        """It can be started at once after a stop, on the same port, as often as one likes."""
        first = await self.running(Echo())
        address = f"127.0.0.1:{port(first)}"
        await first.stopService()
        server = new(address, Echo())
        self.addCleanup(server.stopService)
        for _ in range(3):
            accepts = server.ready()
            server.startService()
            await accepts
            self.assertEqual(await fetch(url(server)), ANSWER)
            await server.stopService()

    async def test_leaves_nothing(self) -> None:
        """A start, a request and a stop leave no descriptor open."""
        await (await self.running(Echo())).stopService()  # whatever is opened only once
        with leaves_nothing_open(self):
            server = await self.running(Echo())
            await fetch(url(server))
            await server.stopService()

    async def test_stopped_without_a_start(self) -> None:
        """A server that was never started, or stopped twice, has nothing to drain."""
        server = self.server(Echo())
        self.assertEqual(await server.stopService(), DrainReport())
        server.privilegedStartService()
        was = port(server)
        self.assertEqual(await server.stopService(), DrainReport())
        self.assertTrue(is_refused(was))

    async def test_address_in_use(self) -> None:
        """A port that is taken is an error of the start, not of a log."""
        taken = await self.running(Echo())
        server = new(f"127.0.0.1:{port(taken)}", Echo())
        self.assertRaises(BindError, server.startService)
        self.assertEqual(server.bound, [])

    def test_settings(self) -> None:
        """A setting that is out of range is refused when the server is made."""
        self.assertRaises(SettingsError, new, 8080, Echo(), drain_timeout="long")


class DrainTests(RealReactorTestCase):
    """`stopService` drains."""

    async def test_no_connection(self) -> None:
        """With no connection a stop takes no time, after requests too."""
        server = await self.running(Echo())
        await fetch(url(server))
        await turns()
        report = await server.stopService()
        self.assertEqual((report.answered, report.closed_idle, report.cut), (0, 0, ()))
        self.assertLess(report.seconds, 0.5)

    async def test_report(self) -> None:
        """It returns what was answered, closed idle and cut, when all that is over."""
        app = Echo(hold=True)
        server = await self.running(app, drain_timeout=0.5, idle_grace=0.1)
        idle = await self.asking(server, app)
        app.answer()
        await idle.until(ANSWER)
        answered, cut = await self.asking(server, app), await self.asking(server, app)
        drained = server.stopService()
        app.answer()
        self.assertIn(b"Connection: close", await answered.lost)
        report = await drained
        self.assertEqual((report.answered, report.closed_idle), (1, 1))
        self.assertEqual([(each.method, each.path) for each in report.cut], [("GET", "/x")])
        self.assertNotIn(ANSWER, await cut.lost)

    async def test_refuses(self) -> None:
        """From the begin of the drain nobody can connect any more."""
        app = Echo(hold=True)
        server = await self.running(app)
        was = port(server)
        client = await self.asking(server, app)
        drained = server.stopService()
        await turns()
        self.assertTrue(is_refused(was))
        app.answer()
        await client.lost
        await drained

    async def test_connected_but_not_accepted(self) -> None:
        """Who has connected before the stop is served, though nobody had accepted yet."""
        server = await self.running(Echo())
        client = await connect(port(server))
        client.transport.write(GET)
        # Both are done without a turn of the reactor in between.
        drained = server.stopService()
        self.assertIn(ANSWER, await client.lost)
        report = await drained
        self.assertEqual((report.answered, report.cut), (1, ()))

    async def test_silent(self) -> None:
        """Who has connected and is silent may still send one request."""
        server = await self.running(Echo(), idle_grace=5)
        client = await connect(port(server))
        drained = server.stopService()
        await turns()
        client.transport.write(GET)
        self.assertIn(b"Connection: close", await client.lost)
        self.assertEqual((await drained).answered, 1)

    async def test_stopped_twice(self) -> None:
        """A second stop while the first drains returns when the drain is over, too."""
        app = Echo(hold=True)
        server = await self.running(app)
        client = await self.asking(server, app)
        first, second = server.stopService(), server.stopService()
        self.assertNoResult(second)
        app.answer()
        await client.lost
        self.assertEqual([(await each).answered for each in (first, second)], [1, 1])

    async def test_cut(self) -> None:
        """A drain can be ended early."""
        app = Echo(hold=True)
        server = await self.running(app)
        client = await self.asking(server, app)
        drained = server.stopService()
        server.cut()
        self.assertEqual(len((await drained).cut), 1)
        await client.lost

    async def test_file(self) -> None:
        """A download that is under way, read from a file as fast as the client takes it, ends."""
        directory = Path(temporary_directory(self))
        (directory / "x").write_bytes(b"0123456789abcdef" * 100_000)
        server = await self.running(File(str(directory)), idle_grace=0)
        client = await connect(port(server))
        client.transport.write(GET)
        await client.until(b"\r\n\r\n")
        drained = server.stopService()
        response = take_response(bytearray(await client.lost), "GET", ended=True)
        assert response is not None
        self.assertEqual(response.body, b"0123456789abcdef" * 100_000)
        self.assertEqual((await drained).cut, ())

    async def test_kernel_queue_of_a_connection(self) -> None:
        """A pipelined request that is in the kernel when the answer begins is answered."""
        app = Echo(hold=True)
        server = await self.running(app)
        client = await self.asking(server, app)
        drained = server.stopService()
        client.transport.write(GET)
        client.transport.doWrite()  # now it has been sent, and nobody has read it
        app.answer()
        await self.until(lambda: app.held)
        app.answer()
        received = await client.lost
        self.assertEqual((received.count(ANSWER), received.count(b"Connection: close")), (2, 1))
        self.assertEqual((await drained).answered, 2)


class AccessLogTests(RealReactorTestCase):
    """The access log of a server is open as long as it may write there."""

    def setUp(self) -> None:
        """Choose a path."""
        self.path = Path(temporary_directory(self)) / "access.log"

    def logged(self, path: Path | None = None) -> int:
        """How many lines are in a log."""
        return len((path or self.path).read_text().splitlines())

    async def test_whole_after_the_stop(self) -> None:
        """A stop leaves every line in the log, of drained requests too, and nothing open."""
        await (await self.running(Echo())).stopService()  # whatever is opened only once
        app = Echo(hold=True)
        with leaves_nothing_open(self):
            server = await self.running(app, access_log=str(self.path))
            client = await self.asking(server, app)
            drained = server.stopService()
            await turns()
            app.answer()
            await client.lost
            await drained
        self.assertRegex(self.path.read_text(), r'"GET /x HTTP/1.1" 200 7 ')

    async def test_again(self) -> None:
        """A server that is started again goes on in its log."""
        server = self.server(Echo(), access_log=str(self.path))
        for count in (1, 2):
            with self.subTest(count=count):
                accepts = server.ready()
                server.startService()
                await accepts
                await fetch(url(server))
                await server.stopService()
                self.assertEqual(self.logged(), count)

    def test_exit(self) -> None:
        """A program that ends without stopping its services loses no line."""
        run_python(
            "-c",
            "import sys\n"
            "from urllib.request import urlopen\n"
            "from twisted.internet import reactor\n"
            "from twisted_graceful import new\n"
            "from twisted_graceful.app.welcome import Welcome\n"
            "server = new('127.0.0.1:0', Welcome, access_log=sys.argv[1])\n"
            "server.startService()\n"
            "def ask():\n"
            "    urlopen('http://%s:%d/' % server.bound[0]).close()\n"
            "    reactor.callFromThread(reactor.stop)\n"
            "reactor.callInThread(ask)\n"
            "reactor.run()\n",
            str(self.path),
        )
        self.assertEqual(self.logged(), 1)

    async def test_reopened(self) -> None:
        """Asked to, it goes on in a new file, after the old one has been moved away."""
        server = await self.running(Echo(), access_log=str(self.path))
        await fetch(url(server))
        old = self.path.rename(self.path.with_suffix(".1"))
        server.reopen_logs()
        await fetch(url(server))
        await server.stopService()
        self.assertEqual((self.logged(old), self.logged()), (1, 1))

    async def test_json(self) -> None:
        """The format is a setting."""
        server = await self.running(Echo(), access_log=str(self.path), access_log_format="json")
        await fetch(url(server))
        await server.stopService()
        self.assertEqual(json.loads(self.path.read_text())["target"], "/x")

    async def test_several_servers(self) -> None:
        """Servers of one process that have the same path share the file, until the last stops."""
        servers = [new("127.0.0.1:0", Echo(), access_log=str(self.path)) for _ in range(2)]
        service = GracefulService(*servers, upgradable=False)
        accept = [server.ready() for server in servers]
        service.startService()
        for each in accept:
            await each
        for server in servers:
            await fetch(url(server))
        old = self.path.rename(self.path.with_suffix(".1"))
        service.reopen_logs()
        await servers[0].stopService()
        await fetch(url(servers[1]))
        await service.stopService()
        self.assertEqual((self.logged(old), self.logged()), (2, 1))

    def test_impossible(self) -> None:
        """A log that cannot be opened is an error of the start, before anything is bound."""
        path = str(self.path / "no" / "directory")
        server = new("127.0.0.1:0", Echo(), access_log=path)
        with leaves_nothing_open(self):
            self.assertRaises(LogFileError, server.startService)
        self.assertEqual(server.bound, [])

    async def test_address_in_use(self) -> None:
        """A start that fails for another reason leaves no log open."""
        taken = await self.running(Echo())
        address = f"127.0.0.1:{port(taken)}"
        with leaves_nothing_open(self):
            server = new(address, Echo(), access_log=str(self.path))
            self.assertRaises(BindError, server.startService)


class ApplicationTests(RealReactorTestCase):
    """What is served, and when."""

    async def test_waited_for(self) -> None:
        """An application that takes its time delays the accepting, and not the binding."""
        app: Deferred[Resource] = Deferred()
        server = self.server(app)
        accepts = server.ready()
        server.startService()
        client = await connect(port(server))
        client.transport.write(GET)
        self.assertNoResult(accepts)
        app.callback(Echo())
        await accepts
        await client.until(ANSWER)
        client.transport.loseConnection()
        await client.lost

    async def test_coroutine(self) -> None:
        """So does one that a coroutine function makes."""
        may_go: Deferred[None] = Deferred()

        async def make() -> Resource:
            await may_go
            return Echo()

        server = self.server(make)
        accepts = server.ready()
        server.startService()
        self.assertNoResult(accepts)
        may_go.callback(None)
        await accepts
        self.assertEqual(await fetch(url(server)), ANSWER)

    async def test_stopped_while_it_is_made(self) -> None:
        """A stop cancels an application that is being made; nothing is logged as an error."""
        cancelled: list[Deferred[Resource]] = []
        app: Deferred[Resource] = Deferred(cancelled.append)
        server = self.server(app)
        server.startService()
        was = port(server)
        self.assertEqual(await server.stopService(), DrainReport())
        self.assertEqual((cancelled, is_refused(was)), ([app], True))

    def test_failing(self) -> None:
        """An application that cannot be made is logged, with its own traceback."""

        def broken() -> Resource:
            raise ZeroDivisionError("broken")

        server = self.server(broken)
        accepts = server.ready()
        server.startService()
        (logged,) = self.flushLoggedErrors()
        self.assertIn("in broken", logged.getTraceback())
        self.failureResultOf(accepts, AppError)

    def test_failing_later(self) -> None:
        """So is one that fails after a while."""
        app: Deferred[Resource] = Deferred()
        server = self.server(app)
        server.startService()
        app.errback(ZeroDivisionError("broken"))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_ready_after_a_failure(self) -> None:
        """Who asks only after the failure is told of it too."""
        server = self.server(lambda: 1 / 0)
        server.startService()
        self.flushLoggedErrors()
        self.failureResultOf(server.ready(), AppError)

    async def test_ready_when_running(self) -> None:
        """A server that accepts is ready at once."""
        server = await self.running(Echo())
        self.successResultOf(server.ready())

    async def test_recovers(self) -> None:
        """After a failure it can be stopped and started again."""
        resources: list[Resource] = []
        server = self.server(lambda: resources.pop())
        server.startService()
        self.flushLoggedErrors()
        await server.stopService()
        resources.append(Echo())
        accepts = server.ready()
        server.startService()
        await accepts
        self.assertEqual(await fetch(url(server)), ANSWER)


class EmbeddingTests(RealReactorTestCase):
    """A server in somebody else's service."""

    async def test_in_a_multi_service(self) -> None:
        """It starts with its parent, and the parent's stop waits for its drain."""
        app = Echo(hold=True)
        parent, server = MultiService(), self.server(app)
        server.setServiceParent(parent)
        accepts = server.ready()
        parent.privilegedStartService()
        parent.startService()
        await accepts
        client = await self.asking(server, app)
        stopped = parent.stopService()
        self.assertNoResult(stopped)
        app.answer()
        self.assertIn(ANSWER, await client.lost)
        await stopped
        self.assertEqual(server.bound, [])

    async def test_added_to_a_running_one(self) -> None:
        """Added to a parent that runs it serves at once; removed, it drains."""
        parent, server = MultiService(), self.server(Echo())
        parent.startService()
        accepts = server.ready()
        server.setServiceParent(parent)
        await accepts
        self.assertEqual(await fetch(url(server)), ANSWER)
        await server.disownServiceParent()
        self.assertEqual(server.bound, [])
        await parent.stopService()

    async def test_signals_are_left_alone(self) -> None:
        """It installs no signal handler."""
        await turns()  # the reactor installs its own handlers when it first runs
        before = handlers()
        await self.running(Echo())
        self.assertEqual(handlers(), before)


def handlers() -> list[object]:
    """What this process does at the signals that we know."""
    names = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    return [signal.getsignal(getattr(signal, name)) for name in names]


class ShutdownDelayTests(RealReactorTestCase):
    """A server that is stopped serves on for its ``shutdown_delay``."""

    async def test_serves_on(self) -> None:
        """In the delay who connects is served, and told to close; then the drain begins."""
        server = await self.running(Echo(), shutdown_delay=FOR_EVER)
        was = port(server)
        stopped = server.stopService()
        await turns()
        client = await connect(was)
        client.transport.write(GET)
        self.assertIn(b"Connection: close", await client.lost)
        self.assertNoResult(stopped)
        server.cut()
        report = await stopped
        self.assertEqual((report.answered, report.told_to_close), (1, 1))
        self.assertTrue(is_refused(was))

    async def test_lasts(self) -> None:
        """It lasts though nobody is connected, for load balancers have to notice."""
        server = await self.running(Echo(), shutdown_delay=0.3)
        report = await server.stopService()
        self.assertGreaterEqual(report.delay, 0.3)

    async def test_nothing_accepted(self) -> None:
        """A server that is not accepting yet has no delay."""
        server = self.server(Deferred(), shutdown_delay=FOR_EVER)
        server.startService()
        self.assertEqual(await server.stopService(), DrainReport())

    async def test_handed_over(self) -> None:
        """A server whose successor serves has no delay, and is ready still."""
        app = Echo(hold=True)
        server = await self.running(app, shutdown_delay=FOR_EVER)
        client = await self.asking(server, app)
        server.drain(Nobody())
        stopped = server.stopService()
        self.assertTrue(server.is_ready)
        app.answer()
        await client.lost
        await stopped

    async def test_stopped_twice(self) -> None:
        """A second stop neither ends the delay nor begins another one."""
        server = await self.running(Echo(), shutdown_delay=FOR_EVER)
        first, second = server.stopService(), server.stopService()
        await turns()
        self.assertNoResult(first)
        server.cut()
        await first
        await second

    async def test_cut(self) -> None:
        """A cut ends the delay, and what is being answered with it."""
        app = Echo(hold=True)
        server = await self.running(app, shutdown_delay=FOR_EVER)
        client = await self.asking(server, app)
        stopped = server.stopService()
        await turns()
        server.cut()
        self.assertEqual(len((await stopped).cut), 1)
        await client.lost

    async def test_is_ready(self) -> None:
        """A server is ready from the moment that it accepts to the first moment of its stop."""
        app: Deferred[Resource] = Deferred()
        server = self.server(app, shutdown_delay=FOR_EVER)
        self.assertFalse(server.is_ready)
        server.startService()
        self.assertFalse(server.is_ready)
        app.callback(Echo())
        await server.ready()
        self.assertTrue(server.is_ready)
        stopped = server.stopService()
        self.assertFalse(server.is_ready)
        server.cut()
        await stopped
        self.assertFalse(server.is_ready)

    async def test_started_again(self) -> None:
        """A server that is started again after a stop is ready, and its stop has its delay."""
        server = await self.running(Echo(), shutdown_delay=0.1)
        await server.stopService()
        accepts = server.ready()
        server.startService()
        await accepts
        self.assertTrue(server.is_ready)
        self.assertGreaterEqual((await server.stopService()).delay, 0.1)


class Waiting:
    """A WSGI application whose answers wait for the test."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.may_answer = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        """Wait, then answer."""
        self.entered.set()
        self.may_answer.wait(20)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"wsgi"]


class WSGITests(RealReactorTestCase):
    """WSGI applications run in threads."""

    async def test_in_flight(self) -> None:
        """A request that is being answered when the server stops gets its answer."""
        app = Waiting()
        server = await self.running(app)
        client = await connect(port(server))
        client.transport.write(GET)
        await self.until(app.entered.is_set)
        drained = server.stopService()
        self.assertNoResult(drained)
        app.may_answer.set()
        self.assertTrue((await client.lost).endswith(b"wsgi"))
        self.assertEqual((await drained).answered, 1)

    async def test_client_gone(self) -> None:
        """A stop waits for an application whose client has left, unless it is told not to."""
        for at_once in (False, True):
            with self.subTest(at_once=at_once):
                app = Waiting()
                server = await self.running(app)
                client = await connect(port(server))
                client.transport.write(GET)
                await self.until(app.entered.is_set)
                client.transport.abortConnection()
                await self.until(lambda server=server: not server.connected)
                drained = server.stopService()
                await turns()
                self.assertNoResult(drained)
                if at_once:
                    server.cut()
                else:
                    app.may_answer.set()
                self.assertEqual((await drained).cut, ())
                app.may_answer.set()

    async def test_threads_end(self) -> None:
        """When the server has stopped its threads end."""
        before = set(threading.enumerate())
        app = Waiting()
        app.may_answer.set()
        server = await self.running(app)
        self.assertEqual(await fetch(url(server)), b"wsgi")
        await server.stopService()
        await self.until(lambda: not [each for each in alive_since(before) if "wsgi" in each.name])

    def test_process_ends(self) -> None:
        """An application that never returns does not keep the process from its end."""
        done = run_python("-c", HANGING)
        self.assertEqual((done.stdout, done.stderr), ("1 cut\n", ""))
        self.assertEqual(done.returncode, 0)

    async def test_environ(self) -> None:
        """It finds in its environ whether its server is ready, and whether that drains."""
        asked: list[dict[str, Any]] = []

        def app(environ: Any, start_response: Any) -> list[bytes]:
            asked.append(environ)
            start_response("200 OK", [("Content-Length", "4")])
            return [b"wsgi"]

        def told() -> list[bool]:
            environ = asked[0]
            names = ("twisted_graceful.is_ready", "twisted_graceful.is_draining")
            return [environ[name]() for name in names]

        server = await self.running(app, shutdown_delay=FOR_EVER)
        self.assertEqual(await fetch(url(server)), b"wsgi")
        self.assertEqual(told(), [True, False])
        stopped = server.stopService()
        self.assertEqual(told(), [False, True])
        server.cut()
        await stopped
        self.assertEqual(told(), [False, True])


def alive_since(before: set[threading.Thread]) -> list[threading.Thread]:
    """The threads that were started since."""
    return [each for each in threading.enumerate() if each not in before]


HANGING = """
import socket, threading
from twisted.internet import reactor
from twisted_graceful import new

def application(environ, start_response):
    reactor.callFromThread(stop)
    threading.Event().wait()

def stop():
    server.stopService().addCallback(stopped)

def stopped(report):
    print(len(report.cut), "cut")
    reactor.stop()

def ask():
    client.connect(server.bound[0])
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")

client = socket.socket()
server = new("127.0.0.1:0", application, drain_timeout=0.2)
reactor.callWhenRunning(server.startService)
reactor.callWhenRunning(ask)
reactor.run()
"""


class Beside(Service):
    """A service that runs beside the servers, and notes when."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def startService(self) -> None:
        """Note it."""
        super().startService()
        self.log.append("started")

    def stopService(self) -> None:
        """Note it."""
        super().stopService()
        self.log.append("stopped")


class Endless(Service):
    """A service that never stops."""

    def __init__(self) -> None:
        self.asked: Deferred[None] = Deferred()

    def stopService(self) -> Deferred[None]:
        """Begin to stop, and never end."""
        super().stopService()
        if not self.asked.called:
            self.asked.callback(None)
        return Deferred()


class GracefulServiceTests(RealReactorTestCase):
    """Several servers as one, embedded: without signals and without upgrades."""

    def service(self, *servers: Server) -> GracefulService:
        """A service that is embedded, stopped at the end of the test."""
        service = GracefulService(*servers, upgradable=False)
        self.addCleanup(service.stopService)
        return service

    async def started(self, *servers: Server) -> GracefulService:
        """The same, and all its servers accept."""
        service = self.service(*servers)
        accept = [server.ready() for server in servers]
        service.startService()
        for each in accept:
            await each
        return service

    async def test_serves_all(self) -> None:
        """All its servers serve, and none does after the stop."""
        servers = [new("127.0.0.1:0", Echo()) for _ in range(2)]
        service = await self.started(*servers)
        self.assertEqual(service.servers, servers)
        for server in servers:
            with self.subTest(server=server):
                self.assertEqual(await fetch(url(server)), ANSWER)
        ports = [port(server) for server in servers]
        await service.stopService()
        self.assertEqual([is_refused(each) for each in ports], [True, True])

    async def test_accepts_when_all_are_loaded(self) -> None:
        """No server accepts before all applications have been made."""
        app: Deferred[Resource] = Deferred()
        servers = [new("127.0.0.1:0", Echo()), new("127.0.0.1:0", app)]
        service = self.service(*servers)
        accepts = servers[0].ready()
        service.startService()
        self.assertNoResult(accepts)
        app.callback(Echo())
        await accepts

    async def test_is_accepting(self) -> None:
        """It accepts from start to hand-over, again after a resume, and not when stopped."""
        service = self.service()
        self.assertFalse(service.is_accepting())
        service.startService()
        self.assertTrue(service.is_accepting())
        carrier: Any = None  # there is no connection to give away
        await service.process.hand_over(carrier)
        self.assertFalse(service.is_accepting())
        service.process.accept()
        self.assertTrue(service.is_accepting())
        await service.stopService()
        self.assertFalse(service.is_accepting())

    async def test_removed_listeners(self) -> None:
        """At a hand-over they are closed, and their queues served; a resume binds them anew."""
        apps = [Echo(), Echo()]
        servers = [new("127.0.0.1:0", app) for app in apps]
        service = await self.started(*servers)
        where = [port(each) for each in servers]
        names = [each.name for each in service.process.listeners()]
        client = await connect(where[0])  # and nobody has accepted it
        client.transport.write(GET)
        drained = service.process.hand_over(Nobody(), service.process.listeners()[:1])
        self.assertEqual([is_refused(each) for each in where], [True, False])
        self.assertEqual((servers[0].bound, servers[0].urls), ([], []))
        self.assertIn(ANSWER, await client.lost)
        self.assertEqual([report.answered for report in await drained], [1, 0])
        service.process.accept()
        self.assertEqual([port(each) for each in servers], where)
        for each in servers:
            with self.subTest(each=each):
                self.assertEqual(await fetch(url(each)), ANSWER)
        self.assertEqual(sorted(each.name for each in service.process.listeners()), sorted(names))

    async def test_resumed_in_the_same_turn(self) -> None:
        """A successor that dies as soon as it is ready is no reason to lose an address."""
        server = new("127.0.0.1:0", Echo())
        service = await self.started(server)
        where = port(server)
        service.process.hand_over(Nobody(), service.process.listeners()[:1])
        service.process.accept()
        self.assertEqual(port(server), where)
        self.assertEqual(await fetch(url(server)), ANSWER)

    async def test_removed_and_taken(self) -> None:
        """What cannot be bound anew is an error in the log, and all else is served."""
        loses, keeps = servers = [new("127.0.0.1:0", Echo()) for _ in range(2)]
        service = await self.started(*servers)
        where = port(loses)
        await service.process.hand_over(Nobody(), service.process.listeners()[:1])
        with socket.create_server(("127.0.0.1", where)), capturedLogs() as logs:
            service.process.accept()
        told = [formatEvent(each) for each in logs if each["log_level"] is LogLevel.error]
        self.assertEqual(len(told), 1)
        self.assertIn(f"cannot listen on 127.0.0.1:{where}: Address already in use", str(told))
        self.assertEqual(await fetch(url(keeps)), ANSWER)
        self.assertEqual(loses.bound, [])
        # The next one that dies gives another chance.
        await service.process.hand_over(Nobody())
        service.process.accept()
        self.assertEqual(port(loses), where)

    async def test_removed_and_a_service_managers(self) -> None:
        """What nobody could bind anew is kept open, and accepted on after a resume."""
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        where = sock.getsockname()[1]
        activated = Listener("a", [sock], is_activated=True)
        self.patch(HandedOver, "claim_activated", lambda _: [activated])
        server = new(f"127.0.0.1:{where}", Echo())
        service = self.service(server)
        accepts = server.ready()
        service.startService()
        await accepts
        await service.process.hand_over(Nobody(), service.process.listeners())
        waits = await connect(where)
        waits.transport.write(GET)
        service.process.accept()
        await self.until(lambda: ANSWER in waits.received)
        waits.transport.loseConnection()

    async def test_report(self) -> None:
        """Its stop returns what all drains did together, and keeps it."""
        apps = [Echo(hold=True), Echo(hold=True)]
        servers = [new("127.0.0.1:0", app, idle_grace=0.1) for app in apps]
        service = await self.started(*servers)
        clients = [
            await self.asking(server, app) for server, app in zip(servers, apps, strict=True)
        ]
        self.assertIsNone(service.report)
        stopped = service.stopService()
        for app, client in zip(apps, clients, strict=True):
            app.answer()
            await client.lost
        report = await stopped
        self.assertEqual((report.answered, report.cut), (2, ()))
        self.assertEqual(service.report, report)

    async def test_limit(self) -> None:
        """Its servers share the descriptors of the process, unless one has a limit of its own."""
        one, other, limited = (new(0, Echo()), new(0, Echo()), new(0, Echo(), max_connections=7))
        self.service(one, other, limited)
        self.assertIs(one.listening.limit, other.listening.limit)
        self.assertEqual(
            (one.listening.limit.limit, limited.listening.limit.limit), (limit_of_descriptors(), 7)
        )

    async def test_again(self) -> None:
        """It can be started again after a stop."""
        server = new("127.0.0.1:0", Echo())
        service = await self.started(server)
        await service.stopService()
        accepts = server.ready()
        service.startService()
        await accepts
        self.assertEqual(await fetch(url(server)), ANSWER)

    async def test_others(self) -> None:
        """Other services are started with the servers, and stopped when those have drained."""
        log: list[str] = []
        app = Echo(hold=True)
        server = new("127.0.0.1:0", app)
        service = self.service(server)
        Beside(log).setServiceParent(service)
        accepts = server.ready()
        service.startService()
        await accepts
        self.assertEqual(log, ["started"])
        client = await self.asking(server, app)
        stopped = service.stopService()
        await turns()
        self.assertEqual(log, ["started"])
        app.answer()
        await client.lost
        await stopped
        self.assertEqual(log, ["started", "stopped"])

    async def test_longest_delay(self) -> None:
        """All its servers serve on for the longest shutdown delay of them, none is ready."""
        servers = [new("127.0.0.1:0", Echo()), new("127.0.0.1:0", Echo(), shutdown_delay=FOR_EVER)]
        service = await self.started(*servers)
        self.assertTrue(service.is_ready)
        stopped = service.stopService()
        self.assertFalse(service.is_ready)
        await turns()
        for server in servers:
            with self.subTest(server=server):
                client = await connect(port(server))
                client.transport.write(GET)
                self.assertIn(b"Connection: close", await client.lost)
        service.process.cut()
        self.assertEqual((await stopped).told_to_close, 2)

    async def test_told_at_once(self) -> None:
        """It is not ready, and applications know, before the reactor has begun to stop."""
        app = Echo(hold=True)
        server = new("127.0.0.1:0", app)
        service = await self.started(server)
        client = await self.asking(server, app)
        self.patch(service.process, "_stop_reactor", lambda: None)  # which runs the tests
        service.stop()
        self.assertFalse(service.is_ready)
        self.successResultOf(draining(app.held[0]))
        stopped = service.stopService()
        app.answer()
        await client.lost
        await stopped

    async def test_all_are_told_first(self) -> None:
        """The applications of all servers learn of a stop before anything is closed."""
        apps = [Echo(hold=True), Echo(hold=True)]
        servers = [new("127.0.0.1:0", app) for app in apps]
        service = await self.started(*servers)
        clients = [
            await self.asking(server, app) for server, app in zip(servers, apps, strict=True)
        ]
        bound: list[list[bool]] = []
        for app in apps:
            told = draining(app.held[0])
            told.addCallback(lambda _: bound.append([bool(server.bound) for server in servers]))
        stopped = service.stopService()
        self.assertEqual(bound, [[True, True]] * 2)
        for app, client in zip(apps, clients, strict=True):
            app.answer()
            await client.lost
        await stopped

    async def test_beside_in_the_delay(self) -> None:
        """In the delay the services beside the servers run on, for requests still come."""
        log: list[str] = []
        service = self.service(new("127.0.0.1:0", Echo(), shutdown_delay=FOR_EVER))
        Beside(log).setServiceParent(service)
        accepts = service.servers[0].ready()
        service.startService()
        await accepts
        stopped = service.stopService()
        await turns()
        self.assertEqual(log, ["started"])
        service.process.cut()
        await stopped
        self.assertEqual(log, ["started", "stopped"])

    async def test_one_that_never_stops(self) -> None:
        """Another service that never stops is waited for as long as a drain may take."""
        service = self.service(new("127.0.0.1:0", Echo(), drain_timeout=0.1))
        endless = Endless()
        endless.setServiceParent(service)
        service.startService()
        await service.servers[0].ready()
        await service.stopService()
        self.assertEqual(len(self.flushLoggedErrors(DeferTimeoutError)), 1)
        endless.disownServiceParent()

    async def test_one_that_is_not_waited_for(self) -> None:
        """When all is to end at once, another service is not waited for."""
        service = self.service(new("127.0.0.1:0", Echo()))
        endless = Endless()
        endless.setServiceParent(service)
        service.startService()
        await service.servers[0].ready()
        stopped = service.stopService()
        await endless.asked
        service.process.cut()
        await stopped
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)
        endless.disownServiceParent()

    async def test_an_address_that_is_taken(self) -> None:
        """If one address is refused none is kept, and the service can be started later."""
        first, taken = new("127.0.0.1:0", Echo()), await self.started(new("127.0.0.1:0", Echo()))
        address = f"127.0.0.1:{port(taken.servers[0])}"
        service = self.service(first, new(address, Echo()))
        self.assertRaises(BindError, service.startService)
        self.assertEqual(first.bound, [])
        await taken.stopService()
        service.startService()
        await first.ready()

    async def test_several_addresses(self) -> None:
        """One server on several addresses makes its application once, and serves it on each."""
        made: list[Resource] = []

        def make() -> Resource:
            made.append(Echo())
            return made[-1]

        server = new(["127.0.0.1:0", "127.0.0.1:0"], make)
        await self.started(server)
        for host, number in server.bound:
            self.assertEqual(await fetch(f"http://{host}:{number}/x"), ANSWER)
        self.assertEqual((len(made), len(server.bound)), (1, 2))

    async def test_server_added_too_late(self) -> None:
        """A server that is added after the start is an error; another service is not."""
        service = await self.started(new("127.0.0.1:0", Echo()))
        self.assertRaises(RuntimeError, service.addService, new("127.0.0.1:0", Echo()))
        log: list[str] = []
        Beside(log).setServiceParent(service)
        self.assertEqual(log, ["started"])

    async def test_signals_are_left_alone(self) -> None:
        """Unless asked to it installs no signal handler."""
        await turns()  # the reactor installs its own handlers when it first runs
        before = handlers()
        service = await self.started(new("127.0.0.1:0", Echo()))
        self.assertEqual(handlers(), before)
        await service.stopService()
        self.assertEqual(handlers(), before)

    async def test_no_upgrades(self) -> None:
        """Where upgrades are off, one that is asked for is refused, and all goes on."""
        server = new("127.0.0.1:0", Echo())
        service = await self.started(server)
        service.upgrade()
        self.assertEqual(await fetch(url(server)), ANSWER)

    async def test_parent_waits(self) -> None:
        """In a `MultiService` its parent's stop waits for the drain."""
        app = Echo(hold=True)
        parent, server = MultiService(), new("127.0.0.1:0", app)
        service = self.service(server)
        service.setServiceParent(parent)
        accepts = server.ready()
        parent.startService()
        await accepts
        client = await self.asking(server, app)
        stopped = parent.stopService()
        await turns()
        self.assertNoResult(stopped)
        app.answer()
        self.assertIn(ANSWER, await client.lost)
        await stopped
