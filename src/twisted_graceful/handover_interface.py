"""The types that a connection passes through when it moves from one process to another.

`http` detaches and attaches connections; `process` carries them between processes. Neither imports
the other, so they meet here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HandedConnection:
    """What is handed over with a connection.

    Attributes:
        descriptor: of its socket.
        listener: where the listener is bound that it came in by.
        facts: what whoever serves it must know of it; opaque to what carries it.
        unread: bytes that were read from it, and belong to no answered request.
    """

    descriptor: int
    listener: str
    facts: str
    unread: bytes


class Departure(Protocol):
    """A connection that leaves: nobody reads from it, or writes to it, until its fate is known."""

    @property
    def handed(self) -> HandedConnection:
        """What goes; the descriptor stays whose it is."""

    def release(self) -> None:
        """It is another's now: close our descriptor, and leave the connection as it is."""

    def take_back(self) -> None:
        """It stays ours: go on with it."""


class Carrier(Protocol):
    """What brings connections to another process."""

    @property
    def is_open(self) -> bool:
        """Whether more can be sent, now or later."""

    @property
    def room(self) -> int:
        """How many should be sent now."""

    def call_when_room(self, call: Callable[[], None]) -> None:
        """Call this, and whatever else was given here, each time that there is room again."""

    def send(self, departures: list[Departure]) -> None:
        """Send connections; in the end each is let go or taken back, maybe at once."""


class Recipient(Protocol):
    """What takes connections up that another process has let go."""

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a connection will be served; its descriptor is not to be touched."""

    def take_up(self, handed: HandedConnection) -> None:
        """Serve a connection, as was said; its descriptor belongs to the recipient from now on."""
