"""What unit tests serve, and ask with."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request, take_response

GET = format_request("GET", "/x")
ANSWER = b"GET /x "
"""What `Echo` answers to `GET`."""


def described(request: Request) -> bytes:
    """What was asked: method, target and body, so that no answer can be taken for another."""
    return b" ".join((request.method, request.uri, request.content.read()))


class Echo(Resource):
    """Answers every request with its description: at once, or when the test says so.

    Args:
        hold: whether requests wait for `answer`.

    Attributes:
        seen: the description of each request, in the order of their arrival.
        held: the requests that wait.
    """

    isLeaf = True

    def __init__(self, *, hold: bool = False) -> None:
        super().__init__()
        self.hold = hold
        self.seen: list[bytes] = []
        self.held: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        """Describe the request, or hold it."""
        self.seen.append(described(request))
        if not self.hold:
            return self.seen[-1]
        self.held.append(request)
        return NOT_DONE_YET

    def answer(self) -> None:
        """Answer the request that has waited longest."""
        request = self.held.pop(0)
        request.content.seek(0)
        request.write(described(request))
        request.finish()

    def answer_all(self) -> None:
        """Answer until no request waits, those included that arrive by that."""
        while self.held:
            self.answer()


class Fields(Resource):
    """Answers with ``request.args``, in their order; asks for the fields of the head too."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Ask for them."""
        request.getAllHeaders()
        return repr(request.args).encode()


def timers_left(server: MemoryServer) -> list[IDelayedCall]:
    """What the clock of a server still has to do when whatever was due soon has been done."""
    server.advance(1)
    return server.clock.getDelayedCalls()


class Held(Resource):
    """Keeps each request for the test, which answers it or not.

    Attributes:
        requests: in the order of their arrival.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render(self, request: Request) -> int:
        """Keep the request."""
        self.requests.append(request)
        return NOT_DONE_YET


class RawClient(Protocol):
    """A connection whose bytes a test sees.

    Attributes:
        received: all that was received.
        lost: fires with that when the connection has ended.
    """

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[bytes] = Deferred()
        self._expected: list[tuple[bytes, Deferred[bytes]]] = []

    def until(self, expected: bytes) -> Deferred[bytes]:
        """A Deferred that fires when this has been received; it fails if it never will."""
        found: Deferred[bytes] = Deferred()
        self._expected.append((expected, found))
        self._look()
        return found

    def dataReceived(self, data: bytes) -> None:
        """Bytes arrived."""
        self.received += data
        self._look()

    def _look(self) -> None:
        for entry in tuple(self._expected):
            if entry[0] in self.received:
                self._expected.remove(entry)
                entry[1].callback(self.received)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection has ended."""
        for _, found in self._expected:
            found.errback(reason)
        self.lost.callback(self.received)


def connect(port: int) -> Deferred[RawClient]:
    """Connect to a port of 127.0.0.1, in the running reactor."""
    from twisted.internet import reactor

    return connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), RawClient())


async def fetch(url: str) -> bytes:
    """The body at a URL on 127.0.0.1, on a connection of its own, in the running reactor."""
    where = urlsplit(url)
    assert where.port is not None
    client = await connect(where.port)
    client.transport.write(format_request("GET", where.path or "/", {"Connection": "close"}))
    response = take_response(bytearray(await client.lost), "GET", ended=True)
    assert response is not None, client.received
    return response.body


def is_refused(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) != 0
