"""An HTTP/2 client in memory."""

from __future__ import annotations

from typing import Any

from tests.http2 import Answer, Peer, fields
from twisted_graceful.http.http2.connection import Http2Connection
from twisted_graceful.testing import MemoryConnection, MemoryServer

__all__ = ["Answer", "Http2Client", "fields", "http2_server"]


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
