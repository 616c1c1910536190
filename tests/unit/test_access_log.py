"""The access log: one line for each request, however it ends and whatever was sent."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import TimeoutError as HandlerTimeout
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.unit.support import examples
from tests.unit.web import Echo
from tests.unit.websockets import Application, Taking, WebSocketClient
from twisted_graceful.http.log import access_log
from twisted_graceful.http.log.access_log import AccessLog, PartialRequest
from twisted_graceful.http.log.drain_report import Outcome
from twisted_graceful.testing import MemoryConnection, MemoryServer
from twisted_graceful.testing.http_messages import format_request
from twisted_graceful.testing.memory_transport import SEND_BUFFER

from ..case import SynchronousTestCase

COMBINED = re.compile(
    r"(?P<client>[0-9A-Fa-f.:%]+|-) - - "
    r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\\x00-\x1f\x7f-\xff]|\\x[0-9A-F]{2})*)" '
    r"(?P<status>\d{3}) (?P<bytes>\d+) "
    r'"(?P<referer>(?:[^"\\\x00-\x1f\x7f-\xff]|\\x[0-9A-F]{2})*)" '
    r'"(?P<agent>(?:[^"\\\x00-\x1f\x7f-\xff]|\\x[0-9A-F]{2})*)"\n'
)
"""A line of the combined format: nothing that is not escaped can end a value."""

CLIENT = IPv4Address("TCP", "192.0.2.1", 1)

LARGE = 3 * SEND_BUFFER
"""Bytes of a body that the kernel and the transport cannot hold."""

ABRUPT = dict.fromkeys(("read_header_timeout", "read_timeout", "write_timeout", "idle_grace"), 0)
"""Settings of a server that only the drain deadline ends."""


class LoggedTestCase(SynchronousTestCase):
    """A server with an access log in JSON."""

    def serve(self, app: Resource, **settings: Any) -> MemoryServer:
        """Serve, and keep the lines."""
        server = MemoryServer(app, access_log="-", access_log_format="json", **settings)
        server.advance(1_000_000_000.5)
        self.written = server.access_log
        return server

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was written."""
        return [json.loads(each) for each in self.written]

    def assertLogged(self, **expected: Any) -> None:
        """There is one line, and it says this among others; no outcome means an answer."""
        (line,) = self.lines
        expected.setdefault("outcome", None)
        self.assertEqual({name: line.get(name) for name in expected}, expected)


