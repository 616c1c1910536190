"""An HTTP/2 client in memory."""

from __future__ import annotations

from typing import Any

from h2.errors import ErrorCodes
from hyperframe.frame import (
    Frame,
)

from tests.http2 import Answer, Peer, fields
from tests.unit.web import Held
from twisted_graceful.http.http2.connection import Http2Connection
from twisted_graceful.http.registry import SWEEP_INTERVAL
from twisted_graceful.testing import MemoryConnection, MemoryServer

from ..case import SynchronousTestCase

__all__ = ["A_BIT", "Answer", "Http2Client", "LimitsTestCase", "fields", "http2_server"]


A_BIT = 2 * SWEEP_INTERVAL
"""Seconds by which a deadline may be late."""


def http2_server(app: Any, **settings: Any) -> MemoryServer:
    """A server in memory that speaks HTTP/2, as if that had been negotiated."""
    server = MemoryServer(app, **settings)
    server.site.protocols = {b"http/1.1": Http2Connection}
    return server


class Http2Client(Peer):
    """A client of a server in memory.

    Args:
        server: what to connect to.
        strict: as for `Peer`.

    Attributes:
        wire: the connection.
    """

    def __init__(self, server: MemoryServer, *, strict: bool = False) -> None:
        super().__init__(strict=strict)
        self.wire: MemoryConnection = server.connect()

    def get(self, path: str = "/") -> Answer:
        """Ask for a resource, and take its answer."""
        number = self.request(*fields(path=path))
        self.exchange()
        return self.answers[number]

    def exchange(self) -> None:
        """Send what is to be sent, and read what comes, until nothing happens any more."""
        while True:
            data = self.machine.data_to_send()
            if data:
                self.wire.send(data)
            came = self.wire.take()
            if not came:
                if not data:
                    return
                continue
            self.read(came)


class LimitsTestCase(SynchronousTestCase):
    """A server with limits that a test can reach, and its client."""

    def serve(self, **settings: Any) -> None:
        """Connect a client to a server with these settings."""
        self.app = Held()
        self.server = http2_server(self.app, **settings)
        self.client = Http2Client(self.server)
        self.client.exchange()

    def ask(self, *header: tuple[str, str], **how: Any) -> Answer:
        """Send a request, and see what comes."""
        number = self.client.request(*header, **how)
        self.client.exchange()
        return self.client.answers[number]

    def send(self, *frames: Frame) -> None:
        """Send frames as they are, and see what comes."""
        self.client.wire.send(b"".join(each.serialize() for each in frames))
        self.client.exchange()

    def assertWhole(self, answer: Answer, status: int) -> None:
        """It is a whole answer of the server itself."""
        self.assertEqual((answer.status, answer.ended), (status, True))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        self.assertTrue({"date", "server"} <= set(answer.headers))

    def assertConnectionLives(self) -> None:
        """Other requests are answered."""
        answer = self.ask(*fields(path="/still-there"))
        self.app.requests[-1].finish()
        self.client.exchange()
        self.assertEqual((answer.status, answer.ended), (200, True))

    def assertEnded(self, code: ErrorCodes) -> None:
        """The connection was ended, for this reason."""
        self.assertEqual([code for _, code in self.client.goaways], [code])
        self.assertTrue(self.client.wire.ended)
        self.client.wire.close()
        self.assertEqual(len(self.server.connections), 0)
