"""HTTP/2 in the access log: a line for each request, however its stream ends."""

from __future__ import annotations

import json
from typing import Any

from twisted.web.server import Request

from tests.unit.http2_client import A_BIT, Http2Client, fields, http2_server
from tests.unit.web import Held
from twisted_graceful.http.log.access_log import AccessLog

from ..case import SynchronousTestCase


class LogTests(SynchronousTestCase):
    """A server with an access log in JSON, and a client."""

    def serve(self, **settings: Any) -> None:
        """Connect a client to a server with these settings."""
        self.app = Held()
        self.server = http2_server(self.app, **settings)
        self.written: list[bytes] = []
        access_log = AccessLog("json", self.server.clock, self.written.append)
        self.server.site.access_log = access_log
        self.client = Http2Client(self.server)
        self.client.exchange()

    def ask(self, *header: tuple[str, str], **how: Any) -> int:
        """Send a request; the number of its stream."""
        number = self.client.request(*header, **how)
        self.client.exchange()
        return number

    def answer(self, body: bytes = b"answer") -> Request:
        """Answer the last request, and do not finish that."""
        request = self.app.requests[-1]
        request.write(body)
        self.client.exchange()
        return request

    def assertLogged(self, **expected: Any) -> None:
        """There is one line, and it says this among others; no outcome means an answer."""
        (line,) = [json.loads(each) for each in self.written]
        expected.setdefault("outcome", None)
        self.assertEqual({name: line.get(name) for name in expected}, expected)

    def test_answered(self) -> None:
        """An answer has its line when all of it was sent."""
        self.serve()
        self.ask(*fields(path="/x?y", user_agent="test"))
        self.server.advance(2)
        self.answer().finish()
        self.assertEqual(self.written, [])
        self.client.exchange()
        self.assertLogged(
            method="GET",
            target="/x?y",
            version="HTTP/2",
            host="localhost",
            user_agent="test",
            status=200,
            bytes=6,
            duration=2,
        )

    def test_streams(self) -> None:
        """Each stream has its line, in the order in which they end."""
        self.serve()
        self.ask(*fields(path="/1"))
        self.ask(*fields(path="/2"))
        for request in reversed(self.app.requests):
            request.finish()
            self.client.exchange()
        self.assertEqual([json.loads(each)["target"] for each in self.written], ["/2", "/1"])

    def test_reset(self) -> None:
        """A client that resets a stream has gone; what it got until then is told."""
        self.serve()
        number = self.ask()
        self.answer()
        self.client.machine.reset_stream(number)
        self.client.exchange()
        self.assertLogged(status=200, bytes=6, outcome="client gone")

    def test_reset_before_the_answer(self) -> None:
        """Without an answer there is no status of one."""
        self.serve()
        self.client.machine.reset_stream(self.ask())
        self.client.exchange()
        self.assertLogged(status=499, bytes=0, outcome="client gone")

    def test_lost_while_it_is_sent(self) -> None:
        """An answer that is finished, and that the client did not take, is no answer."""
        self.serve()
        self.client.acknowledges = False
        self.ask()
        self.answer(bytes(100_000)).finish()
        self.client.exchange()
        self.client.wire.abort()
        self.assertLogged(status=200, bytes=65535, outcome="client gone")

    def test_connection_lost(self) -> None:
        """With the connection each of its requests ends."""
        self.serve()
        self.ask()
        self.ask(*fields("POST"), body=b"half", end=False)
        self.client.wire.abort()
        lines = [json.loads(each) for each in self.written]
        self.assertEqual([each["outcome"] for each in lines], ["client gone"] * 2)
        self.assertEqual([each["method"] for each in lines], ["GET", "POST"])

    def test_refused(self) -> None:
        """A refusal is told once, though the request has not ended by it."""
        self.serve(max_body_size=3)
        self.ask(*fields("POST", "/large"), body=b"abcd", end=False)
        self.server.advance(10)
        self.client.wire.abort()
        self.assertLogged(target="/large", status=413, outcome="refused")

    def test_malformed(self) -> None:
        """What is no request is told, as far as it is known."""
        self.serve()
        self.ask(*fields(path="no/slash"))
        self.assertLogged(method="GET", target="no/slash", status=444, outcome="refused")

    def test_wrong_length(self) -> None:
        """So is a request whose body is not what it was announced to be."""
        self.serve()
        self.ask(*fields("POST", content_length="9"), body=b"abc")
        self.assertLogged(method="POST", status=444, outcome="refused")

    def test_slow_body(self) -> None:
        """A body that does not come was too slow."""
        self.serve(read_timeout=3)
        self.ask(*fields("POST"), body=b"half", end=False)
        self.server.advance(3 + A_BIT)
        self.assertLogged(status=408, outcome="timed out")

    def test_slow_application(self) -> None:
        """So was an application that has not answered."""
        self.serve(handler_timeout=3)
        self.ask()
        self.server.advance(3 + A_BIT)
        self.assertLogged(status=503, outcome="timed out")

    def test_no_window(self) -> None:
        """And a client that does not let us send."""
        self.serve(write_timeout=3)
        self.client.acknowledges = False
        self.ask()
        self.answer(bytes(100_000))
        self.server.advance(3 + A_BIT)
        self.assertLogged(status=200, bytes=65535, outcome="timed out")

    def test_cut(self) -> None:
        """What a drain has cut is told."""
        self.serve(drain_timeout=1)
        self.ask()
        self.answer()
        self.server.stop()
        self.assertLogged(status=200, bytes=6, outcome="cut")

    def test_application_leaves(self) -> None:
        """So is what the application itself has not finished."""
        self.serve()
        self.ask()
        self.answer().loseConnection()
        self.client.exchange()
        self.assertLogged(status=200, bytes=6, outcome="cut")
