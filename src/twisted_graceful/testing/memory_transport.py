"""The server's own transport over a socket that is two byte strings.

The buffers, the producers, the half-closes and the aborts are those of a real connection;
only the kernel and the client behind it are played.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from itertools import count
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ..http.io.transport import Flusher, GatheringServer
from ..http.io.transport_factory import TransportFactory

CLIENT = ("127.0.0.1", 54321)
"""Where every client is."""

SERVER = ("127.0.0.1", 80)
"""Where the server is."""

SEND_BUFFER = 64 * 1024
"""Bytes that the kernel takes for a client that does not read."""


class MemorySocket:
    """The server's socket of a connection, with what the kernel holds for either side.

    Attributes:
        number: its descriptor, which no real file has.
        inbox: what the client has sent and the server has not read.
        outbox: what the server has sent and the client has not read.
        received: what the client has read.
        client_reads: whether the client reads whatever is sent; see `let_client_read`.
        client_finished: whether the client's FIN follows the inbox.
        client_gone: whether the client takes nothing any more.
        client_reset: whether the client has reset the connection.
        server_finished: whether the server's FIN follows the outbox.
        owners: how many of the server's processes have a descriptor of it.
        closed: whether the server has closed the socket, in all of them.
        reset: whether that reset the connection, and destroyed what was in the outbox.
    """

    _numbers = count(1 << 30)

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.received = bytearray()
        self.client_reads = True
        self.client_finished = False
        self.client_gone = False
        self.client_reset = False
        self.server_finished = False
        self.owners = 1
        self.closed = False
        self.reset = False

    @property
    def readable(self) -> bool:
        """Whether `recv` has something to tell."""
        return bool(self.inbox) or self.client_finished or self.client_reset

    @property
    def writable(self) -> bool:
        """Whether `send` has something to do."""
        return self.client_reads or len(self.outbox) < SEND_BUFFER or self.client_gone

    def let_client_read(self, reads: bool) -> None:
        """Let the client read what is sent, or leave it in the kernel."""
        self.client_reads = reads
        if reads:
            self.received += self.outbox
            self.outbox.clear()

    # What Twisted calls, as socket(7) has it

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What has arrived; nothing at the end."""
        if self.client_reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset by the client")
        if not self.readable:
            raise BlockingIOError(errno.EWOULDBLOCK, "nothing has arrived")
        data = bytes(self.inbox[:size])
        if not flags & socket.MSG_PEEK:
            del self.inbox[:size]
        return data

    def send(self, data: bytes) -> int:
        """Take as many bytes as there is room for."""
        if self.client_gone and data:
            raise ConnectionResetError(errno.ECONNRESET, "the client is gone")
        taken = data[: SEND_BUFFER - len(self.outbox)]
        self.outbox += taken
        self.let_client_read(self.client_reads)
        return len(taken)

    def shutdown(self, how: int) -> None:
        """Send a FIN."""
        self.server_finished = True

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Twisted sets SO_LINGER to make the close a reset."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.reset = True

    def getsockopt(self, level: int, option: int) -> int:
        """No option is set."""
        return 0

    def close(self) -> None:
        """Close a descriptor; of the last one bytes that nobody has read make a reset, as in
        Linux."""
        self.owners -= 1
        if self.owners:
            return
        self.closed = True
        if self.inbox or self.reset:
            self.reset = True
            self.outbox.clear()

    def getsockname(self) -> tuple[str, int]:
        """Where the server is."""
        return SERVER

    def setblocking(self, blocking: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        """Its number."""
        return self.number


def _kernel(transport: GatheringServer) -> MemorySocket:
    return cast(MemorySocket, transport.getHandle())


def _send_queue(kernel: MemorySocket) -> int:
    return len(kernel.outbox)


class MemoryReactor:
    """What runs the transports: as much of a reactor as they ask for.

    Args:
        clock: the time.

    Attributes:
        most_rounds: how often bytes go to and fro before `run` gives up.
    """

    most_rounds = 10_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # In the order of their arrival, so that every run of a test is the same.
        self._readers: dict[GatheringServer, None] = {}
        self._writers: dict[GatheringServer, None] = {}
        self.callLater = clock.callLater
        self.transport = TransportFactory(
            Flusher(clock), send_queue=lambda kernel: len(kernel.outbox)
        )

    def begin(
        self,
        kernel: MemorySocket,
        factory: IProtocolFactory,
        transport: Callable[..., GatheringServer],
    ) -> Any:
        """Serve a connection.

        Args:
            kernel: the socket of the connection.
            factory: makes the protocol.
            transport: makes the transport.

        Returns:
            The protocol.
        """
        protocol = factory.buildProtocol(IPv4Address("TCP", *CLIENT))
        assert protocol is not None
        protocol.makeConnection(transport(kernel, protocol, CLIENT, None, 1, self))
        return protocol

    def addReader(self, transport: GatheringServer) -> None:
        """Let this transport read what arrives."""
        self._readers[transport] = None

    def addWriter(self, transport: GatheringServer) -> None:
        """Let this transport send what it has."""
        self._writers[transport] = None

    def removeReader(self, transport: GatheringServer) -> None:
        """Let it read no more, until it is added again."""
        self._readers.pop(transport, None)

    def removeWriter(self, transport: GatheringServer) -> None:
        """Let it send no more, until it is added again."""
        self._writers.pop(transport, None)

    def run(self) -> None:
        """Call what is due, and move bytes, until nothing is left to do at this time.

        Raises:
            RuntimeError: that has no end, as with an endless answer to a client that reads.
        """
        for _ in range(self.most_rounds):
            self._clock.advance(0)
            writers = [each for each in self._writers if _kernel(each).writable]
            readers = [each for each in self._readers if _kernel(each).readable]
            if not writers and not readers:
                return
            for transport in writers:
                if transport in self._writers:
                    self._write(transport)
            for transport in readers:
                if transport in self._readers:
                    self._read(transport)
        raise RuntimeError("the server has not come to rest: let the client stop reading")

    def _read(self, transport: GatheringServer) -> None:
        end = transport.doRead()
        if end is None:
            return
        self.removeReader(transport)
        if isinstance(end, ConnectionDone):
            transport.readConnectionLost(Failure(end))
        else:
            self._lost(transport, end)

    def _write(self, transport: GatheringServer) -> None:
        end = transport.doWrite()
        if end is not None:
            self._lost(transport, end)

    def _lost(self, transport: GatheringServer, end: Exception) -> None:
        self.removeReader(transport)
        self.removeWriter(transport)
        transport.connectionLost(Failure(end))
