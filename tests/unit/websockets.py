"""WebSockets for unit tests: one application, under each library that it can be written with."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol
from unittest import SkipTest

import twisted
from incremental import Version
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as BaseProtocol
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import generate_accept_token

from twisted_graceful.testing import MemoryServer

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


TEXT = 0x01
BINARY = 0x02
MASK = b"\x0f\xf0\x55\xaa"


class Speaker(Protocol):
    """What each library is used for: the server's end of a WebSocket.

    Attributes:
        transport: what `draining` takes for this WebSocket.
    """

    transport: Any

    def say(self, message: str | bytes) -> None:
        """Send a message."""

    def close(self) -> None:
        """Close the WebSocket, with code 1000."""


class Application:
    """Answers each message with the same, and remembers what happened.

    Attributes:
        speaker: the WebSocket.
        requests: the opening handshakes.
        messages: what was received.
        pongs: likewise.
        lost: why the connection was lost, each time that was told.
        on_open: is called when the WebSocket is open.
        on_message: is called with each message.
    """

    def __init__(self) -> None:
        self.speaker: Any = None
        self.requests: list[Request] = []
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.lost: list[Failure] = []
        self.on_open: Callable[[], None] = lambda: None
        self.on_message: Callable[[str | bytes], None] = lambda message: self.speaker.say(message)

    def received(self, message: str | bytes | bytearray) -> None:
        """Remember a message, and answer it."""
        self.messages.append(message if isinstance(message, str) else bytes(message))
        self.on_message(self.messages[-1])


class AsTwisted:
    """Under Twisted's own WebSocket."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def buildProtocol(self, request: Request) -> AsTwisted:
        """Each connection has a protocol of its own."""
        self.app.requests.append(request)
        return AsTwisted(self.app)

    def negotiationStarted(self, transport: Any) -> None:
        """The transport is there."""
        self.transport = transport

    def negotiationFinished(self) -> None:
        """The WebSocket is open."""
        self.app.speaker = self
        self.app.on_open()

    def textMessageReceived(self, message: str) -> None:
        """A message arrived."""
        self.app.received(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        """A message arrived."""
        self.app.received(data)

    def pongReceived(self, payload: bytes) -> None:
        """A pong arrived."""
        self.app.pongs.append(payload)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        self.app.lost.append(reason)

    def say(self, message: str | bytes) -> None:
        """Send a message."""
        if isinstance(message, str):
            self.transport.sendTextMessage(message)
        else:
            self.transport.sendBytesMessage(message)

    def close(self) -> None:
        """Close."""
        self.transport.loseConnection()


class TakingProtocol(BaseProtocol):
    """The server's end of a WebSocket, by a library that takes the transport of its request."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.connection = Connection(ConnectionType.SERVER)
        self.parts: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        """Frames arrived."""
        self.connection.receive_data(data)
        for event in self.connection.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                self.parts.append(event.data)
                if event.message_finished:
                    message, self.parts = type(event.data)().join(self.parts), []
                    self.app.received(message)
            elif isinstance(event, Ping):
                self.send(event.response())
            elif isinstance(event, Pong):
                self.app.pongs.append(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                if self.connection.state is not ConnectionState.CLOSED:
                    self.send(event.response())
                self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        self.app.lost.append(reason)

    def send(self, event: Event) -> None:
        """Send a frame."""
        self.transport.write(self.connection.send(event))

    def say(self, message: str | bytes) -> None:
        """Send a message."""
        self.send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    def close(self) -> None:
        """Close."""
        self.send(CloseConnection(1000))
        self.transport.loseConnection()


class Taking(Resource):
    """Takes the transport of a request away, as autobahn does."""

    isLeaf = True

    def __init__(self, app: Application) -> None:
        super().__init__()
        self.app = app

    def render_GET(self, request: Request) -> int:
        """Take the transport over, and answer the handshake on it."""
        self.app.requests.append(request)
        self.app.speaker = protocol = TakingProtocol(self.app)
        transport, request.channel.transport = request.channel.transport, None
        transport.protocol = protocol
        protocol.makeConnection(transport)
        transport.resumeProducing()
        token = generate_accept_token(request.getHeader("Sec-WebSocket-Key").encode())
        for part in (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n",
        ):
            transport.write(part)
        self.app.on_open()
        return NOT_DONE_YET


def why_no_twisted() -> str:
    """Why Twisted's own WebSocket cannot be tested; empty if it can."""
    if twisted.version < Version("Twisted", 26, 10, 0):
        return "this Twisted has no WebSocket, or hands its messages over in pieces"
    return _why_not("twisted.web.websocket")


def why_no_autobahn() -> str:
    """Likewise of autobahn."""
    return _why_not("autobahn.twisted.resource")


def _why_not(module: str) -> str:
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"{module} is not there: {error}"
    return ""


def as_twisted(app: Application, clock: IReactorTime) -> Resource:
    """The application under Twisted's own WebSocket."""
    if reason := why_no_twisted():
        raise SkipTest(reason)
    from twisted.web.websocket import WebSocketResource

    return _at_root(WebSocketResource(AsTwisted(app)))


def as_taking(app: Application, clock: IReactorTime) -> Resource:
    """The application under a library that takes transports away."""
    return Taking(app)


def as_autobahn(app: Application, clock: IReactorTime) -> Resource:
    """The application under autobahn."""
    if reason := why_no_autobahn():
        raise SkipTest(reason)
    from autobahn.twisted.resource import WebSocketResource
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    class AsAutobahn(WebSocketServerProtocol):  # type: ignore[misc]
        def onOpen(self) -> None:
            app.speaker = self
            app.on_open()

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            app.received(payload if isBinary else payload.decode())

        def onPong(self, payload: bytes) -> None:
            app.pongs.append(payload)

        def connectionLost(self, reason: Failure) -> None:
            super().connectionLost(reason)
            app.lost.append(reason)

        def say(self, message: str | bytes) -> None:
            is_text = isinstance(message, str)
            self.sendMessage(message.encode() if is_text else message, isBinary=not is_text)

        def close(self) -> None:
            self.sendClose(1000)

    factory = WebSocketServerFactory(reactor=clock)
    factory.protocol = AsAutobahn
    return _at_root(WebSocketResource(factory))


def _at_root(resource: Any) -> Resource:
    root = Resource()
    root.putChild(b"", resource)
    return root


class WebSocketClient:
    """A client in memory that answers pings and Close frames, as the standard wants it.

    Args:
        server: where it connects.
        polite: whether it answers.

    Attributes:
        connection: its bytes.
        messages: what was received, fragments as they came.
        pings: likewise.
        closed_with: the code and reason of the server's Close frame.
    """

    def __init__(self, server: MemoryServer, *, polite: bool = True) -> None:
        self.connection = server.connect()
        self.polite = polite
        self.messages: list[str | bytes] = []
        self.pings: list[bytes] = []
        self.closed_with: tuple[int, str] | None = None
        self._wsproto = Connection(ConnectionType.CLIENT)
        self.connection.request("GET", "/", HANDSHAKE)
        self.head, end, rest = self.connection.take().partition(b"\r\n\r\n")
        assert end, self.head
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head
        self._hear(rest)

    def send(self, event: Event) -> None:
        """Send a frame."""
        self.connection.send(self._wsproto.send(event))
        self.look()

    def say(self, message: str | bytes) -> None:
        """Send a message, and take what comes of it."""
        self.send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    def look(self) -> None:
        """Take what has arrived."""
        while data := self.connection.take():
            self._hear(data)

    def _hear(self, data: bytes) -> None:
        self._wsproto.receive_data(data)
        for event in self._wsproto.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                self.messages.append(event.data)
            elif isinstance(event, Ping):
                self.pings.append(bytes(event.payload))
                if self.polite:
                    self.connection.send(self._wsproto.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.closed_with = (int(event.code), event.reason or "")
                if self.polite and self._wsproto.state is ConnectionState.REMOTE_CLOSING:
                    self.connection.send(self._wsproto.send(event.response()))


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """A frame, as a client sends it, or as a server does."""
    first = opcode | (0x80 if final else 0)
    size, mask_bit = len(payload), 0x80 if masked else 0
    if size < 126:
        length = bytes([size | mask_bit])
    elif size < 1 << 16:
        length = bytes([126 | mask_bit]) + size.to_bytes(2, "big")
    else:
        length = bytes([127 | mask_bit]) + size.to_bytes(8, "big")
    key = MASK if masked else b""
    body = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload)) if masked else payload
    return bytes([first]) + length + key + body


def announced(opcode: int, size: int, *, final: bool = True) -> bytes:
    """The header of a frame whose payload has not come yet."""
    return bytes([opcode | (0x80 if final else 0), 0xFF]) + size.to_bytes(8, "big") + MASK
