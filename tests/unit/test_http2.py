"""An HTTP/2 connection: requests, answers, flow control and its end."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.static import File
from zope.interface import implementer

from tests.unit.http2_client import Answer, Http2Client, fields, http2_server
from tests.unit.support import examples, temporary_directory
from tests.unit.web import Echo, Fields, Held, timers_left
from twisted_graceful import draining
from twisted_graceful.http.phases import ConnectionPhase

from ..case import SynchronousTestCase
from .http2_client import A_BIT

ALL_STREAMS = 2**31 - 1


class Http2TestCase(SynchronousTestCase):
    """A server, whose application is the test, and its client."""

    def setUp(self) -> None:
        """Connect a client."""
        self.app = Held()
        self.server = http2_server(self.app)
        self.client = Http2Client(self.server)
        self.client.exchange()

    def ask(self, *header: tuple[str, str], body: bytes | None = None) -> tuple[Request, Answer]:
        """Send a request; it, and what will be its answer."""
        number = self.client.request(*header, body=body)
        self.client.exchange()
        return self.app.requests[-1], self.client.answers[number]


class RequestTests(Http2TestCase):
    """What an application sees of a request."""

    def test_line(self) -> None:
        """Method, target, path and query are there, and the version is HTTP/2."""
        request, _ = self.ask(*fields("PUT", "/a/b%20c?x=1&x=2"))
        seen = (request.method, request.uri, request.path, request.clientproto)
        self.assertEqual(seen, (b"PUT", b"/a/b%20c?x=1&x=2", b"/a/b%20c", b"HTTP/2"))
        self.assertEqual((request.args, request.postpath), ({b"x": [b"1", b"2"]}, [b"a", b"b c"]))

    def test_authority_is_the_host(self) -> None:
        """What a client calls the authority is the Host field."""
        request, _ = self.ask()
        self.assertEqual(request.getHeader(b"host"), b"localhost")
        self.assertEqual(request.getRequestHostname(), b"localhost")

    def test_fields(self) -> None:
        """Fields come in Twisted's spelling, and each value of a name is there."""
        header = [*fields(accept_language="en"), ("x-a", "1"), ("x-a", "2")]
        request, _ = self.ask(*header)
        found = dict(request.requestHeaders.getAllRawHeaders())
        self.assertEqual(found[b"Accept-Language"], [b"en"])
        self.assertEqual(found[b"X-A"], [b"1", b"2"])

    def test_cookies(self) -> None:
        """Cookies that come one by one are one field (RFC 9113 section 8.2.3)."""
        request, _ = self.ask(*fields(), ("cookie", "a=1"), ("cookie", "b=2"))
        self.assertEqual(request.getHeader(b"cookie"), b"a=1; b=2")
        self.assertEqual((request.getCookie(b"a"), request.getCookie(b"b")), (b"1", b"2"))

    def test_addresses(self) -> None:
        """Both addresses are those of the connection."""
        request, _ = self.ask()
        channel = request.channel
        self.assertEqual(request.getClientAddress(), channel.getPeer())
        self.assertEqual(request.getHost(), channel.getHost())
        self.assertFalse(request.isSecure())

    def test_body(self) -> None:
        """A body is complete when the application sees it, with a length or without."""
        for header in (fields("POST"), fields("POST", content_length="3")):
            with self.subTest(header=header):
                request, _ = self.ask(*header, body=b"abc")
                self.assertEqual(request.content.read(), b"abc")

    def test_body_in_parts(self) -> None:
        """An application sees a request when its body is complete, and not before."""
        number = self.client.request(*fields("POST"), body=b"one ", end=False)
        self.client.exchange()
        self.assertEqual(self.app.requests, [])
        self.client.machine.send_data(number, b"two", end_stream=True)
        self.client.exchange()
        self.assertEqual(self.app.requests[0].content.read(), b"one two")

    def test_large_body(self) -> None:
        """A body of many windows arrives: what has come is acknowledged."""
        server = http2_server(Echo(), max_body_size=1 << 22)
        client = Http2Client(server)
        client.exchange()
        number = client.request(*fields("POST"), end=False)
        sent = 0
        while sent < 3 << 20:
            room = client.machine.local_flow_control_window(number)
            self.assertGreater(room, 0, "the server gives no window")
            size = min(room, client.machine.max_outbound_frame_size)
            client.machine.send_data(number, bytes(size))
            sent += size
            client.exchange()
        client.machine.end_stream(number)
        client.exchange()
        self.assertEqual(len(client.answers[number].body), len(b"POST / ") + sent)

    def test_form(self) -> None:
        """A form is read."""
        form = fields("POST", content_type="application/x-www-form-urlencoded")
        request, _ = self.ask(*form, body=b"a=1&b=2")
        self.assertEqual(request.args, {b"a": [b"1"], b"b": [b"2"]})

    def test_broken_form(self) -> None:
        """A malformed form is answered with 400 when the application asks for it."""
        server = http2_server(Fields())
        client = Http2Client(server)
        header = fields("POST", content_type="multipart/form-data; boundary=x")
        number = client.request(*header, body=b"nonsense")
        client.exchange()
        self.assertEqual(client.answers[number].status, 400)

    def test_trailer_is_dropped(self) -> None:
        """Fields after the body are accepted, and dropped."""
        number = self.client.request(*fields("POST"), body=b"abc", end=False)
        self.client.machine.send_headers(number, [("x-checksum", "1")], end_stream=True)
        self.client.exchange()
        self.assertEqual(self.app.requests[0].content.read(), b"abc")
        self.assertFalse(self.app.requests[0].requestHeaders.hasHeader(b"x-checksum"))

    def test_continue(self) -> None:
        """A client that waits for ``100 Continue`` gets it, if a body is to come."""
        number = self.client.request(*fields("POST", expect="100-continue"), end=False)
        self.client.exchange()
        self.assertTrue(self.client.answers[number].informed)
        self.client.machine.send_data(number, b"abc", end_stream=True)
        self.client.exchange()
        self.assertEqual(self.app.requests[0].content.read(), b"abc")

    def test_no_continue_without_a_body(self) -> None:
        """Where no body will come, nothing is to be continued."""
        _, answer = self.ask(*fields(expect="100-continue"))
        self.assertFalse(answer.informed)

    def test_priorities_are_ignored(self) -> None:
        """What a client says of priorities changes nothing (RFC 9113 section 5.3.2)."""
        number = self.client.machine.get_next_available_stream_id()
        self.client.answers[number] = Answer()
        self.client.machine.prioritize(number, weight=200)
        self.client.machine.send_headers(number, fields(), end_stream=True, priority_weight=1)
        self.client.exchange()
        self.assertEqual(len(self.app.requests), 1)


