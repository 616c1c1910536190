"""Servers on the running reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import deferLater

from tests.unit.web import GET, Echo, RawClient, connect
from twisted_graceful import (
    Server,
    new,
)

from ..case import TestCase


class RealReactorTestCase(TestCase):
    """A test that runs servers on the reactor, and waits for what it sees."""

    timeout = 20

    def server(self, app: Any, **settings: Any) -> Server:
        """A server on a free port, stopped at the end of the test."""
        server = new("127.0.0.1:0", app, **settings)
        self.addCleanup(server.stopService)
        return server

    async def running(self, app: Any, **settings: Any) -> Server:
        """The same, and it accepts."""
        server = self.server(app, **settings)
        accepts = server.ready()
        server.startService()
        await accepts
        return server

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor run until something holds."""
        from twisted.internet import reactor

        for _ in range(1000):
            if condition():
                return
            await deferLater(reactor, 0.01)
        self.fail("it did not come to hold")

    async def asking(self, server: Server, app: Echo) -> RawClient:
        """A client whose request is being answered."""
        client = await connect(port(server))
        client.transport.write(GET)
        before = len(app.held)
        await self.until(lambda: len(app.held) > before)
        return client


def port(server: Server) -> int:
    """Where a server listens."""
    return server.bound[0][1]


def url(server: Server) -> str:
    """The page that is asked for."""
    return f"http://127.0.0.1:{port(server)}/x"
