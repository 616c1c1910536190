"""Requests that an application must answer before it serves its first client.

They go through a real connection of the site, over a socketpair, so only accepting is left out.
They do not count as requests of clients: they are not in the access log, and `ConnectionLimit` does
not count their connections. An application whose warm-up fails cannot be loaded.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ..errors import WarmUpError
from ..reactors import IServerReactor
from .io.transport import GatheringServer
from .io.transport_factory import TransportFactory
from .site import Site

_HEADERS = Headers({"User-Agent": ["twisted-graceful warm-up"], "Accept": ["*/*"]})

_KEPT = 2048
_LINES, _WIDTH = 8, 200
"""How much of a body is kept, and shown: less than a reason may have on the control channel."""

_ENDLESS = b"text/event-stream"
"""The type of a response that does not end (HTML, section 9.2): its head is enough."""

_log = Logger()


async def warm_up(
    site: Site,
    targets: Iterable[str],
    *,
    transport: TransportFactory,
    secure: bool,
    timeout: float,
    reactor: IServerReactor,
    begins: Callable[[str], None] = lambda target: None,
) -> None:
    """Let a site answer requests, one after the other.

    A response is read completely, unless it is an event stream, and discarded. Redirects
    are not followed. If this is cancelled, the request under way is given up.

    Args:
        site: what answers.
        targets: the path of each GET request, or a whole URL for another host than ``localhost``.
        transport: makes the transports of the site's connections.
        secure: whether a path is requested as one of https.
        timeout: seconds that each response may take.
        reactor: runs the client's side.
        begins: is called with each target before it is asked for.

    Raises:
        WarmUpError: there was no complete HTTP response in time, or one with a status of 500
            or more.
    """
    for target in targets:
        begins(target)
        begun = reactor.seconds()
        request = _WarmUpRequest(target, secure, site, transport, reactor)
        try:
            await request.answered.addTimeout(timeout, reactor)
        except CancelledError:
            _log.warn("Warm-up: GET {target} has no answer yet; it is given up", target=target)
            raise
        except DeferredTimeout:
            raise request.error(f"within {timeout:g} seconds (--warm-up-timeout)") from None
        finally:
            await request.close()
        if request.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise request.error()
        # A 404 may be a slip of the pen, but who warms up what needs a password wants his 401.
        tell = _log.warn if request.status >= HTTPStatus.BAD_REQUEST else _log.info
        tell(
            "Warm-up: GET {target} was answered {answer} in {seconds:.3f} s",
            target=target,
            answer=request.answer,
            seconds=reactor.seconds() - begun,
        )


class _WarmUpRequest:
    """One request, and the connection that it has for itself.

    Attributes:
        answered: fires when there is as much of a response as is needed; it fails with
            `WarmUpError`, and can be cancelled.
        status: of the response; 0 as long as there is none.
        answer: the status and its reason.
    """

    def __init__(
        self,
        target: str,
        secure: bool,
        site: Site,
        transport: TransportFactory,
        reactor: IServerReactor,
    ) -> None:
        scheme = "https" if secure else "http"
        url = target if "://" in target else f"{scheme}://localhost{target}"
        self._target = target
        self._connection = _WarmUpConnection(
            site, transport, reactor, URI.fromBytes(url.encode("ascii"))
        )
        self._body = bytearray()
        self.status = 0
        self.answer = ""
        self.answered: Deferred[None] = Deferred()
        agent = Agent.usingEndpointFactory(reactor, self)
        asked: Deferred[IResponse] = agent.request(b"GET", url.encode("ascii"), _HEADERS)
        asked.addCallbacks(self._begun, self._failed)

    def endpointForURI(self, uri: URI) -> _WarmUpConnection:
        """The private connection, whatever host the application is to see."""
        return self._connection

    async def close(self) -> None:
        """Close the connection, whatever is still on its way; return when that is done."""
        await self._connection.close()

    def error(self, what: str = "") -> WarmUpError:
        """What is wrong with the response.

        Args:
            what: is missing of it; empty if the response itself is bad.
        """
        text = f"the warm-up request GET {self._target} was "
        if not self.status:
            return WarmUpError(f"{text}not answered {what}")
        text += f"answered {self.answer}"
        if what:
            text += f", but not in whole {what}"
        return WarmUpError("\n    ".join((text, *_first_lines(bytes(self._body)))))

    def received(self, data: bytes) -> None:
        """A part of the body came."""
        self._body += data[: _KEPT - len(self._body)]
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR and len(self._body) == _KEPT:
            self._done()

    def body_ended(self, reason: Failure) -> None:
        """No more of the body will come."""
        if reason.check(ResponseDone, PotentialDataLoss) is None:
            self._failed(reason)
        else:
            self._done()

    def _begun(self, response: IResponse) -> None:
        self.status = response.code
        self.answer = f"{response.code} {response.phrase.decode('latin-1')}".strip()
        response.deliverBody(_Body(self))
        kinds = response.headers.getRawHeaders(b"Content-Type", [b""])
        good = self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        if good and kinds[0].partition(b";")[0].strip().lower() == _ENDLESS:
            self._done()

    def _failed(self, failure: Failure) -> None:
        # Twisted's client wraps what has happened, once or more.
        while reasons := getattr(failure.value, "reasons", None):
            failure = reasons[0]
        if not self.answered.called:
            self.answered.errback(self.error(f"({type(failure.value).__name__}: {failure.value})"))

    def _done(self) -> None:
        if not self.answered.called:
            self.answered.callback(None)


class _Body(Protocol):
    def __init__(self, request: _WarmUpRequest) -> None:
        self._request = request

    def dataReceived(self, data: bytes) -> None:
        self._request.received(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._request.body_ended(reason)


@implementer(IStreamClientEndpoint)
class _WarmUpConnection:
    """A connection to a site that nobody else can open, as an endpoint of its client."""

    def __init__(
        self, site: Site, transport: TransportFactory, reactor: IServerReactor, seen: URI
    ) -> None:
        self._site = site
        self._transport = transport
        self._reactor = reactor
        self._seen = seen
        self._ends: list[ITCPTransport] = []
        self._gone: list[Deferred[None]] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Open it."""
        try:
            return succeed(self._open(protocolFactory))
        except OSError as error:
            return fail(error)

    def _open(self, factory: IProtocolFactory) -> IProtocol:
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        protocol = self._site.buildProtocol(None)
        server = PrivateServer(
            *(ours, protocol, ("127.0.0.1", 0), None, 0),
            *(self._transport.poller or self._reactor, self._transport.flusher),
            seen=self._seen,
        )
        self._ends.append(server)
        self._gone.append(server.gone)
        protocol.makeConnection(server)
        client: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        with theirs:
            self._reactor.adoptStreamConnection(theirs.fileno(), socket.AF_UNIX, _Only(client))
        self._ends.append(client.transport)
        return client  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Close both sides, if there are any; return when the application knows."""
        for each in reversed(self._ends):  # ours last, for that is what is waited for
            each.abortConnection()
        for gone in self._gone:
            await gone


class _Only(ServerFactory):
    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:  # type: ignore[override]
        return self._protocol


class PrivateServer(GatheringServer):
    """The server's side of a socketpair, which shows the addresses that a local client would have.

    Args:
        args: those of a `GatheringServer`.
        seen: the URL that the application is to believe in.

    Attributes:
        gone: fires when it is closed.
    """

    repstr = "<warm-up>"

    def __init__(self, *args: Any, seen: URI) -> None:
        self.gone: Deferred[None] = Deferred()
        self._seen = seen
        super().__init__(*args)

    @property
    def is_secure(self) -> bool:
        """Whether to take it for encrypted."""
        return bool(self._seen.scheme == b"https")

    def getPeer(self) -> IPv4Address:
        """The address of the client."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    def getHost(self) -> IPv4Address:
        """The address that it has connected to."""
        return IPv4Address("TCP", "127.0.0.1", self._seen.port)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing: a socketpair never delays."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended."""
        super().connectionLost(reason)
        self.gone.callback(None)


def _first_lines(body: bytes) -> Iterator[str]:
    """What a body begins with, for people, a log and a terminal."""
    lines = [line for line in body.decode(errors="replace").splitlines() if line.strip()]
    for line in lines[:_LINES]:
        yield "".join(each if each.isprintable() else " " for each in line[:_WIDTH])
