"""The interfaces between the parts of this package.

From the socket up::

    Transport           bytes in and out; made by a port
    HttpConnection      one client's connection: HTTP/1.1, HTTP/2 or a WebSocket
    RequestChannel      what one request is written to: an HTTP/1.1 connection or an HTTP/2 stream
    ChannelRequest      one request: passed to the application, which writes the response

All connections of a `ConnectionSite` are in its `Registry`, which checks their deadlines and
drains them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Protocol

from twisted.internet.interfaces import IAddress, IProducer, IProtocol, IReactorTime, ITransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from ..config.server_settings import ServerSettings
from ..handover_interface import Departure
from .io.proxy_protocol import ConnectionFacts
from .log.access_log import Loggable, RequestLog
from .log.client_log import ClientLog
from .log.drain_report import CutRequest, Outcome
from .phases import ConnectionPhase
from .proxies import Proxies
from .time_sharing import TurnScheduler


class Transport(Protocol):
    """What a connection asks of its transport; `io.transport.GatheringServer` is the base of all.

    Attributes:
        connected: whether it has not ended.
        protocol: is given what arrives; a connection can be replaced by another.
        movable: whether another process can go on with a connection of this kind.
        listener: the address of the listener that accepted it; empty if nobody asks.
        received: bytes read so far, as encrypted; None if the connection sees all of them itself.
    """

    connected: int
    protocol: IProtocol
    listener: str

    @property
    def movable(self) -> bool: ...

    @property
    def received(self) -> int | None: ...

    @property
    def is_secure(self) -> bool:
        """Whether the client's connection is encrypted, to us or to a proxy in front of us."""

    @property
    def partial(self) -> bool:
        """Whether bytes have arrived that cannot be read without those that follow."""

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken."""

    @property
    def undelivered(self) -> int:
        """Bytes written that the client has not acknowledged."""

    @property
    def delivered(self) -> int:
        """Bytes that the client has acknowledged."""

    def facts(self) -> ConnectionFacts:
        """What another process must know to go on with this connection."""

    def write(self, data: bytes) -> None: ...
    def writeSequence(self, iovec: Iterable[bytes]) -> None: ...
    def flush(self) -> None: ...
    def fileno(self) -> int: ...
    def getHandle(self) -> socket.socket: ...
    def getPeer(self) -> IAddress: ...
    def getHost(self) -> IAddress: ...
    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def registerProducer(self, producer: IProducer, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def loseWriteConnection(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def connectionLost(self, reason: Failure) -> None: ...


class HttpConnection(Protocol):
    """What the registry, the sweep and the drain ask of a connection.

    Attributes:
        phase: what it is doing.
        since: when that began, in seconds of the registry's clock.
        deadline: when `check` has something to do, in such seconds.
        needs_check: whether to call `check` before the deadline.
        client: the client's address.
    """

    phase: ConnectionPhase
    since: float
    deadline: float
    needs_check: bool
    client: IAddress

    @property
    def grace(self) -> float:
        """Seconds for which a drain leaves it open while nothing has begun on it."""

    @property
    def can_hand_over(self) -> bool:
        """Whether another process can go on with it, now or after this response."""

    def check(self, now: float) -> None:
        """Do what is due."""

    def has_unread(self) -> bool:
        """Whether a further request has begun: here, or in the kernel's queue."""

    def requests_in_flight(self) -> tuple[CutRequest, ...]:
        """The requests that an end of the connection now would cut."""

    def detach(self) -> Departure | None:
        """Stop reading, so that another process can; None if that is not possible now."""

    def go_away(self) -> bool:
        """Ask the client to go elsewhere; whether its protocol can say so."""

    def loseConnection(self) -> None:
        """Close in stages, losing nothing."""

    def end(self) -> tuple[CutRequest, ...]:
        """End the connection at once; return the requests that this cut."""

    def reset_connection(self) -> None:
        """Reset the connection, whatever state it is in."""