class ProxyTests(SynchronousTestCase):
    """Requests that a proxy passes on."""

    def test_client(self) -> None:
        """Each stream has the client and the scheme that a trusted proxy names for it."""
        app = Held()
        client = Http2Client(http2_server(app, proxy_headers=True))
        client.request(*fields(x_forwarded_for="192.0.2.1", x_forwarded_proto="https"))
        client.request(*fields(x_forwarded_for="192.0.2.2", x_forwarded_proto="http"))
        client.exchange()
        seen = [(each.getClientAddress().host, each.isSecure()) for each in app.requests]
        self.assertEqual(seen, [("192.0.2.1", True), ("192.0.2.2", False)])
        self.assertEqual(app.requests[0].getHost().port, 443)

    def test_preface(self) -> None:
        """A connection begins with a PROXY header, if it is to, and then with that of HTTP/2."""
        app = Held()
        client = Http2Client(http2_server(app, proxy_protocol=True))
        client.wire.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n")
        client.request(*fields())
        client.exchange()
        self.assertEqual(app.requests[0].getClientAddress().host, "192.0.2.1")


class AnswerTests(Http2TestCase):
    """What a client gets."""

    def test_whole(self) -> None:
        """Status, fields in lower case, body and end."""
        request, answer = self.ask()
        request.setResponseCode(201)
        request.setHeader("X-Thing", "a")
        request.write(b"body")
        request.finish()
        self.client.exchange()
        self.assertEqual((answer.status, answer.body, answer.ended), (201, b"body", True))
        self.assertEqual(answer.headers["x-thing"], "a")
        self.assertEqual(sorted(answer.headers)[:2], ["content-type", "date"])

    def test_length(self) -> None:
        """A resource that returns its body has it announced, as in HTTP/1.1."""
        client = Http2Client(http2_server(Echo()))
        self.assertEqual(client.get("/x").headers["content-length"], "7")

    def test_no_body(self) -> None:
        """An answer without a body ends with its head."""
        request, answer = self.ask()
        request.setResponseCode(204)
        request.finish()
        self.client.exchange()
        self.assertEqual((answer.status, answer.body, answer.ended), (204, b"", True))
        kinds = [type(each) for each in self.client.frames if each.stream_id]
        self.assertEqual(kinds, [HeadersFrame])

    def test_head(self) -> None:
        """The answer to HEAD has the fields of GET, and no body."""
        client = Http2Client(http2_server(Echo()))
        number = client.request(*fields("HEAD"))
        client.exchange()
        answer = client.answers[number]
        self.assertEqual((answer.status, answer.body, answer.ended), (200, b"", True))
        self.assertEqual(answer.headers["content-length"], "7")

    def test_connection_fields_are_removed(self) -> None:
        """What is about the connection, or named there, is left out (RFC 9113 section 8.2.2)."""
        request, answer = self.ask()
        for name, value in (
            ("Connection", "close, X-Hop"),
            ("X-Hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("X-End", "2"),
        ):
            request.setHeader(name, value)
        request.finish()
        self.client.exchange()
        names = set(answer.headers) - {"server", "date", "content-type"}
        self.assertEqual((names, answer.ended), ({"x-end"}, True))

    def test_cookies(self) -> None:
        """Each cookie that is set is a field of its own."""
        request, _ = self.ask()
        request.addCookie("a", "1")
        request.addCookie("b", "2")
        request.finish()
        block = self.client.machine.receive_data
        seen: list[tuple[str, str]] = []
        self.patch(
            self.client.machine,
            "receive_data",
            lambda data: [seen.extend(getattr(e, "headers", [])) or e for e in block(data)],
        )
        self.client.exchange()
        cookies = [value for name, value in seen if name == "set-cookie"]
        self.assertEqual(cookies, ["a=1", "b=2"])

    def test_any_order(self) -> None:
        """Answers come in the order in which they are made."""
        (first, one), (second, two) = self.ask(), self.ask()
        second.write(b"second")
        second.finish()
        self.client.exchange()
        self.assertEqual((one.ended, two.ended), (False, True))
        first.write(b"first")
        first.finish()
        self.client.exchange()
        self.assertEqual((one.body, two.body), (b"first", b"second"))

    def test_event_stream(self) -> None:
        """What is written arrives at once, though the answer is not finished."""
        request, answer = self.ask()
        for event in (b"one", b"two"):
            with self.subTest(event=event):
                request.write(event)
                self.client.exchange()
                self.assertTrue(answer.body.endswith(event))
        self.assertFalse(answer.ended)

    def test_finished(self) -> None:
        """An application is told when its answer is complete."""
        request, _ = self.ask()
        told = request.notifyFinish()
        request.finish()
        self.assertIsNone(self.successResultOf(told))

    def test_error_of_the_application(self) -> None:
        """An application that raises is answered for with 500; other streams live."""

        class Http2ConnectionError(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> bytes:
                raise ValueError("as the test wants it")

        client = Http2Client(http2_server(Http2ConnectionError()))
        self.assertEqual([client.get().status, client.get().status], [500, 500])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_half_an_answer(self) -> None:
        """An answer that its application leaves unfinished does not end as a whole one."""
        request, answer = self.ask()
        told = request.notifyFinish()
        request.write(b"half")
        request.loseConnection()
        self.client.exchange()
        self.assertEqual((answer.body, answer.ended), (b"half", False))
        self.assertEqual(answer.reset, ErrorCodes.INTERNAL_ERROR)
        self.failureResultOf(told)

    def test_no_answer(self) -> None:
        """A request that its application drops is reset."""
        request, answer = self.ask()
        request.loseConnection()
        self.client.exchange()
        self.assertEqual((answer.status, answer.reset), (0, ErrorCodes.INTERNAL_ERROR))

    def test_aborted(self) -> None:
        """An application can end its stream at once; others go on."""
        (first, one), (second, two) = self.ask(), self.ask()
        told = first.notifyFinish()
        first.transport.abortConnection()
        first.transport.abortConnection()
        self.failureResultOf(told)
        second.finish()
        self.client.exchange()
        self.assertEqual((one.reset, two.ended), (ErrorCodes.INTERNAL_ERROR, True))

    def test_not_bytes(self) -> None:
        """Only bytes can be written, as in HTTP/1.1."""
        request, _ = self.ask()
        self.assertRaises(TypeError, request.channel.write, "text")

    def test_trailing_white_space(self) -> None:
        """A value is sent without white space around it, which would make it malformed."""
        request, answer = self.ask()
        request.setHeader("X-A", " b ")
        request.finish()
        self.client.exchange()
        self.assertEqual(answer.headers["x-a"], "b")


SENT = {
    "/a": (fields(path="/a"), None),
    "/b": (fields("POST", "/b"), b"some bytes"),
    "/c": (fields("POST", "/c", content_length="12000"), bytes(12000)),
    "/d": (fields("PUT", "/d", expect="100-continue"), b""),
}


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """Some requests, and where their bytes are split."""
    paths = draw(st.lists(st.sampled_from(list(SENT)), min_size=1, max_size=4))
    return paths, draw(st.lists(st.integers(1, 50000), max_size=6))


class SplitTests(SynchronousTestCase):
    """How bytes are split makes no difference."""

    @examples
    @given(conversations())
    def test_any_split(self, conversation: tuple[list[str], list[int]]) -> None:
        """Any split of the client's bytes gives the same answers."""
        paths, cuts = conversation
        client = Http2Client(http2_server(Echo()))
        for path in paths:
            header, body = SENT[path]
            number = client.request(*header, end=body is None)
            if body is not None:
                for at in range(0, len(body), 5000):
                    client.machine.send_data(number, body[at : at + 5000])
                client.machine.end_stream(number)
        stream = client.machine.data_to_send()
        edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
        for start, end in pairwise(edges):
            client.wire.send(stream[start:end])
        client.exchange()
        expected = [
            f"{dict(SENT[path][0])[':method']} {path} ".encode() + (SENT[path][1] or b"")
            for path in paths
        ]
        self.assertEqual([each.body for each in client.answers.values()], expected)
        self.assertEqual({each.ended for each in client.answers.values()}, {True})


@implementer(IPushProducer)
class Source:
    """Makes an answer without end.

    Attributes:
        told: what it was told, in order.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Note it."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Note it."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """Note it."""
        self.told.append("stop")


class FlowTests(Http2TestCase):
    """The client's windows, and who has to wait for them."""

    def stop_reading(self) -> None:
        """Let the client not open its windows again."""
        self.client.acknowledges = False

    def open(self, size: int, number: int | None = None) -> None:
        """Open a window of the client."""
        self.client.machine.increment_flow_control_window(size, number)
        self.client.exchange()

    def test_window(self) -> None:
        """No more is sent than the windows allow, and the rest when they are opened."""
        self.stop_reading()
        request, answer = self.ask()
        request.write(bytes(100_000))
        request.finish()
        self.client.exchange()
        self.assertEqual(len(answer.body), 65535)
        self.open(50_000)
        self.assertEqual(len(answer.body), 65535)
        self.open(10_000, 1)
        self.assertEqual(len(answer.body), 75_535)
        self.open(50_000, 1)
        self.assertEqual((len(answer.body), answer.ended), (100_000, True))

    def test_window_by_settings(self) -> None:
        """A client that changes its initial window lets waiting streams go on."""
        self.stop_reading()
        request, answer = self.ask()
        request.write(bytes(70_000))
        request.finish()
        self.open(50_000)
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 80_000})
        self.client.exchange()
        self.assertEqual((len(answer.body), answer.ended), (70_000, True))

    def test_connection_window_is_shared(self) -> None:
        """Streams that wait for the connection's window get their parts of it in turn."""
        self.stop_reading()
        asked = [self.ask() for _ in range(3)]
        for request, _ in asked:
            request.write(bytes(60_000))
            request.finish()
        self.client.exchange()
        for _ in range(3):
            self.open(16384)
        sizes = [len(answer.body) for _, answer in asked]
        self.assertEqual(sum(sizes), 65535 + 3 * 16384)
        self.assertLessEqual(max(sizes) - min(sizes), 2 * 16384)

    def test_who_has_waited(self) -> None:
        """A stream that has waited for the connection's window comes before a new one."""

        class AtOnce(Held):
            def render(self, request: Request) -> int:
                request.write(bytes(65535 + 16384))
                return super().render(request)

        self.server = http2_server(AtOnce())
        self.client = Http2Client(self.server)
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        self.client.exchange()
        self.stop_reading()
        old = self.client.get()
        self.client.machine.increment_flow_control_window(16384)
        new = self.client.get()
        self.assertEqual((len(old.body), new.status, new.body), (65535 + 16384, 200, b""))

    def test_round_robin(self) -> None:
        """Streams are sent frame by frame, in turns."""
        asked = [self.ask() for _ in range(2)]
        for request, _ in asked:
            request.write(bytes(60_000))
            request.finish()
        self.client.exchange()
        order = [each.stream_id for each in self.client.frames if isinstance(each, DataFrame)]
        self.assertEqual(order[:6], [1, 3, 1, 3, 1, 3])

    def test_a_small_answer_passes_a_large_one(self) -> None:
        """An answer that waits for its window does not hold another."""
        self.stop_reading()
        (large, _), (small, answer) = self.ask(), self.ask()
        self.open(1000)
        large.write(bytes(1 << 20))
        self.client.exchange()
        small.write(b"small")
        small.finish()
        self.client.exchange()
        self.assertEqual((answer.body, answer.ended), (b"small", True))

    def test_ends_pass_a_closed_window(self) -> None:
        """What has no body needs no window."""
        self.stop_reading()
        large, _ = self.ask()
        large.write(bytes(1 << 20))
        self.client.exchange()
        empty, answer = self.ask()
        empty.setResponseCode(204)
        empty.finish()
        self.client.exchange()
        self.assertEqual((answer.status, answer.ended), (204, True))

    def test_push_producer(self) -> None:
        """A producer is paused when too much waits, and resumed when all is sent."""
        self.stop_reading()
        request, _ = self.ask()
        source = Source(request)
        request.registerProducer(source, True)
        request.write(bytes(65535))
        self.client.exchange()
        self.assertEqual(source.told, [])
        request.write(bytes(65537))
        self.assertEqual(source.told, ["pause"])
        self.client.exchange()
        self.open(1 << 20)
        self.assertEqual(source.told, ["pause"])
        self.open(1 << 20, 1)
        self.assertEqual(source.told, ["pause", "resume"])

    def test_pull_producer(self) -> None:
        """A file is read as fast as its client takes it."""
        path = Path(temporary_directory(self), "file")
        path.write_bytes(bytes(300_000))
        root = Resource()
        root.putChild(b"file", File(str(path)))
        answer = Http2Client(http2_server(root)).get("/file")
        self.assertEqual((len(answer.body), answer.ended), (300_000, True))

    def test_pull_producer_waits(self) -> None:
        """Of a file for which there is no window not more is read than one piece."""
        pulled = Counter[str]()

        class Endless:
            def resumeProducing(self) -> None:
                pulled["pieces"] += 1
                request.write(bytes(50_000))

            def stopProducing(self) -> None:
                pulled["stopped"] += 1

        self.stop_reading()
        request, _ = self.ask()
        request.registerProducer(Endless(), False)
        self.client.exchange()
        self.assertEqual(pulled, {"pieces": 2})
        self.client.wire.abort()
        self.assertEqual(pulled, {"pieces": 2, "stopped": 1})

    def test_one_producer(self) -> None:
        """A second producer is an error of the application."""
        request, _ = self.ask()
        request.registerProducer(Source(request), True)
        with self.assertRaises(RuntimeError):
            request.channel.registerProducer(Source(request), True)

    def test_a_producer_that_raises(self) -> None:
        """A producer that fails ends only its stream, with a 500 if its response has not begun."""

        class Failing:
            def resumeProducing(self) -> None:
                raise ValueError("as the test wants it")

            def stopProducing(self) -> None:
                pass

        (first, one), (second, two) = self.ask(), self.ask()
        first.write(b"begun")
        first.registerProducer(Failing(), False)
        self.client.exchange()
        second.registerProducer(Failing(), False)
        self.client.exchange()
        self.assertEqual((one.reset, two.status), (ErrorCodes.INTERNAL_ERROR, 500))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_a_producer_that_raises_in_a_write(self) -> None:
        """A producer that fails as its response begins ends only its stream, too."""

        class Failing(Source):
            def pauseProducing(self) -> None:
                raise ValueError("as the test wants it")

            def resumeProducing(self) -> None:
                self.request.write(b"begun")
                raise ValueError("as the test wants it")

        (first, one), (second, two), (third, three) = self.ask(), self.ask(), self.ask()
        first.registerProducer(Failing(first), True)
        first.write(bytes(1 << 18))
        second.registerProducer(Failing(second), False)
        self.client.exchange()
        third.finish()
        self.client.exchange()
        self.assertEqual([one.reset, two.reset], [ErrorCodes.INTERNAL_ERROR] * 2)
        self.assertEqual((three.status, three.ended), (200, True))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_kernel_is_full(self) -> None:
        """To a client that does not read no more is written than the transport takes."""
        self.open(1 << 24)
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 25})
        self.client.exchange()
        request, answer = self.ask()
        source = Source(request)
        request.registerProducer(source, True)
        self.client.wire.reading = False
        for _ in range(10):
            request.write(bytes(1 << 20))
            self.server.turn()
        (connection,) = self.server.connections
        self.assertLess(connection.transport.unsent, 200_000)
        self.assertEqual(source.told, ["pause"])
        self.client.wire.reading = True
        self.client.exchange()
        self.assertEqual((len(answer.body), source.told), (10 << 20, ["pause", "resume"]))


