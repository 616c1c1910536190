"""What an HTTP/2 client may ask for, and how long it may take."""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from twisted.internet.error import TimeoutError as HandlerTimeout
from twisted.web.resource import Resource
from twisted.web.server import Request

from tests.unit.http2_client import A_BIT, Answer, Http2Client, fields, http2_server
from tests.unit.web import Echo
from twisted_graceful.http.http2 import connection as connection_module
from twisted_graceful.http.http2.h2_machine import WINDOW
from twisted_graceful.http.phases import ConnectionPhase

from .http2_client import LimitsTestCase


class Large(Resource):
    """Responses that are made at once, and counted."""

    isLeaf = True
    made = 0

    def render(self, request: Request) -> bytes:
        """Make one."""
        Large.made += 1
        return bytes(60_000)


class SizeTests(LimitsTestCase):
    """How large requests may be."""

    def test_announced(self) -> None:
        """A client is told the limits of which HTTP/2 can tell it."""
        self.serve(max_header_size=1000, max_concurrent_streams=7)
        settings = self.client.machine.remote_settings
        self.assertEqual(
            (settings.max_header_list_size, settings.max_concurrent_streams), (1000, 7)
        )
        self.assertEqual((settings.initial_window_size, settings.enable_push), (WINDOW, 0))

    def test_body_too_large(self) -> None:
        """A body that is announced too large is refused, whether or not it comes."""
        self.serve(max_body_size=10)
        answer = self.ask(*fields("POST", content_length="11", expect="100-continue"), end=False)
        self.assertWhole(answer, 413)
        self.assertFalse(answer.informed)
        self.assertConnectionLives()

    def test_client_may_stop(self) -> None:
        """A client that is refused in its request has time to read that, and is then reset."""
        self.serve(max_body_size=10, linger_timeout=2)
        answer = self.ask(*fields("POST"), body=bytes(11), end=False)
        self.assertWhole(answer, 413)
        self.server.advance(1)
        self.client.exchange()
        self.assertIsNone(answer.reset)
        self.server.advance(1 + A_BIT)
        self.client.exchange()
        self.assertEqual(answer.reset, ErrorCodes.NO_ERROR)
        (connection,) = self.server.connections
        self.assertIs(connection.phase, ConnectionPhase.IDLE)

    def test_client_stops(self) -> None:
        """One that stops by itself, in one way or the other, is not reset."""
        self.serve(max_body_size=10)
        for stop in (self.client.machine.end_stream, self.client.machine.reset_stream):
            with self.subTest(stop=stop):
                answer = self.ask(*fields("POST"), body=bytes(11), end=False)
                stop(2 * len(self.client.answers) - 1)
                self.client.exchange()
                (connection,) = self.server.connections
                self.assertIs(connection.phase, ConnectionPhase.IDLE)
                self.server.advance(10)
                self.client.exchange()
                self.assertIsNone(answer.reset)

    def test_body_grows_too_large(self) -> None:
        """So is one that gets too large, though nothing was announced."""
        self.serve(max_body_size=10)
        answer = self.ask(*fields("POST"), body=bytes(10), end=False)
        self.assertEqual(answer.status, 0)
        self.client.machine.send_data(1, b"1")
        self.client.exchange()
        self.assertWhole(answer, 413)
        self.assertEqual(self.app.requests, [])

    def test_body_that_goes_on(self) -> None:
        """What is still on its way of a refused body does no harm, and takes no window."""
        self.serve(max_body_size=10)
        self.ask(*fields("POST"), body=bytes(11), end=False)
        frame = DataFrame(1, data=bytes(16384)).serialize()
        for _ in range(WINDOW // 16384 - 1):
            self.client.wire.send(frame)
        self.client.exchange()
        windows = self.client.machine
        self.assertLess(windows.streams[1].outbound_flow_control_window, WINDOW)
        self.assertEqual(windows.outbound_flow_control_window, 2 * WINDOW - 16384 - 11)
        self.assertConnectionLives()

    def test_largest_body(self) -> None:
        """A body of exactly the limit is answered, whole and announced or not."""
        self.serve(max_body_size=10)
        for header in (fields("POST"), fields("POST", content_length="10")):
            with self.subTest(header=header):
                self.ask(*header, body=bytes(10))
                self.assertEqual(self.app.requests[-1].content.read(), bytes(10))

    def test_any_body(self) -> None:
        """With 0 there is no limit."""
        self.serve(max_body_size=0)
        answer = self.ask(*fields("POST", content_length=str(1 << 40)), end=False)
        self.assertEqual((answer.status, answer.reset), (0, None))

    def test_long_line(self) -> None:
        """What would be too long a request line is refused."""
        self.serve(max_request_line=100)
        self.assertWhole(self.ask(*fields(path="/" + "a" * 90)), 414)
        self.ask(*fields(path="/" + "a" * 87))
        self.assertEqual(len(self.app.requests), 1)
        self.assertConnectionLives()

    def test_many_fields(self) -> None:
        """So are too many fields; cookies are counted as one."""
        self.serve(max_headers=4)
        cookies = [("cookie", f"a{n}=1") for n in range(9)]
        header = [*fields(), ("a", ""), ("b", ""), *cookies]
        self.ask(*header)
        self.assertEqual(len(self.app.requests), 1)
        self.assertWhole(self.ask(*header, ("c", "")), 431)
        self.assertConnectionLives()

    def test_large_header(self) -> None:
        """So is a header that is too large, if it is not too large to be understood."""
        self.serve(max_header_size=1000)
        self.assertWhole(self.ask(*fields(large="a" * 1000)), 431)
        self.assertConnectionLives()

    def test_huge_header(self) -> None:
        """A header that is much larger decoded than sent is refused, and costs nothing more.

        (An HPACK bomb.)
        """
        self.serve(max_header_size=1000)
        self.ask(*fields(large="a" * 900))
        self.assertWhole(self.ask(*fields(), *[("large", "a" * 900)] * 500), 431)
        (connection,) = self.server.connections
        self.assertLess(len(connection._machine.decoder.fields), 7)
        self.assertConnectionLives()

    def test_large_trailer(self) -> None:
        """The limits of headers hold for trailers too, which end their stream alone."""
        self.serve(max_headers=4)
        answer = self.ask(*fields("POST"), end=False)
        self.client.machine.send_headers(1, [("a", "")] * 9, end_stream=True)
        self.client.exchange()
        self.assertEqual(answer.reset, ErrorCodes.PROTOCOL_ERROR)
        self.assertConnectionLives()

    def test_head_of_a_refusal(self) -> None:
        """The refusal of HEAD has no body."""
        self.serve(max_request_line=100)
        answer = self.ask(*fields("HEAD", path="/" + "a" * 100))
        self.assertEqual((answer.status, answer.body, answer.ended), (414, b"", True))
        self.assertGreater(int(answer.headers["content-length"]), 0)

    def test_spool(self) -> None:
        """A body over the spool size is in a file."""
        self.serve(spool_size=10)
        for size, in_a_file in ((10, False), (11, True)):
            with self.subTest(size=size, in_a_file=in_a_file):
                self.ask(*fields("POST"), body=bytes(size))
                content = self.app.requests[-1].content
                self.assertEqual(getattr(content, "_rolled", False), in_a_file)

    def test_requests(self) -> None:
        """After so many requests the client is told to go, and all of them are answered."""
        self.serve(max_requests_per_connection=2)
        for _ in range(2):
            self.ask()
        self.assertEqual([last for last, _ in self.client.goaways], [2**31 - 1])
        for request in self.app.requests:
            request.finish()
        self.client.exchange()
        self.assertEqual([last for last, _ in self.client.goaways], [2**31 - 1, 3])
        self.assertEqual([each.ended for each in self.client.answers.values()], [True, True])
        self.assertTrue(self.client.wire.ended)

    def test_concurrent(self) -> None:
        """A request too many at a time is refused on its own, and may be sent again."""
        self.serve(max_concurrent_streams=2)
        answers = [self.ask(), self.ask()]
        # As a client does that has not seen the settings yet.
        self.client.machine.remote_settings.max_concurrent_streams = 9
        self.client.machine.remote_settings.acknowledge()
        self.assertEqual(self.ask().reset, ErrorCodes.REFUSED_STREAM)
        self.assertEqual(self.server.connections.limits, {"max_concurrent_streams": 1})
        for request in self.app.requests:
            request.finish()
        self.client.exchange()
        self.assertEqual([each.ended for each in answers], [True, True])
        self.assertConnectionLives()


class TimeTests(LimitsTestCase):
    """How long a client may take, and an application."""

    def wait(self, seconds: float) -> None:
        """Let time pass, and see what comes."""
        self.server.advance(seconds)
        self.client.exchange()

    def begin_block(self) -> bytes:
        """Begin a header that has no end; the block is returned."""
        block = Encoder().encode(fields())
        self.send(HeadersFrame(1, data=block, flags=["END_STREAM"]))
        return block

    def test_silent(self) -> None:
        """A connection on which nothing comes is closed."""
        server = http2_server(Echo(), read_header_timeout=3)
        wire = server.connect()
        server.advance(3 + A_BIT)
        self.assertTrue(wire.ended)

    def test_half_a_preface(self) -> None:
        """So is one on which hardly anything comes."""
        server = http2_server(Echo(), read_header_timeout=3)
        wire = server.connect()
        wire.send(b"PRI * HTTP/2.0")
        server.advance(3 + A_BIT)
        self.assertTrue(wire.ended)

    def test_header_without_end(self) -> None:
        """A header that is not completed ends the connection, since no other frame can come."""
        self.serve(read_header_timeout=3)
        self.begin_block()
        self.wait(2)
        self.send(ContinuationFrame(1, data=b""))
        self.wait(1 + A_BIT)
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)

    def test_half_a_frame(self) -> None:
        """So does half a frame."""
        self.serve(read_header_timeout=3)
        self.client.wire.send(PingFrame(0, opaque_data=b"whatever").serialize()[:12])
        self.wait(3 + A_BIT)
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)

    def test_busy_connection(self) -> None:
        """Frames that come in parts, but come, are no header that does not."""
        self.serve(read_header_timeout=3)
        ping = PingFrame(0, opaque_data=b"whatever").serialize()
        self.client.wire.send(ping[:5])
        for _ in range(10):
            self.client.wire.send(ping[5:] + ping[:5])
            self.wait(1)
        self.assertEqual(self.client.goaways, [])

    def test_body_stands_still(self) -> None:
        """A body of which nothing comes is answered with 408; other streams live."""
        self.serve(read_timeout=3)
        answer = self.ask(*fields("POST"), body=b"x", end=False)
        self.wait(3 + A_BIT)
        self.assertWhole(answer, 408)
        self.assertConnectionLives()

    def test_slow_body(self) -> None:
        """So is one that comes too slowly on average."""
        self.serve(read_timeout=3, min_rate=100)
        answer = self.ask(*fields("POST"), body=b"x", end=False)
        for _ in range(3):
            self.client.machine.send_data(1, bytes(50))
            self.client.exchange()
            self.wait(1)
        self.wait(A_BIT)
        self.assertWhole(answer, 408)

    def test_healthy_body(self) -> None:
        """One that comes fast enough may come for ever."""
        self.serve(read_timeout=3, min_rate=100)
        answer = self.ask(*fields("POST"), body=b"x", end=False)
        for _ in range(20):
            self.client.machine.send_data(1, bytes(150))
            self.client.exchange()
            self.wait(1)
        self.assertEqual((answer.status, answer.reset), (0, None))

    def test_large_frame_on_a_slow_line(self) -> None:
        """A frame that takes long to arrive counts as it arrives."""
        self.serve(read_timeout=3, min_rate=100)
        answer = self.ask(*fields("POST"), end=False)
        frame = DataFrame(1, data=bytes(3000)).serialize()
        for at in range(0, len(frame), 200):
            self.client.wire.send(frame[at : at + 200])
            self.wait(1)
        self.assertEqual((answer.status, answer.reset), (0, None))

    def test_shared_rate(self) -> None:
        """Uploads that come fast enough together may come one after the other."""
        self.serve(read_timeout=3, min_rate=3_000)
        answers = [self.ask(*fields("POST"), end=False) for _ in range(4)]
        for turn in range(24):
            self.client.machine.send_data((1, 3, 5, 7)[turn % 4], bytes(14_000))
            self.client.exchange()
            self.wait(1)
        self.assertEqual({each.status for each in answers}, {0})

    def test_own_rate(self) -> None:
        """A body is not carried by others, unless they come fast enough for all."""
        for fast, status in ((150, 408), (300, 0)):
            with self.subTest(fast=fast, status=status):
                self.serve(read_timeout=3, min_rate=100)
                answers = [self.ask(*fields("POST"), end=False) for _ in range(2)]
                for _ in range(5):
                    self.client.machine.send_data(3, bytes(fast))
                    if answers[0].status == 0:
                        self.client.machine.send_data(1, b"x")
                    self.client.exchange()
                    self.wait(1)
                self.assertEqual([each.status for each in answers], [status, 0])

    def test_one_of_many_stands_still(self) -> None:
        """A body that stands still while another comes is refused, a fair time later."""
        self.serve(read_timeout=3, min_rate=0)
        answers = [self.ask(*fields("POST"), end=False) for _ in range(2)]
        for _ in range(7):
            self.client.machine.send_data(3, bytes(200))
            self.client.exchange()
            self.wait(1)
        self.assertEqual([each.status for each in answers], [408, 0])

    def test_all_stand_still(self) -> None:
        """When nothing comes at all no body has more time than a single one."""
        self.serve(read_timeout=3)
        answers = [self.ask(*fields("POST"), end=False) for _ in range(10)]
        self.wait(3 + A_BIT)
        self.assertEqual({each.status for each in answers}, {408})

    def large_answer(self) -> tuple[Request, Answer]:
        """An answer that is larger than the client's window."""
        self.client.acknowledges = False
        answer = self.ask()
        request = self.app.requests[-1]
        request.write(bytes(100_000))
        self.client.exchange()
        return request, answer

    def test_no_window(self) -> None:
        """A client that gives no window has its stream reset, and the application is told."""
        self.serve(write_timeout=3)
        request, answer = self.large_answer()
        told = request.notifyFinish()
        self.wait(3 + A_BIT)
        self.assertEqual(answer.reset, ErrorCodes.CANCEL)
        self.failureResultOf(told)
        (connection,) = self.server.connections
        self.assertIs(connection.phase, ConnectionPhase.IDLE)

    def test_no_window_for_the_connection(self) -> None:
        """So has one that gives no window to the connection, whichever stream waits."""
        self.serve(write_timeout=3)
        first, second = self.ask(), self.ask()
        self.client.acknowledges = False
        for request in self.app.requests:
            request.write(bytes(60_000))
        self.client.exchange()
        self.wait(3 + A_BIT)
        self.assertEqual((first.reset, second.reset), (ErrorCodes.CANCEL, ErrorCodes.CANCEL))

    def test_crumbs_of_window(self) -> None:
        """A client that opens its window byte by byte is too slow (CVE-2019-9511)."""
        self.serve(write_timeout=3, min_rate=100)
        _, answer = self.large_answer()
        for _ in range(6):
            self.client.machine.increment_flow_control_window(1)
            self.client.machine.increment_flow_control_window(1, 1)
            self.client.exchange()
            self.wait(0.5)
        self.wait(A_BIT)
        self.assertEqual(answer.reset, ErrorCodes.CANCEL)

    def test_crumbs_for_each(self) -> None:
        """What the client takes of one response does not count for another."""
        self.serve(write_timeout=3, min_rate=100)
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        answers = [self.ask() for _ in range(3)]
        (connection,) = self.server.connections
        for request in self.app.requests:
            request.write(bytes(100_000))
        self.client.exchange()
        self.client.acknowledges = False
        for _ in range(8):
            for number in connection.streams:
                size = 100 if number == 1 else 1
                self.client.machine.increment_flow_control_window(size, number)
            self.client.exchange()
            self.wait(0.5)
        self.assertEqual([each.reset for each in answers], [None, *[ErrorCodes.CANCEL] * 2])

    def test_slow_line_for_many(self) -> None:
        """If the line is slow, and not the client, no single response counts as too slow."""
        self.serve(write_timeout=3, min_rate=100)
        answers = [self.ask() for _ in range(9)]
        self.client.wire.reading = False
        for request in self.app.requests:
            request.write(bytes(100_000))
        kernel = self.client.wire._kernel
        for _ in range(20):
            self.server.turn()
            kernel.received += kernel.outbox[:400]
            del kernel.outbox[:400]
            self.wait(0.5)
        self.assertEqual({each.reset for each in answers}, {None})
        (connection,) = self.server.connections
        self.assertEqual(len(connection.streams), 9)

    def test_window_shared_by_many(self) -> None:
        """Responses take turns in a small window of the connection: none of them is too slow."""
        self.serve(write_timeout=3, min_rate=100)
        answers = [self.ask() for _ in range(40)]
        self.client.acknowledges = False
        for request in self.app.requests:
            request.write(bytes(65_000))
        self.client.exchange()
        for _ in range(20):  # a frame of one of them, each time
            self.client.machine.increment_flow_control_window(8000)
            self.client.exchange()
            self.wait(1)
        self.assertEqual({each.reset for each in answers}, {None})
        for _ in range(20):  # less than is asked of 40
            self.client.machine.increment_flow_control_window(2000)
            self.client.exchange()
            self.wait(1)
        self.assertIn(ErrorCodes.CANCEL, {each.reset for each in answers})

    def serve_large(self) -> None:
        """Have an application that makes responses of 60,000 bytes, of which four may wait."""
        self.patch(connection_module, "_MAX_UNSENT", 150_000)
        self.server = http2_server(Large(), write_timeout=3)
        self.client = Http2Client(self.server)
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        self.client.exchange()
        self.made = Large.made

    def test_room_for_responses(self) -> None:
        """While too much waits for a client, further requests wait, and then they are served."""
        self.serve_large()
        answers = [self.ask() for _ in range(9)]
        self.assertEqual(Large.made - self.made, 4)
        self.assertEqual({each.status for each in answers[4:]}, {0})
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65535})
        self.client.exchange()
        self.assertEqual({len(each.body) for each in answers}, {60_000})
        self.assertConnectionEmpty()

    def test_one_large_response(self) -> None:
        """A single response that is larger than what may wait holds no other request."""
        self.serve()
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        large = self.ask()
        self.app.requests[0].write(bytes(connection_module._MAX_UNSENT + 1))
        self.ask()
        self.assertEqual((large.status, len(self.app.requests)), (200, 2))

    def test_no_room_for_responses(self) -> None:
        """Requests behind responses that the client does not take are refused unprocessed."""
        self.serve_large()
        answers = [self.ask() for _ in range(6)]
        self.wait(3 + A_BIT)
        self.assertEqual(Large.made - self.made, 4)
        expected = [ErrorCodes.CANCEL] * 4 + [ErrorCodes.REFUSED_STREAM] * 2
        self.assertEqual([each.reset for each in answers], expected)
        self.assertConnectionEmpty()

    def assertConnectionEmpty(self) -> None:
        """Nothing is left of requests on the connection."""
        (connection,) = self.server.connections
        self.assertEqual((connection.streams, connection._waiting), ({}, {}))
        self.assertIs(connection.phase, ConnectionPhase.IDLE)

    def test_healthy_window(self) -> None:
        """One that opens it fast enough may take its time."""
        self.serve(write_timeout=3, min_rate=100)
        _, answer = self.large_answer()
        for _ in range(20):
            self.client.machine.increment_flow_control_window(200)
            self.client.machine.increment_flow_control_window(200, 1)
            self.client.exchange()
            self.wait(1)
        self.assertEqual((answer.reset, len(answer.body)), (None, 65535 + 20 * 200))

    def test_each_wait_is_one_of_its_own(self) -> None:
        """A client that was slow once, and then took all, has its time again."""
        self.serve(write_timeout=3, min_rate=100)
        request, answer = self.large_answer()
        self.wait(2)
        for stream in (None, 1):
            self.client.machine.increment_flow_control_window(100_000 - 65535, stream)
        self.client.exchange()
        self.assertEqual(len(answer.body), 100_000)
        self.wait(60)
        request.write(b"more")
        self.wait(2)
        self.assertIsNone(answer.reset)
        self.wait(1 + A_BIT)
        self.assertEqual(answer.reset, ErrorCodes.CANCEL)

    def test_window_on_a_slow_line(self) -> None:
        """A client need not give a window for what it has not received yet."""
        self.serve(write_timeout=3, min_rate=100)
        self.client.wire.reading = False
        _, answer = self.large_answer()
        kernel = self.client.wire._kernel
        for _ in range(10):
            kernel.received += kernel.outbox[:1000]
            del kernel.outbox[:1000]
            self.wait(1)
        (connection,) = self.server.connections
        self.assertEqual(list(connection.streams), [1])
        self.client.wire.reading = True
        self.wait(3 + 2 * A_BIT)
        self.assertEqual(answer.reset, ErrorCodes.CANCEL)

    def test_client_that_does_not_read(self) -> None:
        """A client that does not read loses its connection."""
        self.serve(write_timeout=3)
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        self.client.machine.increment_flow_control_window(1 << 20)
        self.ask()
        self.client.wire.reading = False
        told = self.app.requests[0].notifyFinish()
        self.app.requests[0].write(bytes(1 << 20))
        self.server.advance(4)
        self.assertTrue(self.client.wire.reset)
        self.failureResultOf(told)

    def test_idle(self) -> None:
        """An idle connection is told to go, and closed when it has confirmed."""
        self.serve(idle_timeout=30)
        self.wait(30 + A_BIT)
        self.assertEqual([last for last, _ in self.client.goaways], [2**31 - 1, 0])
        self.assertTrue(self.client.wire.ended)

    def test_idle_request_on_its_way(self) -> None:
        """A request that crosses the announcement is answered."""
        self.serve(idle_timeout=30)
        self.server.advance(30 + A_BIT)
        answer = self.ask()
        self.app.requests[0].finish()
        self.client.exchange()
        self.assertTrue(answer.ended)

    def test_idle_without_confirmation(self) -> None:
        """One that confirms nothing is closed a moment later."""
        self.serve(idle_timeout=30, idle_grace=2)
        self.client.acknowledges = False
        self.wait(30 + A_BIT)
        self.assertFalse(self.client.wire.ended)
        self.wait(2 + A_BIT)
        self.assertTrue(self.client.wire.ended)

    def test_answering_is_not_idle(self) -> None:
        """A connection with a request that takes its time is not idle."""
        self.serve(idle_timeout=30)
        self.ask()
        self.wait(300)
        self.assertEqual(self.client.goaways, [])

    def test_handler(self) -> None:
        """An application that does not begin its answer in time is answered for."""
        self.serve(handler_timeout=3)
        answer = self.ask()
        told = self.app.requests[0].notifyFinish()
        self.wait(3 + A_BIT)
        self.assertWhole(answer, 503)
        self.failureResultOf(told, HandlerTimeout)
        self.assertConnectionLives()

    def test_handler_that_has_begun(self) -> None:
        """One that has begun may take as long as it likes."""
        self.serve(handler_timeout=3)
        answer = self.ask()
        self.app.requests[0].write(b"begun")
        self.wait(10)
        self.assertEqual((answer.status, answer.body), (200, b"begun"))