class AnswerTests(LoggedTestCase):
    """Requests that are answered."""

    def test_answered(self) -> None:
        """An answer has its line when it is complete, with all that is known."""
        app = Echo(hold=True)
        server = self.serve(app)
        client = server.connect()
        fields = {"User-Agent": "curl/8", "Referer": "http://a/?b"}
        request = format_request("GET", "/x?y=1", fields)
        client.send(request[:20])
        server.advance(0.25)
        client.send(request[20:])
        server.advance(0.5)
        self.assertEqual(self.written, [])
        app.answer()
        (line,) = self.lines
        self.assertTrue(line.pop("request_id"))
        self.assertEqual(
            line,
            {
                "time": "2001-09-09T01:46:41.250Z",
                "client": "127.0.0.1",
                "method": "GET",
                "target": "/x?y=1",
                "version": "HTTP/1.1",
                "status": 200,
                "bytes": len(b"GET /x?y=1 "),
                "duration": 0.75,
                "host": "localhost",
                "referer": "http://a/?b",
                "user_agent": "curl/8",
            },
        )

    def test_duration_of_each(self) -> None:
        """The time between two requests belongs to neither."""
        server = self.serve(Echo())
        client = server.connect()
        server.advance(1)
        client.request("GET", "/")
        server.advance(1)
        client.request("GET", "/")
        self.assertEqual([each["duration"] for each in self.lines], [0, 0])

    def test_pipelined(self) -> None:
        """Each request that arrives with others has its own line, in order."""
        client = self.serve(Echo()).connect()
        client.send(b"".join(format_request("GET", f"/{number}") for number in range(3)))
        self.assertEqual([each["target"] for each in self.lines], ["/0", "/1", "/2"])

    def test_status(self) -> None:
        """An application that fails answers 500."""

        class Failing(Resource):
            isLeaf = True

        app = Failing()
        app.render_GET = lambda request: 1 / 0  # type: ignore[attr-defined]
        self.serve(app).get("/")
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertLogged(status=500)

    def test_no_body(self) -> None:
        """The answer to HEAD has no bytes."""
        self.serve(Echo()).request("HEAD", "/")
        self.assertLogged(method="HEAD", status=200, bytes=0)

    def test_answer_that_is_read_slowly(self) -> None:
        """An answer is logged when it is sent: its duration has the client's part in it."""
        server = self.serve(Echo())
        client = server.connect()
        client.reading = False
        client.request("POST", "/", body=b"x" * LARGE)
        server.advance(2)
        self.assertEqual(self.written, [])
        client.reading = True
        self.assertEqual(len(client.responses()), 1)
        self.assertLogged(status=200, bytes=LARGE + len(b"POST / "), duration=2)

    def test_last_answer_that_is_read_slowly(self) -> None:
        """Likewise one after which the connection closes."""
        server = self.serve(Echo())
        client = server.connect()
        client.reading = False
        client.request("POST", "/", {"Connection": "close"}, b"x" * LARGE)
        server.advance(2)
        self.assertEqual(self.written, [])
        client.reading = True
        self.assertTrue(client.ended)
        client.close()
        self.assertLogged(status=200, duration=2)

    def test_websocket(self) -> None:
        """A WebSocket is logged when it ends, with what was sent on it."""
        server = self.serve(Taking(Application()))
        client = WebSocketClient(server)
        client.say("hello")
        server.advance(10)
        self.assertEqual(self.written, [])
        client.connection.close()
        self.assertLogged(status=101, duration=10, bytes=len(b"\x81\x05hello"))

    def test_websocket_that_is_refused(self) -> None:
        """One that the server closes for what the client has sent says so."""
        server = self.serve(Taking(Application()), max_message_size=4)
        client = WebSocketClient(server)
        client.say("hello")
        client.connection.close()
        self.assertLogged(status=101, outcome="refused")

    def test_websocket_that_answers_no_ping(self) -> None:
        """One whose client is not there any more says so."""
        server = self.serve(Taking(Application()))
        WebSocketClient(server, polite=False)
        server.advance(60)
        self.assertLogged(status=101, outcome="timed out")

    def test_twisteds_hook(self) -> None:
        """What stands in a subclass for ``Site.log`` is called with each request, as ever."""
        server = self.serve(Echo())
        logged: list[bytes] = []
        self.patch(server.site, "log", lambda request: logged.append(request.uri))
        server.get("/x")
        self.assertEqual((logged, self.written), ([b"/x"], []))

    def test_request_that_an_application_changes(self) -> None:
        """What the client asked for is logged, whatever the application makes of it."""

        class Changing(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> bytes:
                request.method, request.uri = b"PUT", "/text"  # type: ignore[assignment]
                request.requestHeaders.removeHeader(b"Host")
                return b"answer"

        self.serve(Changing()).get("/")
        self.assertLogged(method="GET", target="/", host="localhost")


class RefusalTests(LoggedTestCase):
    """Requests that the server answers itself."""

    def refused(self, sent: bytes, **settings: Any) -> None:
        """Send something that is refused."""
        client = self.serve(Echo(), **settings).connect()
        client.send(sent)
        self.assertTrue(client.ended)
        client.close()

    def test_no_request_line(self) -> None:
        """What is no request line is refused, and nothing is known of it."""
        self.refused(b"\x16\x03\x01\r\n\r\n")
        self.assertLogged(
            outcome="refused", status=400, method="", target="", version="", client="127.0.0.1"
        )

    def test_malformed_head(self) -> None:
        """Method and target are known when the request line could be read."""
        self.refused(b"GET /x?y HTTP/1.1\r\nBad name: x\r\n\r\nGET /next HTTP/1.1\r\n\r\n")
        self.assertLogged(outcome="refused", status=400, method="GET", target="/x?y", version="")

    def test_long_request_line(self) -> None:
        """Of a request line that is too long as much is logged as it may have."""
        self.refused(b"GET /" + b"x" * 50_000, max_request_line=100)
        self.assertLogged(outcome="refused", status=414, target="/" + "x" * 96)

    def test_large_head(self) -> None:
        """A head that is too large."""
        self.refused(b"GET /x HTTP/1.1\r\nA: " + b"x" * 500, max_header_size=400)
        self.assertLogged(outcome="refused", status=431, method="GET", target="/x")

    def test_large_body_announced(self) -> None:
        """A body that is announced as too large: the head is known."""
        fields = {"Content-Length": "1000000", "User-Agent": "curl/8"}
        self.refused(format_request("POST", "/x", fields), max_body_size=999)
        self.assertLogged(
            outcome="refused", status=413, version="HTTP/1.1", user_agent="curl/8", host="localhost"
        )

    def test_large_body_received(self) -> None:
        """A body that turns out to be too large."""
        head = format_request("POST", "/x", {"Transfer-Encoding": "chunked"})
        self.refused(head + b"400\r\n" + b"x" * 0x400, max_body_size=999)
        self.assertLogged(outcome="refused", status=413, target="/x")

    def test_bytes(self) -> None:
        """The bytes are those of the short body, and none for HEAD."""
        client = self.serve(Echo()).connect()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        (response,) = client.responses()
        self.assertLogged(outcome="refused", bytes=len(response.body))
        client.close()
        self.refused(format_request("HEAD", "/", {"Content-Length": "1000"}), max_body_size=1)
        self.assertLogged(outcome="refused", status=413, bytes=0)

    def test_after_answers(self) -> None:
        """A request that is refused after others on the same connection."""
        client = self.serve(Echo()).connect()
        client.send(format_request("GET", "/x") + b"GET /y HTTP/1.1\r\n\r\n")
        self.assertEqual([each["status"] for each in self.lines], [200, 400])
        self.assertEqual([each["target"] for each in self.lines], ["/x", "/y"])


class TimeoutTests(LoggedTestCase):
    """Requests that took too long."""

    def test_silent(self) -> None:
        """A connection that never sends a byte is no request."""
        server = self.serve(Echo())
        server.connect()
        server.advance(60)
        self.assertEqual((len(server.connections), self.written), (0, []))

    def test_idle(self) -> None:
        """Nor is one that is closed between requests."""
        server = self.serve(Echo())
        client = server.connect()
        client.request("GET", "/")
        server.advance(100)
        self.assertEqual((len(server.connections), len(self.written)), (0, 1))

    def test_head(self) -> None:
        """A head that does not arrive in time."""
        server = self.serve(Echo(), read_header_timeout=4)
        server.connect().send(b"GET /x HTTP/1.1\r\n")
        server.advance(60)
        self.assertLogged(outcome="timed out", status=408, method="GET", target="/x", duration=4)

    def test_body(self) -> None:
        """A body that does not arrive in time."""
        server = self.serve(Echo(), read_timeout=4)
        server.connect().send(format_request("POST", "/x", {"Content-Length": "5"}) + b"1")
        server.advance(60)
        self.assertLogged(outcome="timed out", status=408, target="/x", version="HTTP/1.1")

    def test_handler(self) -> None:
        """An application that does not answer in time; it is told, and gets the same name."""
        app = Echo(hold=True)
        server = self.serve(app, handler_timeout=4)
        server.connect().send(format_request("GET", "/x"))
        (request,) = app.held
        end = request.notifyFinish()
        server.advance(60)
        self.failureResultOf(end, HandlerTimeout)
        self.assertLogged(
            outcome="timed out", status=503, target="/x", request_id=request.request_id
        )

    def test_reader(self) -> None:
        """A client that does not read its answer: the bytes are those that were sent."""
        server = self.serve(Echo(), write_timeout=4)
        client = server.connect()
        client.reading = False
        client.request("POST", "/x", body=b"x" * LARGE)
        server.advance(60)
        (line,) = self.lines
        self.assertEqual((line["outcome"], line["status"]), ("timed out", 200))
        self.assertTrue(0 < line["bytes"] <= SEND_BUFFER, line)

    def test_half_closed(self) -> None:
        """A client that has closed its side, and waits for too long, is taken for gone."""
        server = self.serve(Echo(hold=True), half_close_timeout=4)
        client = server.connect()
        client.request("GET", "/x")
        client.finish()
        server.advance(60)
        self.assertLogged(outcome="client gone", status=499, target="/x")


class Streaming(Resource):
    """Begins an answer."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """Write a part."""
        self.request = request
        request.write(b"begin")
        return NOT_DONE_YET


class ClientGoneTests(LoggedTestCase):
    """Requests whose client did not stay for the answer."""

    def test_before_the_answer(self) -> None:
        """No answer was begun: the status is nginx's 499."""
        client = self.serve(Echo(hold=True)).connect()
        client.request("GET", "/x")
        client.abort()
        self.assertLogged(outcome="client gone", status=499, bytes=0, target="/x")

    def test_in_the_answer(self) -> None:
        """The answer was begun: its status, and what was written of it."""
        client = self.serve(Streaming()).connect()
        client.request("GET", "/x")
        client.abort()
        self.assertLogged(outcome="client gone", status=200, bytes=5, target="/x")

    def test_while_it_reads(self) -> None:
        """The answer was complete, and not read: what was sent of it."""
        client = self.serve(Echo()).connect()
        client.reading = False
        client.request("POST", "/x", body=b"x" * LARGE)
        client.abort()
        (line,) = self.lines
        self.assertEqual((line["outcome"], line["status"]), ("client gone", 200))
        self.assertTrue(0 < line["bytes"] <= SEND_BUFFER, line)

    def test_after_the_answer(self) -> None:
        """The answer was sent: nothing more is to be said."""
        for leave in (MemoryConnection.close, MemoryConnection.abort):
            with self.subTest(leave=leave):
                client = self.serve(Echo()).connect()
                client.request("GET", "/x")
                leave(client)
                self.assertLogged(status=200)

    def test_in_the_head(self) -> None:
        """A request is one from its first byte, however the client goes."""
        for leave in (MemoryConnection.close, MemoryConnection.abort):
            with self.subTest(leave=leave):
                client = self.serve(Echo()).connect()
                client.send(b"POST /x HTTP/1.1\r\nHo")
                leave(client)
                self.assertLogged(outcome="client gone", status=499, method="POST", target="/x")

    def test_in_the_request_line(self) -> None:
        """Half a target is none."""
        client = self.serve(Echo()).connect()
        client.send(b"POST /x")
        client.close()
        self.assertLogged(outcome="client gone", status=499, method="", target="")

    def test_in_the_body(self) -> None:
        """Likewise in the body."""
        client = self.serve(Echo()).connect()
        client.send(format_request("POST", "/x", {"Content-Length": "5"}) + b"1")
        client.close()
        self.assertLogged(outcome="client gone", status=499, target="/x", version="HTTP/1.1")

    def test_in_a_later_head(self) -> None:
        """Half a head that came with a whole request before the client closed its side."""
        app = Echo(hold=True)
        client = self.serve(app).connect()
        client.send(format_request("GET", "/x") + b"GET /y HTTP/1.1\r\n")
        client.finish()
        app.answer()
        self.assertTrue(client.ended)
        said = [(each["target"], each.get("outcome")) for each in self.lines]
        self.assertEqual(said, [("/x", None), ("/y", "client gone")])

    def test_empty_lines(self) -> None:
        """Empty lines are no request."""
        client = self.serve(Echo()).connect()
        client.send(b"\r\n\r\n\r")
        client.close()
        self.assertEqual(self.written, [])


class CutTests(LoggedTestCase):
    """Requests that the server did not let end."""

    def test_unanswered(self) -> None:
        """The drain deadline, before an answer: the status is nginx's 444."""
        server = self.serve(Echo(hold=True))
        server.connect().request("GET", "/x")
        self.assertEqual(len(server.stop().cut), 1)
        self.assertLogged(outcome="cut", status=444, target="/x", duration=30)

    def test_half_answered(self) -> None:
        """The drain deadline, within an answer."""
        server = self.serve(Streaming())
        server.connect().request("GET", "/x")
        server.stop()
        self.assertLogged(outcome="cut", status=200, bytes=5)

    def test_half_read(self) -> None:
        """The drain deadline, while the client sends."""
        server = self.serve(Echo(), **ABRUPT)
        server.connect().send(b"GET /x HTTP/1.1\r\n")
        server.stop()
        self.assertLogged(outcome="cut", status=444, target="/x")

    def test_half_sent(self) -> None:
        """The drain deadline, while the client reads, on its last answer or not."""
        for headers in ({}, {"Connection": "close"}):
            with self.subTest(headers=headers):
                server = self.serve(Echo(), **ABRUPT)
                client = server.connect()
                client.reading = False
                client.request("POST", "/x", headers, b"x" * LARGE)
                server.stop()
                (line,) = self.lines
                self.assertEqual((line["outcome"], line["status"]), ("cut", 200))
                self.assertTrue(0 < line["bytes"] <= SEND_BUFFER, line)

    def test_logged_before_the_drain_is_over(self) -> None:
        """Whoever waits for the drain finds the line in the log."""
        server = self.serve(Echo(hold=True))
        server.connect().request("GET", "/x")
        seen: list[int] = []
        server.drain().addCallback(lambda _: seen.append(len(self.written)))
        server.advance(60)
        self.assertEqual(seen, [1])

    def test_drained(self) -> None:
        """What a drain waits for is logged as any other request."""
        app = Echo(hold=True)
        server = self.serve(app)
        client = server.connect()
        client.request("GET", "/x")
        server.drain()
        app.answer()
        client.close()
        self.assertLogged(status=200)

    def test_by_the_application(self) -> None:
        """An application that aborts the connection, by whichever of its handles."""
        for handle in ("channel", "transport"):
            with self.subTest(handle=handle):
                app = Streaming()
                server = self.serve(app)
                server.connect().request("GET", "/x")
                getattr(app.request, handle).abortConnection()
                server.advance(1)
                self.assertLogged(outcome="cut", status=200, bytes=5)

    def test_aborted_and_finished(self) -> None:
        """An answer that is finished on a connection that is aborted was not sent."""
        app = Streaming()
        server = self.serve(app)
        server.connect().request("GET", "/x")
        request = app.request
        request.channel.abortConnection()
        request.finish()
        server.advance(1)
        self.assertLogged(outcome="cut", status=200)

    def test_closed_by_the_application(self) -> None:
        """An answer that the application leaves unfinished ends with the connection."""
        app = Streaming()
        server = self.serve(app)
        client = server.connect()
        client.request("GET", "/x")
        app.request.loseConnection()
        client.close()
        self.assertLogged(outcome="client gone", status=200, bytes=5)


class RequestIdTests(LoggedTestCase):
    """What names a request."""

    def ids(self, said: str, *, trusted: bool) -> tuple[str, str]:
        """What the application sees, and what is logged, if a client sends this."""
        app = Echo(hold=True)
        client = self.serve(app).connect()
        client.request("GET", "/", {"X-Request-ID": said} if said else {})
        (request,) = app.held
        request.from_trusted_proxy = trusted
        seen = request.request_id
        app.answer()
        return seen, self.lines[0]["request_id"]

    def test_own(self) -> None:
        """Each has its own, which the application sees too."""
        one, two = self.ids("", trusted=False), self.ids("", trusted=False)
        self.assertEqual((one[0], two[0]), (one[1], two[1]))
        self.assertNotEqual(one, two)

    def test_of_a_proxy(self) -> None:
        """A trusted proxy's is taken."""
        self.assertEqual(self.ids("abc-1", trusted=True), ("abc-1", "abc-1"))

    def test_of_a_client(self) -> None:
        """Anybody else's is not."""
        self.assertNotIn("abc-1", self.ids("abc-1", trusted=False))

    def test_invalid(self) -> None:
        """Nor is one that would not stand in a log as it is, or is too long."""
        for said in ('a"b', "a b", "\N{LATIN SMALL LETTER E WITH ACUTE}", "x" * 129):
            with self.subTest(said=said):
                seen, logged = self.ids(said, trusted=True)
                self.assertNotEqual(seen, said)
                self.assertEqual(seen, logged)


def fragment(
    *asked: bytes, code: int = 200, sent: int = 0, client: object = CLIENT, **fields: bytes
) -> PartialRequest:
    """A request: method, target and version; and header fields, named as in Python."""
    request = PartialRequest(client, *asked)  # type: ignore[arg-type]
    request.code, request.sentLength = code, sent
    for name, value in fields.items():
        request.head.headers[name.replace("_", "-").title().encode()] = [value]
    return request


def written(
    format: str,
    request: PartialRequest,
    now: float = 0,
    begun: float = 0,
    outcome: Outcome = Outcome.ANSWERED,
) -> str:
    """Its line."""
    lines: list[bytes] = []
    clock = Clock()
    clock.advance(now)
    AccessLog(format, clock, lines.append).write(request, begun, outcome)
    (line,) = lines
    return line.decode("ascii")


def combined(request: PartialRequest, **values: Any) -> str:
    """Its line in the combined format."""
    return written("combined", request, **values)


class CombinedTests(SynchronousTestCase):
    """The combined format."""

    def test_line(self) -> None:
        """It is what Apache and nginx write."""
        line = combined(
            fragment(
                b"GET",
                b"/apache_pb.gif",
                b"HTTP/1.0",
                sent=2326,
                referer=b"http://a/b",
                user_agent=b"Mozilla/4.08 [en]",
            )
        )
        at = line.partition("[")[2].partition("]")[0]
        self.assertEqual(
            line,
            f'192.0.2.1 - - [{at}] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://a/b" '
            '"Mozilla/4.08 [en]"\n',
        )

    def test_nothing_known(self) -> None:
        """What is not known is a dash."""
        line = combined(fragment(client=UNIXAddress(None), code=408))
        self.assertRegex(line, r'^- - - \[[^]]*\] "-" 408 0 "-" "-"\n$')

    def test_request_line(self) -> None:
        """A request line that is known in part has that part."""
        request = fragment(b"GET", b"/", code=400)
        self.assertIn('] "GET /" 400 ', combined(request))

    def test_time(self) -> None:
        """The time is the second of the line, with the offset of the local zone."""
        lines: list[bytes] = []
        clock = Clock()
        access_log = AccessLog("combined", clock, lines.append)
        for now in (0.9, 0.95, 1.1, 1_000_000_000.0, 1_720_000_000.0):  # both halves of a year
            with self.subTest(now=now):
                clock.advance(now - clock.seconds())
                access_log.write(fragment(), now)
                found = COMBINED.fullmatch(lines[-1].decode())
                assert found is not None
                at = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
                self.assertEqual(at.timestamp(), int(now))

    def test_escapes(self) -> None:
        r"""Whatever could end a value, or a line, is ``\xHH``."""
        agent = b'a" 200 0\r\n\t\\x41 \x1b[2J\x7f caf\xc3\xa9'
        line = combined(fragment(user_agent=agent))
        self.assertIn(r'"a\x22 200 0\x0D\x0A\x09\x5Cx41 \x1B[2J\x7F caf\xC3\xA9"' + "\n", line)

    @examples
    @given(*[st.binary(max_size=20)] * 4)
    def test_no_value_forges_a_line(
        self, method: bytes, target: bytes, referer: bytes, agent: bytes
    ) -> None:
        """Any bytes make one line of seven values, from which they can be read again."""
        request = fragment(method, target, b"HTTP/1.1", referer=referer, user_agent=agent)
        found = COMBINED.fullmatch(combined(request))
        assert found is not None
        asked = b"%b %b HTTP/1.1" % (method, target)
        for name, value in (("request", asked), ("referer", referer), ("agent", agent)):
            text = re.sub(r"\\x(..)", lambda each: chr(int(each[1], 16)), found[name])
            self.assertEqual(text.encode("latin-1"), value)


class JsonTests(SynchronousTestCase):
    """The JSON format."""

    def line(self, request: PartialRequest, **values: Any) -> dict[str, Any]:
        """Its line."""
        line = written("json", request, **values)
        self.assertEqual((line.count("\n"), line[-1:]), (1, "\n"))
        read: dict[str, Any] = json.loads(line)
        return read

    def test_nothing_known(self) -> None:
        """What is not known is empty."""
        line = self.line(fragment(client=UNIXAddress(None)))
        for name in ("method", "target", "version", "host", "referer", "user_agent"):
            with self.subTest(name=name):
                self.assertEqual(line[name], "")
        self.assertEqual(line["client"], "-")

    def test_time(self) -> None:
        """The time is UTC, to the millisecond."""
        for now, text in (
            (0.0004, "1970-01-01T00:00:00.000Z"),
            (1.9996, "1970-01-01T00:00:01.999Z"),
        ):
            with self.subTest(now=now, text=text):
                self.assertEqual(self.line(fragment(), now=now)["time"], text)

    def test_clock_set_back(self) -> None:
        """A duration is never negative."""
        self.assertEqual(self.line(fragment(), begun=5, now=4)["duration"], 0)

    def test_outcome(self) -> None:
        """How it ended is said if it was not answered."""
        self.assertNotIn("outcome", self.line(fragment()))
        for outcome in set(Outcome) - {Outcome.ANSWERED}:
            with self.subTest(outcome=outcome):
                self.assertEqual(self.line(fragment(), outcome=outcome)["outcome"], outcome.value)

    def test_text(self) -> None:
        """UTF-8 is text; of other bytes what is readable is."""
        agent = 'caf\N{LATIN SMALL LETTER E WITH ACUTE} "\\\r\n\x7f\x00'.encode() + b"\xff"
        line = self.line(fragment(user_agent=agent))
        self.assertEqual(
            line["user_agent"],
            'caf\N{LATIN SMALL LETTER E WITH ACUTE} "\\\r\n\x7f\x00\\xff',
        )

    @examples
    @given(*[st.text(max_size=20)] * 4)
    def test_no_value_forges_a_line(
        self, method: str, target: str, referer: str, agent: str
    ) -> None:
        """Any text makes one line, from which it can be read again."""
        line = self.line(
            fragment(
                method.encode(),
                target.encode(),
                referer=referer.encode(),
                user_agent=agent.encode(),
            )
        )
        read = [line[name] for name in ("method", "target", "referer", "user_agent")]
        self.assertEqual(read, [method, target, referer, agent])

    @examples
    @given(st.binary(max_size=40))
    def test_no_bytes_forge_a_line(self, agent: bytes) -> None:
        """Any bytes make one line."""
        line = self.line(fragment(user_agent=agent))
        self.assertEqual(list(line)[-1], "request_id")


class BatchTests(SynchronousTestCase):
    """Lines are made several at once."""

    def setUp(self) -> None:
        """Make a log with batches of three, and a buffer for one of them."""
        self.patch(access_log, "BATCH", 3)
        self.clock = Clock()
        self.written: list[bytes] = []
        self.log = self.make("combined", 1)

    def make(self, format: str, buffer: int) -> AccessLog:
        """Make a log."""
        return AccessLog(format, self.clock, self.written.append, buffer=buffer)

    def write(self, *targets: bytes) -> None:
        """Log requests."""
        for target in targets:
            self.log.write(fragment(b"GET", target), 0)

    def targets(self) -> list[list[bytes]]:
        """The targets of the requests in each batch."""
        return [
            [line.split()[6].strip(b'"') for line in each.splitlines()] for each in self.written
        ]

    def test_full(self) -> None:
        """A batch that is full is passed on, as a whole and in order."""
        self.write(b"/1", b"/2")
        self.assertEqual(self.written, [])
        self.write(b"/3", b"/4")
        self.assertEqual(self.targets(), [[b"/1", b"/2", b"/3"]])

    def test_buffer(self) -> None:
        """Batches are passed on together when the buffer is full."""
        self.log = self.make("combined", 300)
        self.write(*[b"/"] * 9)
        self.assertEqual(self.targets(), [[b"/"] * 6])
        self.log.flush()
        self.assertEqual(self.targets(), [[b"/"] * 6, [b"/"] * 3])

    def test_within_a_second(self) -> None:
        """One that does not become full is passed on after a second; no timer is left behind."""
        self.write(b"/1")
        self.clock.advance(0.9)
        self.write(b"/2")
        self.assertEqual(self.written, [])
        self.clock.advance(0.1)
        self.assertEqual(self.targets(), [[b"/1", b"/2"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_time_of_each(self) -> None:
        """Each line has the time at which its request was over."""
        self.log = self.make("json", 1)
        self.write(b"/1")
        self.clock.advance(0.5)
        self.write(b"/2", b"/3")
        times = [json.loads(line)["time"] for line in self.written[0].splitlines()[:2]]
        self.assertEqual(times, ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.500Z"])

    def test_close(self) -> None:
        """At the close the rest is passed on, and no timer is left behind."""
        self.write(b"/1")
        self.log.close()
        self.log.close()
        self.assertEqual(self.targets(), [[b"/1"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_is_broken(self) -> None:
        """A request that an application has made something else of costs no other its line."""
        self.write(b"/1")
        self.log.write(fragment(client=IPv4Address("TCP", None, 1)), 0)  # type: ignore[arg-type]
        self.write(b"/2")
        self.assertEqual(self.targets(), [[b"/1", b"/2"]])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)


pieces = st.sampled_from(
    [
        format_request("GET", "/x"),
        format_request("POST", "/y", body=b"twelve bytes"),
        b'GET /z HTTP/1.1\r\nHost: x\r\nUser-Agent: "\\\x80\r\n\r\n',
        b"GET / HTTP/1.0\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
    ]
)


class WireTests(SynchronousTestCase):
    """Whatever a client sends."""

    @examples
    @given(st.lists(st.one_of(pieces, st.binary(max_size=30)), max_size=6), st.booleans())
    def test_one_line_for_each_request(self, sent: list[bytes], aborts: bool) -> None:
        """Each answer has a line, and so has a request that the client did not finish."""
        server = MemoryServer(Echo(), access_log="-")
        written = server.access_log
        client = server.connect()
        for each in sent:
            client.send(each)
        answers = client.take().count(b"\r\nServer: ")
        self.assertEqual(len(written), answers)
        under_way = any(each.phase.name == "READING" for each in server.connections)
        if aborts:
            client.abort()
        else:
            client.close()
        server.advance(60)
        self.assertEqual(len(written), answers + under_way)
        for line in written:
            self.assertIsNotNone(COMBINED.fullmatch(line), line)
