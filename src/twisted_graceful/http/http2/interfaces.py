"""What the reader and the writer of frames need from their HTTP/2 connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from h2.errors import ErrorCodes

from ...config.server_settings import ServerSettings
from ..interfaces import Transport
from ..log.drain_report import Outcome
from ..phases import ConnectionPhase
from .stream import Stream, StreamConnection


class FrameConnection(StreamConnection, Protocol):
    """What `FrameReceiver` and `FrameSender` ask of their connection.

    Attributes:
        wire: its transport.
        streams: the requests that are not over, by the numbers of their streams.
        phase: what it is doing.
        needs_check: whether it waits for something that must come in time.
        blocked: whether the transport has as much as it takes.
    """

    wire: Transport
    streams: dict[int, Stream]
    phase: ConnectionPhase
    needs_check: bool
    blocked: bool

    @property
    def settings(self) -> ServerSettings:
        """Those of the site."""

    @property
    def overwhelmed(self) -> bool:
        """Whether the client has us reply, and does not read."""

    @property
    def delivered(self) -> int:
        """Bytes that the client has acknowledged."""

    @property
    def written(self) -> int:
        """Bytes that the client will have acknowledged when it has all that was written."""

    @property
    def accepts_requests(self) -> bool:
        """Whether a new request is answered; if not, the client knows."""

    @property
    def is_full(self) -> bool:
        """Whether the client has as many streams open as it may."""

    def now(self) -> float:
        """The time, in seconds."""

    def flush(self) -> None:
        """Give the transport all frames that were made."""

    def first_frame_received(self) -> None:
        """The client has sent its first frame."""

    def client_goes_away(self) -> None:
        """The client will send no more requests."""

    def pong_received(self, data: bytes) -> None:
        """The client has answered a PING."""

    def add_stream(self, stream: Stream) -> None:
        """A request has begun."""

    def attempt(self, stream: Stream, step: Callable[..., None], *arguments: object) -> None:
        """Take a step of a stream, whose failure ends that stream alone."""

    def stream_sent(self, stream: Stream) -> None:
        """All of a response is sent."""

    def stop_lingering(self, number: int) -> None:
        """The client sends no more of a request that was rejected."""

    def reset(self, stream: Stream, code: ErrorCodes, why: str, outcome: Outcome = ...) -> None:
        """End a stream at once."""

    def drop(self, stream: Stream, reason: BaseException | None, outcome: Outcome) -> None:
        """A stream is over, and its response was not sent completely."""