class HandsOver(Protocol):
    """What a connection asks of the queue that hands connections over."""

    def add(self, connection: HttpConnection) -> bool:
        """Hand over a connection between two requests; whether it is on its way."""


class Registry(Protocol):
    """What a connection asks of its registry; see `registry.ConnectionRegistry`.

    Attributes:
        answered: how many requests have been.
        told_to_close: how many clients were told that a response is the connection's last.
        handed_over: how many connections another process has taken.
        received: bytes of bodies that have been read.
        draining: whether a drain is announced or in progress.
    """

    answered: int
    told_to_close: int
    handed_over: int
    received: int
    draining: bool

    @property
    def settings(self) -> ServerSettings: ...

    @property
    def clock(self) -> IReactorTime: ...

    @property
    def client_log(self) -> ClientLog: ...

    @property
    def scheduler(self) -> TurnScheduler: ...

    @property
    def handover(self) -> HandsOver | None: ...

    def add(self, connection: HttpConnection) -> None: ...
    def remove(self, connection: HttpConnection) -> None: ...
    def count_limit(self, limit: str) -> None: ...
    def will_hand_over(self, connection: HttpConnection) -> bool: ...


class ConnectionSite(Protocol):
    """What connections and requests ask of their site.

    Attributes:
        access_log: receives each request when it is over; None for no log.
        proxies: the proxies whose word about clients is believed; None for none.
        server_name: the value of the ``Server`` field.
        resource: the root of the resource tree.
    """

    access_log: RequestLog | None
    resource: IResource

    @property
    def connections(self) -> Registry: ...

    @property
    def proxies(self) -> Proxies | None: ...

    @property
    def server_name(self) -> bytes: ...

    def acceptableProtocols(self) -> list[bytes]:
        """The names of ALPN that it serves, what it prefers first."""

    def date(self) -> bytes:
        """The value of the ``Date`` field, now."""

    def connection_for(self, protocol: bytes | None) -> IProtocol:
        """A new connection of the kind that was negotiated, by its name of ALPN."""

    def log(self, request: ChannelRequest) -> None:
        """Log a request whose response is complete."""


class ChannelRequest(Loggable, Protocol):
    """What a channel asks of a request, in this order."""

    startedWriting: int

    def gotLength(self, length: int | None) -> None:
        """A body will follow, of so many bytes; None if that is not known."""

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body has arrived."""

    def dispatch(self) -> None:
        """The request is complete: pass it to the application."""

    def producer_failed(self, failure: Failure) -> bool:
        """Its producer has failed; whether the response can only be cut."""

    def connectionLost(self, reason: Failure) -> None:
        """The response cannot be sent."""


class RequestChannel(Protocol):
    """What a request asks of its channel, as Twisted's asks it of ``HTTPChannel``."""

    site: ConnectionSite
    client: IAddress
    host: IAddress

    @property
    def transport(self) -> ITransport: ...

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers, data: bytes = b""
    ) -> None:
        """Send the head of the response, with the first bytes of its body."""

    def write(self, data: bytes) -> None: ...
    def writeSequence(self, iovec: Iterable[bytes]) -> None: ...
    def requestDone(self, request: ChannelRequest) -> None: ...
    def log(self, access_log: RequestLog, request: ChannelRequest) -> None: ...
    def registerProducer(self, producer: IProducer, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def isSecure(self) -> bool: ...
    def getPeer(self) -> IAddress: ...
    def getHost(self) -> IAddress: ...


class UpgradableChannel(Protocol):
    """What a WebSocket asks of the HTTP/1.1 connection that its opening handshake came on.

    Attributes:
        transport: what its request writes to; the WebSocket puts one of its own there.
        wire: the connection's own transport.
        begun: when the request began, in seconds.
        outcome: for the access log.
    """

    transport: object
    wire: Transport
    begun: float
    outcome: Outcome
    phase: ConnectionPhase
    host: IAddress

    @property
    def site(self) -> ConnectionSite: ...

    def release_transport(self) -> bytes:
        """Leave the connection to another protocol; return what has arrived of it."""

    def loseConnection(self) -> None: ...
