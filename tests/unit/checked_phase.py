"""Holds connections to the table of phases: in all unit tests an illegal change is an error.

`phase` is a plain attribute, which each request sets twice. For the tests a descriptor takes its
place.
"""

from __future__ import annotations

from typing import Any

from twisted_graceful.http.base_connection import Connection
from twisted_graceful.http.phases import FOLLOWS, ConnectionPhase
from twisted_graceful.http.websocket.connection import WebSocket

from ..case import SynchronousTestCase


class IllegalPhase(Exception):
    """A connection was to go from one phase to another that does not follow it."""


class CheckedPhase:
    """The attribute `phase` of a class of connections.

    Args:
        first: the phase of a new connection.
        seen: gets each change.
    """

    def __init__(
        self, first: ConnectionPhase, seen: set[tuple[ConnectionPhase, ConnectionPhase]]
    ) -> None:
        self.first = first
        self._seen = seen

    def __get__(self, connection: Any, owner: type) -> Any:
        return self if connection is None else vars(connection).get("phase", self.first)

    def __set__(self, connection: Any, phase: ConnectionPhase) -> None:
        before = self.__get__(connection, type(connection))
        if phase is not before:
            if phase not in FOLLOWS[before].values():
                raise IllegalPhase(f"{connection}: from {before} to {phase}")
            self._seen.add((before, phase))
        vars(connection)["phase"] = phase


CHECKED = (Connection, WebSocket)
"""The classes that have the attribute."""

CHANGES: set[tuple[ConnectionPhase, ConnectionPhase]] = set()
"""All changes so far; a test may clear it."""


def check_all_phases() -> None:
    """Check every change from now on."""
    for owner in CHECKED:
        first: Any = owner.phase
        if not isinstance(first, CheckedPhase):
            owner.phase = CheckedPhase(first, CHANGES)  # type: ignore[assignment]


def check_no_phases(test: SynchronousTestCase) -> None:
    """Check no change during a test, which measures what users have."""
    for owner in CHECKED:
        checked: Any = owner.phase
        test.patch(owner, "phase", checked.first)
