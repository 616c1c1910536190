"""The shutdown delay: after TERM the process serves on, and tells all that it will stop."""

from __future__ import annotations

import re
import signal
import sys

from websockets.sync.client import connect

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from .client import Client
from .harness import FOREGROUND, Server, served
from .http2_client import Http2Client
from .load import Load
from .peers import free_port, haproxy
from .waiting import until

HAPROXY = """
listen web
    bind 127.0.0.1:{port}
    log stdout format raw local0
    log-format "outcome %ST %ts %s"
    option dontlognull
    retries 0
    http-reuse always
    option httpchk GET /ready
    timeout check 1s
    default-server check inter 100ms fall 2 rise 1
    server stopping 127.0.0.1:{stopping}
    server staying 127.0.0.1:{staying}
"""
"""One that never asks twice, so that whatever a server refuses or loses is an error."""

LONG = ("--shutdown-delay", "60")
"""A delay that no test waits for."""

STANDALONE = """
from twisted.application.service import Application
import sys
sys.path.insert(0, ".")
from app import resource
from twisted_graceful import new
application = Application("standalone")
new("127.0.0.1:0", resource, shutdown_delay=60, idle_grace=0.3).setServiceParent(application)
"""

STOPPED_BY_ITSELF = """
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted_graceful import listen_and_serve
import app

class Stop(Resource):
    isLeaf = True

    def render_GET(self, request):
        if request.path == b"/stop":
            reactor.stop()
            return b""
        return app.resource.render(request)

listen_and_serve("127.0.0.1:0", Stop(), shutdown_delay=60)
"""


def stopping(server: Server, number: int = signal.SIGTERM) -> None:
    """Tell a server to stop, and wait until its delay has begun."""
    server.kill(number)
    server.said("is not ready any more; it accepts for another 60 seconds")


class LameDuckTests(SynchronousTestCase):
    """What clients see."""

    def test_new_connections(self) -> None:
        """In the delay a new connection is served, and its answer announces the close."""
        with served(*LONG) as server:
            self.assertEqual(server.connect().ask("/ready").status, 200)
            stopping(server)
            client = server.connect()
            answer = client.ask("/")
            self.assertEqual((answer.body, answer.last), ("1", True))
            self.assertTrue(client.closed())

    def test_not_ready(self) -> None:
        """In the delay readiness is 503."""
        with served(*LONG) as server:
            stopping(server)
            self.assertEqual(server.connect().ask("/ready").status, 503)

    def test_idle_connections(self) -> None:
        """In the delay an idle connection stays beyond its grace, until its next answer."""
        with served(*LONG, "--idle-grace", "0") as server:
            idle = server.connect()
            self.assertFalse(idle.ask("/").last)
            stopping(server)
            for _ in range(4):  # each of them takes longer than a look at all connections
                self.asks_slowly(server.connect())
            self.assertTrue(idle.ask("/").last)
            self.assertTrue(idle.closed())

    def asks_slowly(self, client: Client) -> None:
        """Take as long for a request as the answer of a gate that is open takes."""
        client.socket.settimeout(0.3)
        self.assertRaises(TimeoutError, client.socket.recv, 1)
        client.close()

    def test_told_at_its_begin(self) -> None:
        """Event streams and long polls learn of the stop at the begin of the delay."""
        with served(*LONG) as server:
            events, poll = server.connect(), server.hold()
            events.get("/events")
            stopping(server)
            self.assertEqual(events.answer().body, "data: hello\n\ndata: bye\n\n")
            server.wait_for("held.draining")
            self.assertFalse(server.refuses())
            server.open("held")
            self.assertTrue(poll.answer().last)

    def test_then_the_drain(self) -> None:
        """After the delay the server drains, and ends; the delay lasts though nobody is there."""
        with served("--shutdown-delay", "0.7") as server:
            server.get()
            server.kill(signal.SIGTERM)
            self.assertFalse(server.refuses())
            self.assertEqual(server.exit_status(), 0)
            self.assertTrue(server.refuses())
            self.assertRegex(server.log, r"0 cut, in 0\.\d s after a delay of 0\.[7-9] s")

    def test_deadline_begins_after_it(self) -> None:
        """The drain has all of its time, beginning after the delay."""
        with served("--shutdown-delay", "1", "--drain-timeout", "0.5") as server:
            client = server.hold()
            self.assertEqual(server.stop(), 1)
            self.assertRaises(ConnectionError, client.answer)
            self.assertRegex(server.log, r"1 cut, in 0\.\d s after a delay of 1\.\d s; cut: GET")

    def test_http2(self) -> None:
        """Over HTTP/2 who asks is told to send no more, and is answered; who is idle stays."""
        with served(*LONG, certificate=ONE + ONE_KEY) as server:
            busy, idle = Http2Client(server), Http2Client(server)
            idle.ask("/")
            held = busy.begin("/gate/held")
            server.wait_for("held.begun")
            stopping(server)
            while not busy.goaways:
                busy.step()
            server.open("held")
            busy.finish(held)
            self.assertEqual(held.body, b"1")
            self.assertTrue(busy.closed())
            self.assertEqual(idle.goaways, [])
            self.assertEqual(idle.ask("/").body, b"1")
            self.assertTrue(idle.closed())

    def test_websocket(self) -> None:
        """WebSockets stay, new ones are served, and applications that asked take their leave."""
        with served(*LONG) as server:
            url = f"ws://127.0.0.1:{server.ports[0]}/socket"
            with connect(url) as leaving, connect(url) as staying:
                leaving.send("take your leave")
                leaving.recv(15)
                stopping(server)
                self.assertEqual(list(leaving), ["goodbye"])
                with connect(url) as new:
                    for client in (staying, new):
                        with self.subTest(client=client):
                            client.send("hello")
                            self.assertEqual(client.recv(15), "hello")


