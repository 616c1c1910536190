"""One end of an HTTP/2 conversation, on the h2 library and without I/O: what clients share."""

from __future__ import annotations

from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

GET = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/"),
]


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


class Peer:
    """The client's end of a connection.

    Args:
        strict: whether a GOAWAY is the end of everything, as it is to h2 and so to httpx; else it
            is kept from h2, and the settings are not those that h2 is recognized by.

    Attributes:
        acknowledges: whether it answers pings, and opens its windows again.
        machine: its side of the protocol.
        follows: whether that is told what comes; not for a test that sends frames of its own.
        answers: by the numbers of their streams.
        goaways: last stream and error code of each GOAWAY that came.
        frames: all that came.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.machine = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        if not strict:
            self.machine.local_settings = Settings(
                client=True, initial_values={SettingCodes.HEADER_TABLE_SIZE: 8192}
            )
        self.strict = strict
        self.acknowledges = True
        self.follows = True
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.frames: list[Frame] = []
        self._unseen = b""
        self.machine.initiate_connection()

    def request(self, *header: tuple[str, str], body: bytes | None = None, end: bool = True) -> int:
        """Begin a request; its bytes are among those that are to be sent.

        Returns:
            The number of its stream.
        """
        number = self.machine.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.machine.send_headers(number, header or fields(), end_stream=end and body is None)
        if body is not None:
            self.machine.send_data(number, body, end_stream=end)
        return number

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
        self._unseen += data
        kept = b""
        while len(self._unseen) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._unseen[:9]))
            if len(self._unseen) < 9 + length:
                break
            whole, self._unseen = self._unseen[: 9 + length], self._unseen[9 + length :]
            frame.parse_body(memoryview(whole[9:]))
            self.frames.append(frame)
            if isinstance(frame, GoAwayFrame):
                self.goaways.append((frame.last_stream_id, frame.error_code))
            if self.strict or not isinstance(frame, GoAwayFrame):
                kept += whole
        return kept

    def _read_event(self, event: Event) -> None:
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
