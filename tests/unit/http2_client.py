"""An HTTP/2 client in memory, on the h2 library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    PingReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from hyperframe.frame import Frame, GoAwayFrame

from twisted_graceful.http.http2.connection import Http2Connection
from twisted_graceful.testing import MemoryConnection, MemoryServer

GET = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/"),
]


def http2_server(app: Any, **settings: Any) -> MemoryServer:
    """A server in memory that speaks HTTP/2, as if that had been negotiated."""
    server = MemoryServer(app, **settings)
    server.site.protocols = {b"http/1.1": Http2Connection}
    return server


def fields(method: str = "GET", path: str = "/", **more: str) -> list[tuple[str, str]]:
    """The header of a request; an underscore in a name is a hyphen."""
    changed = {":method": method, ":path": path}
    pseudo = [(name, changed.get(name, value)) for name, value in GET]
    return pseudo + [(name.replace("_", "-"), value) for name, value in more.items()]


@dataclass
class Answer:
    """What has come on a stream.

    Attributes:
        status: of the answer; 0 if none has come.
        headers: its fields.
        body: as far as it has come.
        ended: whether it is complete.
        reset: what the server has reset the stream with.
        informed: whether a ``100 Continue`` came.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: ErrorCodes | int | None = None
    informed: bool = False


class Http2Client:
    """A client of a server in memory.

    Args:
        server: what to connect to.
        acknowledges: whether it answers pings, and opens its windows again.
        settings: its SETTINGS, by their codes.

    Attributes:
        machine: its side of the protocol.
        follows: whether that is told what comes; not for a test that sends frames of its own.
        wire: the connection.
        answers: by the numbers of their streams.
        goaways: last stream and error code of each GOAWAY that came.
    """

    def __init__(
        self,
        server: MemoryServer,
        *,
        acknowledges: bool = True,
        settings: dict[int, int] | None = None,
    ) -> None:
        self.wire: MemoryConnection = server.connect()
        self.machine = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.acknowledges = acknowledges
        self.follows = True
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.frames: list[Frame] = []
        self.unseen = b""
        if settings:
            self.machine.local_settings.update(settings)
            self.machine.local_settings.acknowledge()
        self.machine.initiate_connection()

    def request(self, *header: tuple[str, str], body: bytes | None = None, end: bool = True) -> int:
        """Begin a request, and send it with `send`.

        Returns:
            The number of its stream.
        """
        number = self.machine.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.machine.send_headers(number, header or fields(), end_stream=end and body is None)
        if body is not None:
            self.machine.send_data(number, body, end_stream=end)
        return number

    def get(self, path: str = "/") -> Answer:
        """Ask for a resource, and take its answer."""
        number = self.request(*fields(path=path))
        self.exchange()
        return self.answers[number]

    def exchange(self) -> None:
        """Send what is to be sent, and read what comes, until nothing happens any more."""
        while True:
            data = self.machine.data_to_send()
            if data:
                self.wire.send(data)
            came = self.wire.take()
            if not came:
                if not data:
                    return
                continue
            self.read(came)

    def read(self, data: bytes) -> None:
        """Take bytes of the server."""
        kept = self._without_goaway(data)
        if self.follows:
            for event in self.machine.receive_data(kept):
                self._read_event(event)
        if not self.acknowledges:
            self.machine.clear_outbound_data_buffer()

    def _without_goaway(self, data: bytes) -> bytes:
        """Note each GOAWAY, and keep it from h2, which would take it for the end."""
        self.unseen += data
        kept = b""
        while len(self.unseen) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.unseen[:9]))
            if len(self.unseen) < 9 + length:
                break
            whole, self.unseen = self.unseen[: 9 + length], self.unseen[9 + length :]
            frame.parse_body(memoryview(whole[9:]))
            self.frames.append(frame)
            if isinstance(frame, GoAwayFrame):
                self.goaways.append((frame.last_stream_id, frame.error_code))
            else:
                kept += whole
        return kept

    def _read_event(self, event: Event) -> None:
        if isinstance(event, (ConnectionTerminated, PingReceived, PingAckReceived)):
            return
        answer = self.answers.get(getattr(event, "stream_id", None) or 0)
        if answer is None:
            return
        if isinstance(event, InformationalResponseReceived):
            answer.informed = True
        elif isinstance(event, ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers.pop(":status"))
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if self.acknowledges:
                self.machine.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = event.error_code