class EndTests(SynchronousTestCase):
    """The delay and upgrades. `test_stop` has what ends it before its time."""

    def test_upgrade_is_refused(self) -> None:
        """An upgrade that is asked for in the delay is refused, with a line in the log."""
        with served(*LONG) as server:
            stopping(server)
            server.kill(signal.SIGUSR2)
            server.said("Upgrade refused: this process is stopping")
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.family(), [server.pid])

    def test_an_upgrade_has_none(self) -> None:
        """A predecessor drains without a delay, for its successor serves, and is ready."""
        with served(*LONG) as server:
            poll = server.hold()
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.wait_for("held.draining")
            self.assertEqual(server.get("/ready").status, 200)
            server.open("held")
            poll.answer()
            poll.close()
            self.assertEqual(server.ended(server.serving(0)), 0)
            self.assertNotIn("not ready any more", server.log)

    def test_successor(self) -> None:
        """A successor on probation has its delay; its predecessor comes back no more."""
        with served(*LONG, "--probation", "60") as server:
            predecessor = server.pid
            server.kill(signal.SIGUSR2)
            server.hand_over()
            stopping(server)
            server.ended(predecessor)
            self.assertEqual(server.get("/ready").status, 503)
            server.kill(signal.SIGTERM)
            server.ended(server.pid)
            self.assertTrue(server.refuses())

    def test_stop_while_a_successor_starts(self) -> None:
        """A stop in the middle of an upgrade ends the successor, and then has its delay."""
        with Server("--app", "app.slow_factory", *LONG) as server:
            server.open("factory")
            server.get()
            server.shut("factory")
            server.kill(signal.SIGUSR2)
            successor = server.starting(1)
            server.wait_for("factory.begun")
            stopping(server)
            server.ended(successor)
            self.assertTrue(server.connect().ask("/").last)


class LoadBalancerTests(SynchronousTestCase):
    """What the delay is for."""

    def test_haproxy(self) -> None:
        """Of several servers behind HAProxy one stops under load, and no request fails."""
        with (
            served("--shutdown-delay", "1.5") as stopping,
            served() as staying,
            free_port() as port,
        ):
            config = HAPROXY.format(port=port, stopping=stopping.ports[0], staying=staying.ports[0])
            with haproxy(port, config=config) as peer:
                with Load(f"http://127.0.0.1:{port}/") as load:
                    until(lambda: "outcome 200 -- stopping" in peer.log, "it gets requests")
                    self.assertEqual(stopping.stop(), 0)
                outcomes = set(re.findall(r"^outcome (\S+ \S\S) ", peer.log, re.MULTILINE))
            self.assertEqual(load.summary.errors, ())
            # A request whose client has gone is one that wrk had open at its end.
            self.assertEqual({each for each in outcomes if each[-2] != "C"}, {"200 --"})
            self.assertRegex(stopping.log, "[1-9][0-9]* answered, .*told to close, .*0 cut, in ")


class WaysInTests(SynchronousTestCase):
    """The delay holds, whoever stops the server."""

    def serves_on(self, server: Server) -> None:
        """The delay has begun: it serves."""
        server.said("is not ready any more")
        answer = server.get("/ready")
        self.assertEqual((answer.status, answer.last), (503, True))

    def test_without_signals_of_ours(self) -> None:
        """A server of its own in a twistd application, stopped by twistd."""
        server = Server(command=(*FOREGROUND, "-y", "app.tac"))
        server.write("app.tac", STANDALONE)
        with server:
            port = int(server.said(r"Listening on http://127\.0\.0\.1:(\d+)")[1])
            server.get("/ready", port)  # from now on the reactor runs, and handles signals
            server.kill(signal.SIGTERM, server.family()[0])
            server.said("is not ready any more")
            answer = server.get("/ready", port)
            self.assertEqual((answer.status, answer.last), (503, True))

    def test_reactor_stopped_by_the_application(self) -> None:
        """An application that stops the reactor itself; TERM is the first word of its operator."""
        server = Server(command=(sys.executable, "program.py"))
        server.write("program.py", STOPPED_BY_ITSELF)
        with server:
            server.get("/stop")
            self.serves_on(server)
            server.kill(signal.SIGTERM)
            server.said("Stopping: in order")
            self.assertFalse(server.refuses())
            server.kill(signal.SIGTERM)
            server.exit_status()
