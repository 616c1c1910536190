"""The transport that a WebSocket library gets from us."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProducer,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ITransport,
)
from zope.interface import directlyProvides, implementer, providedBy

from ..interfaces import Transport, UpgradableChannel
from ..request import Request


class WebSocketSession(Protocol):
    """What the transport asks of its WebSocket.

    Attributes:
        protocol: the protocol that speaks on it; None until one has taken it over.
        channel: the HTTP connection until then.
        request: the opening handshake.
    """

    wire: Transport
    protocol: IProtocol | None
    channel: UpgradableChannel
    request: Request
    client: IAddress
    host: IAddress

    def set_protocol(self, protocol: IProtocol) -> None:
        """Let a protocol speak, from the head of its response on."""

    def send(self, data: bytes) -> None:
        """Send bytes of the protocol."""

    def pause(self, paused: bool) -> None:
        """Stop reading, or resume."""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a producer speak as fast as the client reads."""

    def unregisterProducer(self) -> None:
        """The producer has finished."""

    def loseConnection(self) -> None:
        """Close in stages."""

    def abort(self) -> None:
        """Reset the connection."""


@implementer(ITransport, IConsumer, IPushProducer)
class WebSocketTransport:
    """The transport of a protocol that speaks on a WebSocket.

    What is not in here is asked of the connection's own transport.

    Attributes:
        request: the opening handshake.
    """

    def __init__(self, connection: WebSocketSession) -> None:
        self._connection = connection
        self.request = connection.request
        # Not TLS: autobahn would take this for Twisted's own.
        directlyProvides(self, providedBy(connection.wire) - ISSLTransport)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.wire, name)

    @property
    def protocol(self) -> Any:
        """The protocol that uses this transport; setting it takes the connection over."""
        return self._connection.protocol or self._connection.channel

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self._connection.set_protocol(protocol)

    def getPeer(self) -> IAddress:
        """The client's address."""
        return self._connection.client

    def getHost(self) -> IAddress:
        """Our address."""
        return self._connection.host

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.send(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send byte strings."""
        self._connection.send(b"".join(iovec))

    def loseConnection(self) -> None:
        """Close, when all has been sent."""
        self._connection.loseConnection()

    def abortConnection(self) -> None:
        """Reset the connection."""
        self._connection.abort()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a producer speak as fast as the client reads."""
        self._connection.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer has said all."""
        self._connection.unregisterProducer()

    def pauseProducing(self) -> None:
        """Do not read."""
        self._connection.pause(True)

    def resumeProducing(self) -> None:
        """Read again."""
        self._connection.pause(False)

    def stopProducing(self) -> None:
        """Close."""
        self._connection.loseConnection()


class NullTransport:
    """The transport of a channel that has lost its connection to another protocol."""

    def write(self, data: bytes) -> None:
        """Send nothing: it would get between the frames of the other one."""

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send nothing."""