class LostTests(Http2TestCase):
    """Requests that nobody waits for any more."""

    def test_reset(self) -> None:
        """A client that resets a stream ends its request, and no other."""
        (first, _), (second, two) = self.ask(), self.ask()
        source, told = Source(first), first.notifyFinish()
        first.registerProducer(source, True)
        self.client.machine.reset_stream(1)
        self.client.exchange()
        self.failureResultOf(told)
        self.assertEqual(source.told, ["stop"])
        first.write(b"in vain")
        self.assertRaises(RuntimeError, first.finish)
        second.finish()
        self.client.exchange()
        self.assertTrue(two.ended)

    def test_reset_while_it_comes(self) -> None:
        """A request that is reset before it has come in whole is never seen."""
        number = self.client.request(*fields("POST"), body=b"half", end=False)
        self.client.exchange()
        self.client.machine.reset_stream(number)
        self.client.exchange()
        self.assertEqual(self.app.requests, [])
        (connection,) = self.server.connections
        self.assertIs(connection.phase, ConnectionPhase.IDLE)

    def test_connection_lost(self) -> None:
        """With the connection all of its requests end, and nothing is left."""
        told = [self.ask()[0].notifyFinish() for _ in range(3)]
        self.client.wire.abort()
        for each in told:
            with self.subTest(each=each):
                self.failureResultOf(each)
        self.assertEqual(len(self.server.connections), 0)
        self.assertEqual(timers_left(self.server), [])

    def test_an_end_that_ends_others(self) -> None:
        """An application that, told of an end, ends its other requests too hinders nothing."""
        (first, _), (second, _) = self.ask(), self.ask()

        def end_other(reason: Failure) -> None:
            second.transport.abortConnection()

        first.notifyFinish().addErrback(end_other)
        told = second.notifyFinish()
        self.client.wire.abort()
        self.failureResultOf(told)
        self.assertEqual(len(self.server.connections), 0)

    def test_client_leaves(self) -> None:
        """After a GOAWAY of the client its requests are answered, and the connection closed."""
        request, answer = self.ask()
        self.client.wire.send(GoAwayFrame(0, last_stream_id=0).serialize())
        self.assertFalse(self.client.wire.ended)
        request.write(b"done")
        request.finish()
        self.client.exchange()
        self.assertEqual((answer.body, answer.ended), (b"done", True))
        self.assertEqual(self.client.goaways, [(1, ErrorCodes.NO_ERROR)])
        self.assertTrue(self.client.wire.ended)

    def test_half_close(self) -> None:
        """A client that closes its side gets the answers to what it has sent in whole."""
        request, answer = self.ask()
        self.client.request(*fields("POST"), body=b"half", end=False)
        self.client.exchange()
        self.client.wire.finish()
        request.finish()
        self.client.exchange()
        self.assertEqual((answer.ended, self.client.wire.ended), (True, True))
        self.assertEqual(len(self.app.requests), 1)


