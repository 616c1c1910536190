"""How often each limit was hit is counted, by the name of its setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request
from twisted_graceful.testing.memory import MemoryConnection
from twisted_graceful.testing.memory_transport import SEND_BUFFER

from ..case import SynchronousTestCase
from .web import GET, Echo, Fields

Step = Callable[[MemoryServer, MemoryConnection, Echo], object]


def sends(data: bytes) -> Step:
    """A client that sends this."""
    return lambda server, client, app: client.send(data)


def reads_nothing(server: MemoryServer, client: MemoryConnection, app: Echo) -> None:
    """A client that takes nothing of a large answer."""
    client.reading = False
    client.send(format_request("POST", "/", {}, b"x" * 2 * SEND_BUFFER))


def half_closes(server: MemoryServer, client: MemoryConnection, app: Echo) -> None:
    """A client that closes its side while it waits."""
    app.hold = True
    client.send(GET)
    client.finish()


def waits(server: MemoryServer, client: MemoryConnection, app: Echo) -> None:
    """A client whose request is held."""
    app.hold = True
    client.send(GET)


def is_drained(server: MemoryServer, client: MemoryConnection, app: Echo) -> None:
    """A client whose request is held in a drain."""
    waits(server, client, app)
    server.drain()


def does_not_close(server: MemoryServer, client: MemoryConnection, app: Echo) -> None:
    """A client that was answered for the last time, and does not close."""
    client.send(format_request("GET", "/", {"Connection": "close"}))


def asks(data: bytes) -> Step:
    """A client that sends this to an application that asks for the form and the head."""

    def step(server: MemoryServer, client: MemoryConnection, app: Echo) -> None:
        server.site.resource = Fields()
        client.send(data)

    return step


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"

LIMITS: dict[str, tuple[dict[str, Any], Step]] = {
    "max_request_line": ({}, sends(b"GET /%b HTTP/1.1\r\n" % (b"x" * 9000))),
    "max_header_size": ({}, sends(HEAD + b"a: %b" % (b"x" * 40_000))),
    "max_headers": ({}, sends(HEAD + b"a: b\r\n" * 101 + b"\r\n")),
    "max_body_size": ({"max_body_size": 8}, sends(POST)),
    "max_form_fields": (
        {"max_form_fields": 1},
        asks(format_request("POST", "/", FORM, b"a=1&a=2")),
    ),
    "max_ranges": ({}, asks(HEAD + b"Range: bytes=%b\r\n\r\n" % (b"0-," * 101))),
    "max_requests_per_connection": ({"max_requests_per_connection": 1}, sends(GET)),
    "read_header_timeout": ({}, sends(HEAD)),
    "read_timeout": ({}, sends(POST + b"x")),
    "write_timeout": ({}, reads_nothing),
    "handler_timeout": ({"handler_timeout": 3}, waits),
    "half_close_timeout": ({}, half_closes),
    "idle_timeout": ({"idle_timeout": 5}, sends(GET)),
    "linger_timeout": ({}, does_not_close),
    "drain_timeout": ({"drain_timeout": 5}, is_drained),
}


class LimitTests(SynchronousTestCase):
    """A limit, and a client that hits it."""

    def test_each_is_counted(self) -> None:
        """A client that hits a limit hits that one, once."""
        for name, (settings, step) in LIMITS.items():
            with self.subTest(name=name, settings=settings):
                app = Echo()
                server = MemoryServer(app, **settings)
                step(server, server.connect(), app)
                server.advance(20)
                limits = dict(server.connections.limits)
                if name != "linger_timeout":
                    limits.pop("linger_timeout", None)  # it does not close after that, either
                self.assertEqual(limits, {name: 1})
                self.assertEqual(server.connections.counters[f"limits,{name}"], 1)

    def test_a_silent_client(self) -> None:
        """One that never says anything has until a head is due."""
        server = MemoryServer(Echo())
        server.connect()
        server.advance(20)
        self.assertEqual(server.connections.limits["read_header_timeout"], 1)

    def test_bytes_of_bodies(self) -> None:
        """Bodies are counted as they are read, without what frames them."""
        server = MemoryServer(Echo())
        server.request("POST", "/", body=b"x" * 1000)
        self.assertEqual(server.connections.counters["received"], 1000)

    def test_none(self) -> None:
        """One that behaves hits none."""
        server = MemoryServer(Echo())
        for _ in range(3):
            server.get("/")
        self.assertEqual(server.connections.limits, {})
