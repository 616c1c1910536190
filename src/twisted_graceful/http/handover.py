"""Connections that move to another process, and go on there as if nothing had happened."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from .. import twisted_internals
from ..handover_interface import Carrier, Departure, HandedConnection
from .base_connection import NEVER, Connection
from .log.drain_report import CutRequest, Outcome
from .phases import ConnectionPhase

if TYPE_CHECKING:
    from .io.transport import GatheringServer

_PHASES = {
    each.name.lower(): each
    for each in (ConnectionPhase.SILENT, ConnectionPhase.IDLE, ConnectionPhase.READING)
}
_NAMES = {phase: name for name, phase in _PHASES.items()}

_UNREAD_LIMIT = 32768
"""Bytes of further requests that are handed over; of more, some are answered first."""


class MovableConnection(Connection):
    """A connection that another process can go on with, between two requests.

    Half a head may have been read of the next one; of its body nothing.
    """

    _buffer = b""
    _begun = 0.0
    _served = 0
    _before = ConnectionPhase.IDLE
    """What it was doing before it was detached."""

    @property
    def can_hand_over(self) -> bool:
        """Whether it can be handed over, now or after this answer."""
        movable: bool = self.transport.movable
        return movable and not self._client_finished

    @abstractmethod
    def _is_between_requests(self) -> bool:
        """Whether nothing is read, answered or to be sent but the head of the next request."""

    def detach(self) -> HandedConnection | None:
        """Stop reading, so that another process can.

        Returns:
            What that process needs; None if it cannot have the connection now.
        """
        if (
            self.phase not in _NAMES
            or not self.can_hand_over
            or not self._is_between_requests()
            or len(self._buffer) > _UNREAD_LIMIT
        ):
            return None
        transport: GatheringServer = self.transport
        transport.flush()
        if transport.unsent or not transport.connected:
            return None
        self._pause_reading()
        self._before, self.phase = self.phase, ConnectionPhase.HANDING_OVER
        now = self._seconds()
        facts = {
            "phase": _NAMES[self._before],
            "age": max(0.0, now - self.since),
            "begun": max(0.0, now - self._begun),
            "served": self._served,
            **transport.facts(),
        }
        return HandedConnection(
            transport.fileno(), transport.listener, json.dumps(facts), self._buffer
        )

    def release(self) -> None:
        """Another process serves it: close our descriptor, and nothing else."""
        if self.phase is ConnectionPhase.HANDING_OVER and self.transport.connected:
            self._connections.handed_over += 1
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        twisted_internals.close_without_shutdown(self.transport)
        self.transport.connectionLost(Failure(CONNECTION_DONE))

    def take_back(self) -> None:
        """Nobody else serves it; and nobody will."""
        if self.phase is not ConnectionPhase.HANDING_OVER or not self.transport.connected:
            return
        self.phase = self._before
        self._resume_reading()
        if self._buffer:
            self.dataReceived(b"")

    def attach(self, handed: HandedConnection) -> None:
        """Go on where another process has stopped; called when the transport is connected."""
        facts = json.loads(handed.facts)
        now = self._seconds()
        self._served = int(facts["served"])
        self._begun = now - float(facts["begun"])
        self.phase = phase = _PHASES[facts["phase"]]
        self.since = now - float(facts["age"])
        settings = self._settings
        idle = phase is ConnectionPhase.IDLE
        timeout = settings.idle_timeout if idle else settings.read_header_timeout
        self.deadline = self.since + timeout if timeout else NEVER
        self.needs_check = True  # the kernel may still hold a part of the last answer
        if handed.unread:
            self.dataReceived(handed.unread)

    def check(self, now: float) -> None:
        """Do what the time has come for; nothing to one that is on its way, and maybe another's."""
        if self.phase is not ConnectionPhase.HANDING_OVER:
            super().check(now)

    def end(self, outcome: Outcome = Outcome.CUT) -> tuple[CutRequest, ...]:
        """End the connection at once; one that is on its way is left to who takes it."""
        if self.phase is ConnectionPhase.HANDING_OVER:
            self._close_descriptor()
            return ()
        return super().end(outcome)


class _Departure:
    """A connection that is on its way."""

    def __init__(
        self, connection: MovableConnection, handed: HandedConnection, refused: set[Connection]
    ) -> None:
        self.handed = handed
        self.release = connection.release
        self._connection = connection
        self._refused = refused

    def take_back(self) -> None:
        """It stays ours."""
        self._refused.add(self._connection)
        self._connection.take_back()


class HandoverQueue:
    """Moves the connections of a site to another process, one after the other.

    Those that wait for their turn are served here meanwhile.

    Args:
        clock: calls us when the turn of the reactor is over.
        carrier: brings them there.
    """

    def __init__(self, clock: IReactorTime, carrier: Carrier) -> None:
        self._clock = clock
        self._carrier = carrier
        self._detached: list[_Departure] = []
        self._waiting: deque[MovableConnection] = deque()
        self._refused: set[Connection] = set()
        carrier.call_when_room(self._go_on)

    def will_hand_over(self, connection: Connection) -> bool:
        """Whether a connection will move when its present request is answered."""
        return (
            isinstance(connection, MovableConnection)
            and connection.can_hand_over
            and connection not in self._refused
            and self._carrier.is_open
        )

    def add_waiting(self, connections: Iterable[Connection]) -> None:
        """Move connections when it is their turn; to be called again until none is left.

        Nobody else says that there is room when those that went before had to stay.
        """
        if not self._waiting:
            self._waiting.extend(
                each
                for each in connections
                if isinstance(each, MovableConnection) and self.will_hand_over(each)
            )
        if self._waiting:
            self._schedule()

    def add(self, connection: MovableConnection) -> bool:
        """Move a connection whose answer is complete, before those that can wait.

        Returns:
            Whether it is on its way; if not it is to be served: it cannot go, or not now.
        """
        if len(self._detached) >= self._carrier.room or not self.will_hand_over(connection):
            return False
        departure = self._detach(connection)
        if departure is None:
            return False
        if not self._detached:
            self._schedule()
        self._detached.append(departure)
        return True

    def _schedule(self) -> None:
        # What is complete in one turn goes together; and after what this turn has to say.
        self._clock.callLater(0, self._go_on)

    def _detach(self, connection: MovableConnection) -> _Departure | None:
        handed = connection.detach()
        return None if handed is None else _Departure(connection, handed, self._refused)

    def _go_on(self) -> None:
        departures: list[Departure] = [*self._detached]
        self._detached = []
        room = self._carrier.room - len(departures)
        while self._waiting and room > 0:
            departure = self._detach(self._waiting.popleft())
            if departure is not None:
                departures.append(departure)
                room -= 1
        if departures:
            self._carrier.send(departures)