class DrainTests(Http2TestCase):
    """What a drain does to an HTTP/2 connection (RFC 9113 section 6.8)."""

    def drain(self) -> None:
        """Begin to drain, and let the server notice; the client hears it when it reads."""
        self.reports = self.server.drain()
        self.server.advance(A_BIT)

    def begin(self) -> tuple[Request, Answer]:
        """Have a request under way, and begin to drain."""
        asked = self.ask()
        self.drain()
        return asked

    def serve_once(self) -> None:
        """Answer a request, so that the connection is idle."""
        request, _ = self.ask()
        request.finish()
        self.client.exchange()

    def test_two_steps(self) -> None:
        """A first GOAWAY refuses nothing; the second comes when no request is open any more."""
        request, answer = self.begin()
        self.client.exchange()
        self.server.advance(10 * A_BIT)
        self.client.exchange()
        self.assertEqual(self.client.goaways, [(ALL_STREAMS, 0)])
        request.finish()
        self.client.exchange()
        self.assertEqual(self.client.goaways, [(ALL_STREAMS, 0), (1, 0)])
        self.assertEqual((answer.ended, self.client.wire.ended), (True, True))

    def test_what_was_begun_is_answered(self) -> None:
        """The answer is finished, and then the connection is closed, and nothing is cut."""
        request, answer = self.begin()
        self.client.exchange()
        self.assertFalse(self.client.wire.ended)
        request.write(b"whole")
        request.finish()
        self.client.exchange()
        self.assertEqual((answer.body, answer.ended), (b"whole", True))
        self.assertTrue(self.client.wire.ended)
        self.client.wire.close()
        report = self.successResultOf(self.reports)
        self.assertEqual((report.answered, report.cut), (1, ()))

    def test_on_its_way(self) -> None:
        """A request that was sent before the first GOAWAY came is answered."""
        self.begin()
        number = self.client.request(*fields(path="/late"))
        self.client.exchange()
        self.assertEqual(self.app.requests[-1].path, b"/late")
        for request in self.app.requests:
            request.finish()
        self.client.exchange()
        self.assertTrue(self.client.answers[number].ended)
        self.assertEqual(self.client.goaways[-1], (number, 0))

    def test_idle_connection_on_its_way(self) -> None:
        """The same holds on a connection that was idle."""
        self.serve_once()
        self.drain()
        number = self.client.request()
        self.client.exchange()
        self.app.requests[-1].finish()
        self.client.exchange()
        self.assertTrue(self.client.answers[number].ended)
        self.assertTrue(self.client.wire.ended)

    def test_later_requests_are_refused(self) -> None:
        """When the client has confirmed, a request is refused, so that it can be sent elsewhere."""
        request, answer = self.begin()
        self.client.exchange()
        number = self.client.request()
        self.client.exchange()
        self.assertEqual(self.client.answers[number].reset, ErrorCodes.REFUSED_STREAM)
        request.finish()
        self.client.exchange()
        self.assertEqual((answer.ended, len(self.app.requests)), (True, 1))

    def test_idle(self) -> None:
        """An idle connection is closed when its client has confirmed, without any grace."""
        self.serve_once()
        self.drain()
        self.client.exchange()
        self.assertEqual(self.client.goaways, [(ALL_STREAMS, 0), (1, 0)])
        self.assertTrue(self.client.wire.ended)
        self.client.wire.close()
        report = self.successResultOf(self.reports)
        self.assertEqual((report.closed_idle, report.cut), (1, ()))
        self.assertLess(report.seconds, self.server.settings.idle_grace)

    def test_never_used(self) -> None:
        """A connection that has not sent its first request has the grace to do so."""
        self.drain()
        self.assertEqual(self.client.goaways, [])
        number = self.client.request()
        self.client.exchange()
        self.app.requests[0].finish()
        self.client.exchange()
        self.assertTrue(self.client.answers[number].ended)
        self.assertTrue(self.client.wire.ended)

    def test_never_used_to_the_end(self) -> None:
        """When the grace is over it is told to go, as any."""
        self.drain()
        self.server.advance(self.server.settings.idle_grace + A_BIT)
        self.client.exchange()
        self.assertEqual(self.client.goaways, [(ALL_STREAMS, 0), (0, 0)])
        self.assertTrue(self.client.wire.ended)

    def test_silent(self) -> None:
        """A connection that was silent since it was accepted is closed after the grace."""
        silent = self.server.connect()
        self.client.wire.close()
        self.drain()
        self.server.advance(self.server.settings.idle_grace + A_BIT)
        self.assertTrue(silent.ended)

    def test_no_confirmation(self) -> None:
        """A client that confirms nothing and keeps sending requests is refused after the grace."""
        request, answer = self.begin()
        self.client.acknowledges = False
        self.client.exchange()
        self.server.advance(self.server.settings.idle_grace + A_BIT)
        self.client.acknowledges = True
        late = self.client.request()
        self.client.exchange()
        self.assertEqual(self.client.answers[late].reset, ErrorCodes.REFUSED_STREAM)
        self.assertEqual(self.client.goaways, [(ALL_STREAMS, 0)])
        request.finish()
        self.client.exchange()
        self.assertTrue(answer.ended)
        self.assertEqual(self.client.goaways[-1], (late, 0))
        self.assertTrue(self.client.wire.ended)

    def strict(self, **settings: Any) -> None:
        """Use a client that accepts no frame after a GOAWAY, like the h2 library."""
        self.server = http2_server(self.app, **settings)
        self.client = Http2Client(self.server, strict=True)
        self.client.exchange()

    def test_strict_client(self) -> None:
        """A client that accepts nothing after a GOAWAY gets it behind its last response."""
        self.strict()
        request, answer = self.begin()
        late, late_answer = self.ask()
        request.write(b"whole")
        request.finish()
        self.client.exchange()
        self.assertEqual((answer.ended, answer.body, self.client.goaways), (True, b"whole", []))
        late.finish()
        self.client.exchange()
        self.assertEqual((late_answer.ended, self.client.goaways), (True, [(3, 0)]))
        self.assertTrue(self.client.wire.ended)
        self.client.wire.close()
        report = self.successResultOf(self.reports)
        self.assertEqual((report.answered, report.told_to_close, report.cut), (2, 1, ()))

    def test_strict_client_that_is_idle(self) -> None:
        """When it is idle, a request that crosses the GOAWAY is one it can send elsewhere."""
        self.strict()
        self.serve_once()
        self.drain()
        self.client.request()
        self.client.exchange()
        self.assertEqual((self.client.goaways, len(self.app.requests)), ([(1, 0)], 1))
        self.assertTrue(self.client.wire.ended)

    def test_strict_client_with_a_request_on_its_way(self) -> None:
        """A request that has arrived with the last response is answered before the GOAWAY."""
        self.strict()
        request, _ = self.begin()
        number = self.client.request()
        data = self.client.machine.data_to_send()
        self.client.wire.arrive(data[:20])
        self.server.turn()
        request.finish()
        self.server.turn()
        self.client.wire.send(data[20:])
        self.app.requests[-1].finish()
        self.client.exchange()
        self.assertTrue(self.client.answers[number].ended)
        self.assertEqual(self.client.goaways, [(number, 0)])

    def test_strict_client_that_is_never_idle(self) -> None:
        """A client that always has a request open gets a GOAWAY when half of the time is over."""
        self.strict(drain_timeout=10)
        self.begin()
        self.server.advance(5)
        self.server.advance(A_BIT)
        self.assertEqual(self.client.goaways, [])
        self.assertIn(
            GoAwayFrame(0, last_stream_id=ALL_STREAMS).serialize(), self.client.wire.take()
        )

    def test_cut(self) -> None:
        """At the deadline each request that is cut is named, and counted."""
        self.server = http2_server(self.app, drain_timeout=1)
        self.client = Http2Client(self.server)
        self.client.exchange()
        self.ask(*fields(path="/first?secret"))
        self.ask(*fields("POST", "/second"), body=b"x")
        self.client.request(*fields("PUT", "/third"), body=b"half", end=False)
        self.client.exchange()
        report = self.server.stop()
        cut = [(each.method, each.path, each.doing) for each in report.cut]
        self.assertEqual(
            cut,
            [
                ("GET", "/first", ConnectionPhase.RESPONDING.value),
                ("POST", "/second", ConnectionPhase.RESPONDING.value),
                ("PUT", "/third", ConnectionPhase.READING.value),
            ],
        )
        self.assertEqual({each.age for each in report.cut}, {1})
        self.assertTrue(self.client.wire.reset)

    def test_answers_that_are_not_read_are_cut(self) -> None:
        """Answers of which the client has not read the end are named, too."""
        self.server = http2_server(self.app, write_timeout=0)
        self.client = Http2Client(self.server)
        self.client.exchange()
        self.client.machine.increment_flow_control_window(1 << 20)
        asked = [self.ask(*fields(path=path))[0] for path in ("/a", "/b")]
        self.client.wire.reading = False
        for request in asked:
            request.write(bytes(50_000))
            request.finish()
        self.server.turn()
        (connection,) = self.server.connections
        self.assertEqual(connection.streams, {})
        report = self.server.stop()
        self.assertEqual([each.path for each in report.cut], ["/a", "/b"])

    def test_draining(self) -> None:
        """An application can learn of the drain, and end its answer in time."""
        request, answer = self.ask()
        draining(request).addCallback(lambda _: request.finish())
        self.drain()
        self.client.exchange()
        self.assertEqual((answer.ended, self.client.wire.ended), (True, True))

    def test_resumed(self) -> None:
        """A drain that is called off leaves the requests alone."""
        request, answer = self.begin()
        self.server.connections.resume()
        request.finish()
        self.client.exchange()
        self.assertTrue(answer.ended)

    def test_nothing_left(self) -> None:
        """After a drain no timer is left."""
        request, _ = self.begin()
        request.finish()
        self.client.exchange()
        self.client.wire.close()
        self.successResultOf(self.reports)
        self.assertEqual(timers_left(self.server), [])
