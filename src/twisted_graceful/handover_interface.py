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
    """A connection as it is handed over.

    Attributes:
        descriptor: of its socket.
        listener: the address of the listener that accepted it.
        facts: what the next server needs to know about it, in JSON; opaque to `process`.
        unread: bytes that were read from it, and do not belong to an answered request.
    """

    descriptor: int
    listener: str
    facts: str
    unread: bytes


class Departure(Protocol):
    """A detached connection: it is neither read nor written until `release` or `take_back`."""

    @property
    def handed(self) -> HandedConnection:
        """What is handed over; the descriptor stays with its owner."""

    def release(self) -> None:
        """Another process has it: close our descriptor, and leave the connection open."""

    def take_back(self) -> None:
        """The other process does not take it: serve it again."""


class Carrier(Protocol):
    """Sends connections to another process."""

    @property
    def is_open(self) -> bool:
        """Whether more can be sent, now or later."""

    @property
    def room(self) -> int:
        """How many should be sent now."""

    def call_when_room(self, call: Callable[[], None]) -> None:
        """Call this, and whatever else was given here, each time that there is room again."""

    def send(self, departures: list[Departure]) -> None:
        """Send connections; in the end each is released or taken back, maybe at once."""


class Recipient(Protocol):
    """Serves connections that another process hands over."""

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a connection will be served; its descriptor is not to be touched."""

    def take_up(self, handed: HandedConnection) -> None:
        """Serve a connection that `can_take_up` accepted; its descriptor is now ours."""
