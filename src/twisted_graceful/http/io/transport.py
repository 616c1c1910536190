"""The server's end of a TCP connection: Twisted's, with the writes of a reactor turn gathered.

Twisted's transport sends in the turn after a write, which costs two changes of the poll
set and one more wake-up for every response. Here what was written in a turn goes out at its
end, in one ``send``, and only what the kernel does not take at once waits for the poll.
"""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProducer, IProtocol, IReactorTime
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Server
from twisted.logger import Logger
from twisted.python.failure import Failure

from .connection_limit import ConnectionLimit
from .proxy_protocol import ConnectionFacts

_READ_SIZE = 65536
"""Bytes that are read at once, as by Twisted's transports."""


class Flusher:
    """Sends, at the end of a reactor turn, what was written in it.

    Args:
        reactor: whose turns.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._written: list[GatheringServer] = []
        self._held = False

    def add(self, transport: GatheringServer) -> None:
        """Flush a transport at the end of this turn."""
        if not self._held and not self._written:
            self._reactor.callLater(0, self.flush)
        self._written.append(transport)

    def hold(self) -> None:
        """Somebody will call `flush` in this turn."""
        self._held = True

    def flush(self) -> None:
        """Flush all transports that were added."""
        self._held = False
        written, self._written = self._written, []
        for transport in written:
            try:
                transport.flush()
            except Exception:
                # A producer that was paused or resumed raised: that is not another client's fault.
                self._log.failure("Sending failed: the connection is aborted")
                transport.abortConnection()


def send_queue(sock: socket.socket) -> int:
    """Bytes in the send queue of a socket: the other side has not acknowledged them."""
    # SIOCOUTQ of tcp(7), under its other name
    queue = fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4)
    return int.from_bytes(queue, sys.byteorder)


class GatheringServer(Server):
    """A transport that gathers what is written, and counts what is sent.

    Args:
        sock: the connection, which does not block.
        protocol: is given what arrives.
        client: the client's address, as accept(2) returned it.
        port: the port that accepted it; None if none has.
        number: counts the connections of the port.
        reactor: waits for the socket.
        flusher: flushes this transport at the end of the turn.
        send_queue: how many bytes of the socket the client has not acknowledged.

    Attributes:
        movable: whether another process can go on with a connection of this kind.
        listener: where the listener is bound that it came in by; empty if nobody asks.
        sent: bytes that the kernel has taken.
        room: where the connection has a place, until it is lost.
    """

    movable = True
    listener = ""
    sent = 0
    room: ConnectionLimit | None = None
    _settled = 0
    """How much was sent when all of it had been acknowledged."""
    _gathered: list[bytes]
    _gathered_length = 0

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        port: Any,
        number: int,
        reactor: Any,
        flusher: Flusher,
        send_queue: Callable[[Any], int] = send_queue,
    ) -> None:
        self._gathered = []
        # In the instance, where they are found first: every response asks for them.
        self.dataBuffer = b""
        self._writeDisconnected = False
        self._gathered_length = 0
        self._flusher = flusher
        self._send_queue = send_queue
        self.sent = 0
        super().__init__(sock, protocol, client, port, number, reactor)

    def facts(self) -> ConnectionFacts:
        """What another process must know to go on with this connection."""
        return {}

    @classmethod
    def can_restore(cls, facts: ConnectionFacts) -> bool:
        """Whether it can go on with a connection of which these are the facts."""
        return cls.movable and "proxied" not in facts

    def restore(self, facts: ConnectionFacts) -> None:
        """Go on with it; called before there is a protocol."""
        self.sent = self.unacknowledged  # what the other process has sent is still to be read

    @property
    def is_secure(self) -> bool:
        """Whether the client's connection is encrypted, to us or to a proxy in front of us."""
        return False

    @property
    def received(self) -> int | None:
        """Bytes read so far, as encrypted; None if they are not encrypted."""
        return None

    @property
    def unsent(self) -> int:
        """Bytes that were written, and that the kernel has not taken."""
        waiting: int = len(self.dataBuffer) - self.offset + self._tempDataLen
        return waiting + self._gathered_length

    @property
    def undelivered(self) -> int:
        """Bytes that were written, and that the client has not acknowledged."""
        unsent = self.unsent
        if not unsent and self.sent == self._settled:
            return 0
        undelivered = unsent + self.unacknowledged
        if not undelivered:
            self._settled = self.sent
        return undelivered

    @property
    def delivered(self) -> int:
        """Bytes that the client has acknowledged.

        A better measure of its speed than what the kernel has taken from us: that stands
        still until a good part of the send buffer is free again.
        """
        return self.sent - self.unacknowledged

    @property
    def unacknowledged(self) -> int:
        """Bytes that the kernel has taken, and that the client has not acknowledged."""
        if not self.connected:
            return 0
        return self._send_queue(self.getHandle())

    @property
    def partial(self) -> bool:
        """Whether bytes have come that cannot be read without those that follow them."""
        return False

    def doRead(self) -> Any:
        """Read once; called by the reactor.

        Twisted's own has two more calls between the socket and the protocol.
        """
        try:
            data = self.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def write(self, data: bytes) -> None:
        """Send bytes, at the end of this turn.

        Raises:
            TypeError: the data is not bytes.
        """
        if type(data) is not bytes and not isinstance(data, bytes):
            raise TypeError(f"only bytes can be sent, not {type(data).__name__}")
        if not self._gathered:
            self._flusher.add(self)
        self._gathered.append(data)
        self._gathered_length += len(data)
        if self._gathered_length > self.bufferSize:
            self.flush()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send byte strings, at the end of this turn."""
        self.write(b"".join(iovec))

    def flush(self) -> None:
        """Send what was gathered."""
        gathered = self._gathered
        if not gathered:
            return
        data = b"".join(gathered) if len(gathered) > 1 else gathered[0]
        self._gathered = []
        self._gathered_length = 0
        if (
            self.dataBuffer
            or self._tempDataBuffer
            # A pull producer waits for the poll to ask it for more.
            or (self.producer is not None and not self.streamingProducer)
        ):
            super().write(data)
        elif self.connected and not self._writeDisconnected:
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # the poll will tell what is the matter
            self.sent += sent
            if sent < len(data):
                super().write(data[sent:])

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Let the kernel take what it can; called by Twisted."""
        taken = super().writeSomeData(data)
        if isinstance(taken, int):
            self.sent += taken
        return taken

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended."""
        room, self.room = self.room, None
        if room is not None:
            room.leave()
        super().connectionLost(reason)

    # Whatever ends the stream comes after what was written before

    def loseConnection(self) -> None:
        """Close, after what was written has been sent."""
        self.flush()
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        """Close our side, after what was written has been sent."""
        self.flush()
        super().loseWriteConnection()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register a producer; it is asked for more when all before it is sent."""
        self.flush()
        super().registerProducer(producer, streaming)