class FloodTests(LimitsTestCase):
    """Clients that keep a server busy with nothing."""

    def flood(self, *frames: Frame, most: int = 20_000) -> int:
        """Send these frames over and over, until the connection is ended; how often."""
        data = b"".join(each.serialize() for each in frames)
        for sent in range(0, most, 200):
            self.client.wire.send(200 * data)
            if self.client.wire.ended:
                return sent
            self.client.wire.take()
        return most

    def assertCalmed(self, *frames: Frame) -> None:
        """The connection is ended before the client has sent all."""
        self.assertLess(self.flood(*frames), 20_000)
        self.client.exchange()
        self.assertEqual(self.client.goaways[-1][1], ErrorCodes.ENHANCE_YOUR_CALM)

    def test_pings(self) -> None:
        """PING without end (CVE-2019-9512)."""
        self.serve()
        self.assertCalmed(PingFrame(0, opaque_data=b"whatever"))

    def test_settings(self) -> None:
        """SETTINGS without end (CVE-2019-9515)."""
        self.serve()
        self.assertCalmed(SettingsFrame(0))

    def test_many_settings(self) -> None:
        """One SETTINGS frame with more entries than anybody needs."""
        self.serve()
        self.send(SettingsFrame(0, settings=dict.fromkeys(range(0x100, 0x100 + 33), 1)))
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)

    def test_crumbs(self) -> None:
        """A body in frames of a few bytes, where they cannot be taken together."""
        padded = DataFrame(1, data=b"x", pad_length=9, flags=["PADDED"])
        others = DataFrame(1, data=b"x"), DataFrame(3, data=b"x")
        for crumbs in ((padded,), others):
            with self.subTest(crumbs=crumbs):
                self.serve(max_body_size=0)
                for _ in range(2):
                    self.ask(*fields("POST"), end=False)
                self.assertCalmed(*crumbs)

    def test_body_in_small_frames(self) -> None:
        """A client that writes a frame for every few bytes of its body is welcome."""
        self.serve()
        self.ask(*fields("POST"), end=False)
        crumbs = DataFrame(1, data=b"a line\n").serialize() * 1000
        for _ in range(20):
            self.client.wire.send(crumbs)
        self.send(DataFrame(1, data=b"end", flags=["END_STREAM"]))
        self.assertEqual(len(self.app.requests[0].content.read()), 20 * 7000 + 3)
        self.assertEqual(self.client.goaways, [])

    def test_frames_after_a_reset(self) -> None:
        """Frames of a stream that the client itself has reset, each of which has us reply."""
        block = Encoder().encode(fields("POST"))
        for late in (
            DataFrame(1, flags=["END_STREAM"]),
            HeadersFrame(1, data=block, flags=["END_HEADERS", "END_STREAM"]),
        ):
            with self.subTest(late=late):
                self.serve()
                self.client.follows = False
                self.client.wire.send(
                    HeadersFrame(1, data=block, flags=["END_HEADERS"]).serialize()
                )
                self.client.wire.send(RstStreamFrame(1, error_code=8).serialize())
                self.assertCalmed(late)

    def test_empty_data(self) -> None:
        """DATA without data (CVE-2019-9518)."""
        self.serve()
        self.ask(*fields("POST"), end=False)
        self.assertCalmed(DataFrame(1))

    def test_windows(self) -> None:
        """WINDOW_UPDATE without end."""
        self.serve()
        self.assertCalmed(WindowUpdateFrame(0, window_increment=1))

    def test_priorities(self) -> None:
        """PRIORITY without end (CVE-2019-9513)."""
        self.serve()
        self.assertCalmed(PriorityFrame(1, depends_on=0, stream_weight=1))

    def test_unknown_frames(self) -> None:
        """Frames of types that mean nothing to us."""
        self.serve()
        data = b"\0\0\0\xfa\0\0\0\0\1"
        for _ in range(100):
            self.client.wire.send(200 * data)
        self.client.exchange()
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)

    def test_rapid_reset(self) -> None:
        """Requests that are reset at once (CVE-2023-44487)."""
        self.serve()
        self.client.follows = False
        block = Encoder().encode(fields())
        for number in range(1, 10_000, 2):
            self.client.wire.send(
                HeadersFrame(number, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize()
                + RstStreamFrame(number, error_code=8).serialize()
            )
            if self.client.wire.ended:
                break
        self.client.exchange()
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)
        self.assertLess(len(self.app.requests), 600)

    def test_streams_that_we_reset(self) -> None:
        """Requests that the client has us reset ("MadeYouReset", CVE-2025-8671)."""
        self.serve()
        self.client.follows = False
        block = Encoder().encode(fields("POST"))
        for number in range(1, 10_000, 2):
            self.client.wire.send(
                HeadersFrame(number, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize()
                + WindowUpdateFrame(number, window_increment=2**31 - 1).serialize()
            )
            if self.client.wire.ended:
                break
        self.client.exchange()
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)
        self.assertLess(len(self.app.requests), 600)

    def requests_without_end(self, block: bytes, most: int) -> None:
        """Send the same header block until the client gets ENHANCE_YOUR_CALM."""
        self.serve()
        self.client.follows = False
        for number in range(1, 2 * most, 2):
            frame = HeadersFrame(number, data=block, flags=["END_HEADERS", "END_STREAM"])
            self.client.wire.send(frame.serialize())
            self.client.wire.take()
            if self.client.wire.ended:
                break
        else:
            self.fail("all of them were answered")

    def test_refused_requests(self) -> None:
        """Rejected requests without end close the connection; large headers sooner."""
        tunnel = Encoder().encode([(":method", "CONNECT"), (":authority", "a")])
        many = Encoder().encode(fields()) + b"\x40\1x\0" + b"\xbe" * 3900
        self.requests_without_end(tunnel, 600)
        self.requests_without_end(many, 150)

    def test_rejected_together(self) -> None:
        """All requests that a client may have open may be rejected at once, and get a response."""
        self.serve(max_body_size=1)
        answers = [
            self.client.answers[self.client.request(*fields("POST"), body=b"xx")]
            for _ in range(100)
        ]
        self.client.exchange()
        self.assertEqual({each.status for each in answers}, {413})
        self.assertFalse(self.client.wire.ended)

    def test_answers_pay_for_resets(self) -> None:
        """A client that takes its other answers may reset as many streams."""
        self.serve()
        for _ in range(1500):
            self.ask()
            self.app.requests.pop().finish()
            self.ask()
            self.client.machine.reset_stream(2 * len(self.client.answers) - 1)
            self.client.exchange()
        self.assertEqual(self.client.goaways, [])

    def test_malformed_requests(self) -> None:
        """Requests that are none, without end."""
        self.serve()
        self.client.follows = False
        block = Encoder().encode([(":method", "GET")])
        for number in range(1, 10_000, 2):
            frame = HeadersFrame(number, data=block, flags=["END_HEADERS", "END_STREAM"])
            self.client.wire.send(frame.serialize())
            if self.client.wire.ended:
                break
        self.client.exchange()
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)

    def test_continuations(self) -> None:
        """A header in frames without end (CVE-2024-27316)."""
        self.serve()
        self.client.follows = False
        self.client.wire.send(HeadersFrame(1, data=b"").serialize())
        frame = ContinuationFrame(1, data=b"\x40\x01a\x01b" * 1000).serialize()
        for _ in range(100):
            self.client.wire.send(frame)
            if self.client.wire.ended:
                break
        self.client.exchange()
        self.assertEnded(ErrorCodes.ENHANCE_YOUR_CALM)

    def test_empty_continuations(self) -> None:
        """The same with nothing in the frames."""
        self.serve()
        self.client.follows = False
        self.client.wire.send(HeadersFrame(1, data=b"").serialize())
        frame = ContinuationFrame(1, data=b"").serialize()
        for _ in range(100):
            self.client.wire.send(200 * frame)
        self.client.exchange()
        self.assertTrue(self.client.wire.ended)

    def test_healthy_chatter(self) -> None:
        """A client that acknowledges each of our frames on both windows is welcome for ever."""
        self.serve()
        self.ask()
        request = self.app.requests[0]
        update = b"".join(
            WindowUpdateFrame(each, window_increment=5).serialize() for each in (0, 1)
        )
        for _ in range(10_000):
            request.write(b"event")
            self.client.wire.send(update)
            self.client.wire.take()
        self.assertFalse(self.client.wire.ended)

    def test_resets_come_back(self) -> None:
        """A client that resets streams now and then is welcome for ever."""
        self.serve()
        for _ in range(1500):
            self.ask()
            self.client.machine.reset_stream(2 * len(self.client.answers) - 1)
            self.client.exchange()
            self.server.advance(0.1)
        self.assertEqual(self.client.goaways, [])

    def test_replies_to_one_who_does_not_read(self) -> None:
        """Of a client that does not read only so much is read as we may have to reply to."""
        self.patch(connection_module, "_REPLIES_LIMIT", 1_500)
        self.serve(write_timeout=0)
        self.ask()
        (connection,) = self.server.connections
        self.client.wire.reading = False
        self.client.machine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        self.client.machine.increment_flow_control_window(1 << 20)
        self.client.exchange()
        self.app.requests[0].write(bytes(1 << 20))
        self.server.turn()
        before = connection.transport.unsent
        ping = PingFrame(0, opaque_data=b"whatever").serialize()
        for _ in range(9):
            self.client.wire.send(100 * ping)
        self.assertLess(connection.transport.unsent - before, 2_000)
        self.assertGreater(len(self.client.wire._kernel.inbox), 0)
        self.client.wire.reading = True
        self.client.exchange()
        self.assertEqual(len(self.client.wire._kernel.inbox), 0)
        self.assertEqual(self.client.goaways, [])

    def test_turns(self) -> None:
        """A client that sends much at once is read in turns; the others have theirs between."""
        self.serve()
        ping = PingFrame(0, opaque_data=b"whatever").serialize()
        other = self.server.connect()
        self.client.wire.arrive(900 * ping)
        other.arrive(b"nonsense")
        self.server.turn()
        self.assertTrue(other.ended)
        self.client.exchange()
        self.assertEqual(self.client.goaways, [])

    def test_table_of_the_encoder(self) -> None:
        """A client can have us keep no more of the fields of answers than we like."""
        self.serve()
        for size in [1 << 20, 0] * 30 + [1 << 20]:
            self.client.machine.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        self.client.exchange()
        (connection,) = self.server.connections
        encoder = connection._machine.encoder
        self.assertEqual(encoder.header_table_size, 4096)
        self.assertLessEqual(len(encoder.table_size_changes), 2)
        self.assertConnectionLives()

    def test_unknown_settings_are_forgotten(self) -> None:
        """A client cannot fill our memory with settings that mean nothing."""
        self.serve()
        for start in range(0x100, 0x700, 31):
            unknown = dict.fromkeys(range(start, start + 31), 1)
            self.send(SettingsFrame(0, settings={**unknown, SettingCodes.MAX_FRAME_SIZE: 20_000}))
        (connection,) = self.server.connections
        self.assertLess(len(connection._machine.remote_settings), 20)
        self.assertEqual(connection._machine.max_outbound_frame_size, 20_000)
        self.assertConnectionLives()

    def test_ended_streams_are_forgotten(self) -> None:
        """What is kept of streams that have ended is bounded."""
        self.serve()
        for _ in range(1200):
            self.ask()
            self.app.requests.pop().finish()
            self.client.exchange()
        (connection,) = self.server.connections
        self.assertEqual(len(connection.streams), 0)
        self.assertLessEqual(len(connection._machine.streams), 1)
        self.assertLessEqual(len(connection._machine._closed_streams), 1000)
