"""Passes connections through a master, to the process with the fewest connections.

They come from a worker that drains, or from the predecessor. If a process does not take one, the
next is tried; while none serves, they wait here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Protocol
from weakref import WeakSet

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...handover_interface import Carrier, Departure, HandedConnection


class RelayTarget(Protocol):
    """A process that serves, and can be sent connections.

    Attributes:
        connections: how many it has, as far as is known; the one with the fewest gets the next.
    """

    connections: int

    @property
    def carrier(self) -> Carrier:
        """What brings connections there."""


class Relay:
    """Passes connections on, and keeps them while there is no process to pass them to.

    Args:
        clock: calls us when the turn of the reactor is over.
        routes: those that are there at the moment.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, routes: Callable[[], Iterable[RelayTarget]]) -> None:
        self._clock = clock
        self._routes = routes
        self._waiting: list[_RelayedConnection] = []
        self._is_due = False  # a call of `go_on` at the end of this turn
        self._known: WeakSet[Carrier] = WeakSet()

    @property
    def is_open(self) -> bool:
        """Whether there is somebody to pass connections on to."""
        return any(each.carrier.is_open for each in self._routes())

    def take_up(self, handed: HandedConnection) -> None:
        """Pass a connection on; its descriptor is ours."""
        self.add(_RelayedConnection(self, handed))

    def add(self, connection: _RelayedConnection) -> None:
        """Pass it on at the end of this turn, with all that come in it."""
        self._waiting.append(connection)
        if not self._is_due:
            self._is_due = True
            self._clock.callLater(0, self.go_on)

    def go_on(self) -> None:
        """Pass on what waits; to be called when there is a new route."""
        self._is_due = False
        routes = [each for each in self._routes() if each.carrier.is_open]
        if not routes:
            return
        waiting, self._waiting = self._waiting, []
        room = {route: route.carrier.room for route in routes}
        batches: dict[RelayTarget, list[Departure]] = {}
        for connection in waiting:
            willing = [each for each in routes if each not in connection.refused_by]
            if not willing:
                self._lose(connection, "every process that serves has refused it")
                continue
            route = min(willing, key=lambda each: (room[each] <= 0, each.connections))
            if room[route] <= 0:
                self._waiting.append(connection)  # until there is
                continue
            room[route] -= 1
            route.connections += 1
            connection.route = route
            batches.setdefault(route, []).append(connection)
        for route, batch in batches.items():
            if route.carrier not in self._known:
                self._known.add(route.carrier)
                route.carrier.call_when_room(self.go_on)
            route.carrier.send(batch)

    def close(self) -> None:
        """Nobody will serve any more: close what waits."""
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            self._lose(connection, "nobody serves any more")

    def _lose(self, connection: _RelayedConnection, reason: str) -> None:
        os.close(connection.handed.descriptor)
        self._log.warn("A connection that was to move is closed: {reason}", reason=reason)


class _RelayedConnection:
    """A connection that is passed on."""

    def __init__(self, relay: Relay, handed: HandedConnection) -> None:
        self.handed = handed
        self.refused_by: list[RelayTarget] = []
        self.route: RelayTarget | None = None
        self._relay = relay

    def release(self) -> None:
        """It has arrived."""
        os.close(self.handed.descriptor)

    def take_back(self) -> None:
        """It has not: try the next."""
        if self.route is not None:
            self.route.connections -= 1
            self.refused_by.append(self.route)
        self._relay.add(self)
