"""Generations of a server in memory, one of which hands its connections to the next."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from twisted_graceful.testing import MemoryServer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Generation(Resource):
    """Says which generation answers, and what it was asked."""

    isLeaf = True

    def __init__(self, number: int, hold: bool = False) -> None:
        super().__init__()
        self.number = number
        self.hold = hold
        self.held: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        """Answer at once, or when `answer` is called."""
        if self.hold:
            self.held.append(request)
            return NOT_DONE_YET
        assert request.content is not None
        return b"%d %b %b" % (self.number, request.uri, request.content.read())

    def answer(self) -> None:
        """Answer the request that has waited longest."""
        request = self.held.pop(0)
        request.write(b"%d held" % self.number)
        request.finish()


class Generations:
    """Servers that hand over, one to the next; all with the same clock."""

    def __init__(self, hold: bool = False, **settings: object) -> None:
        self.clock = Clock()
        self.settings = settings
        self.apps = [Generation(0, hold)]
        self.servers = [MemoryServer(self.apps[0], self.clock, **settings)]

    def upgrade(self) -> None:
        """Start the next generation, and hand over to it."""
        number = len(self.servers)
        self.apps.append(Generation(number))
        self.servers.append(MemoryServer(self.apps[-1], self.clock, **self.settings))
        self.servers[-2].hand_over(self.servers[-1])
        self.servers[0].turn()
