"""A connection that can be handed over to another process."""

from __future__ import annotations

import json
from abc import abstractmethod

from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from .. import twisted_internals
from ..handover_interface import Departure, HandedConnection
from .base_connection import NEVER, Connection
from .log.drain_report import CutRequest, Outcome
from .phases import ConnectionPhase

_PHASES = {
    each.name.lower(): each
    for each in (ConnectionPhase.SILENT, ConnectionPhase.IDLE, ConnectionPhase.READING)
}
_NAMES = {phase: name for name, phase in _PHASES.items()}

_UNREAD_LIMIT = 32768
"""Bytes of further requests that are handed over; of more, some are answered first."""


class MovableConnection(Connection):
    """A connection that can be handed over to another process, between two requests.

    A part of the next request's head may have been read, but nothing of its body.

    Attributes:
        handed: what another process needs to go on with it; set while it is detached.
    """

    handed: HandedConnection

    _buffer = b""
    begun = 0.0
    _served = 0
    _before = ConnectionPhase.IDLE
    """What it was doing before it was detached."""

    @property
    def can_hand_over(self) -> bool:
        """Whether it can be handed over, now or after this response."""
        return self.wire.movable and not self._client_finished

    @abstractmethod
    def _is_between_requests(self) -> bool:
        """Whether nothing is read, answered or to be sent but the head of the next request."""

    def detach(self) -> Departure | None:
        """Stop reading, so that another process can.

        Returns:
            This connection; None if it cannot be handed over now.
        """
        if (
            self.phase not in _NAMES
            or not self.can_hand_over
            or not self._is_between_requests()
            or len(self._buffer) > _UNREAD_LIMIT
        ):
            return None
        transport = self.wire
        transport.flush()
        if transport.unsent or not transport.connected:
            return None
        self._pause_reading()
        self._before, self.phase = self.phase, ConnectionPhase.HANDING_OVER
        now = self._seconds()
        facts = {
            "phase": _NAMES[self._before],
            "age": max(0.0, now - self.since),
            "begun": max(0.0, now - self.begun),
            "served": self._served,
            **transport.facts(),
        }
        self.handed = HandedConnection(
            transport.fileno(), transport.listener, json.dumps(facts), self._buffer
        )
        return self

    def release(self) -> None:
        """Another process serves it: close our descriptor, and nothing else."""
        if self.phase is ConnectionPhase.HANDING_OVER and self.wire.connected:
            self._connections.handed_over += 1
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        # The other process has the same socket, with what the kernel still has to send.
        twisted_internals.close_without_shutdown(self.wire)
        self.wire.connectionLost(Failure(CONNECTION_DONE))

    def take_back(self) -> None:
        """Nobody else serves it; and nobody will."""
        if self.phase is not ConnectionPhase.HANDING_OVER or not self.wire.connected:
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
        self.begun = now - float(facts["begun"])
        self.phase = phase = _PHASES[facts["phase"]]
        self.since = now - float(facts["age"])
        settings = self._settings
        idle = phase is ConnectionPhase.IDLE
        timeout = settings.idle_timeout if idle else settings.read_header_timeout
        self.deadline = self.since + timeout if timeout else NEVER
        self.needs_check = True  # the kernel may still hold a part of the last response
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
