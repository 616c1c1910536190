"""A listening port on a reactor without a poller, and its clients."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from twisted_graceful.http.io.connection_limit import ConnectionLimit
from twisted_graceful.http.io.port import Port
from twisted_graceful.http.io.transport import Flusher
from twisted_graceful.http.io.transport_factory import TransportFactory

from ..case import SynchronousTestCase


class Descriptors(Clock):
    """A reactor that only knows which descriptors it is to read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard
        self.addWriter = self.removeWriter = lambda writer: None


class Connections(Factory):
    """Makes protocols, and knows them."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Protocol] = []

    def buildProtocol(self, addr: object) -> Protocol | None:
        """One more."""
        self.made.append(Protocol())
        return self.made[-1]


class PortTestCase(SynchronousTestCase):
    """A port with room for two connections."""

    def setUp(self) -> None:
        """Listen, with room for two."""
        self.reactor = Descriptors()
        self.transport = TransportFactory(Flusher(self.reactor))
        self.factory = Connections()
        self.limit = ConnectionLimit(self.reactor, 2)
        self.port = self.listen()

    def listen(self, family: int = socket.AF_INET, host: str = "127.0.0.1", **options: Any) -> Port:
        """One more port with the same limit."""
        with socket.socket(family) as listener:
            listener.setblocking(False)
            listener.bind((host, 0))
            listener.listen(50)
            port = Port(
                self.reactor,
                listener,
                self.factory,
                transport=self.transport,
                limit=self.limit,
                **options,
            )
        port.startListening()
        self.addCleanup(lambda: port.connectionLost(None) if port.connected else None)
        return port

    def connect(self, port: Port | None = None) -> socket.socket:
        """A client, which the kernel has queued."""
        client = socket.create_connection((port or self.port).socket.getsockname()[:2])
        self.addCleanup(client.close)
        return client

    def turn(self) -> None:
        """Let every port accept that the reactor reads, as often as it finds one readable."""
        for _ in range(5):
            for reader in tuple(self.reactor.readers):
                if isinstance(reader, Port):
                    reader.doRead()

    def end(self, number: int) -> None:
        """Let a connection end."""
        transport: Any = self.factory.made[number].transport
        transport.abortConnection()
        self.reactor.advance(0)

    def is_reading(self, port: Port) -> bool:
        """Whether the reactor waits for connections."""
        return port in self.reactor.readers
