"""Hands the connections of a site over to another process, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from ..handover_interface import Carrier, Departure
from .interfaces import HttpConnection


class _Departure:
    """A detached connection; one that is taken back is not offered again."""

    def __init__(
        self, departure: Departure, connection: HttpConnection, refused: set[HttpConnection]
    ) -> None:
        self.handed = departure.handed
        self.release = departure.release
        self._departure = departure
        self._connection = connection
        self._refused = refused

    def take_back(self) -> None:
        self._refused.add(self._connection)
        self._departure.take_back()


class HandoverQueue:
    """Hands the connections of a site over to another process, one after the other.

    Connections that wait for their turn are served here meanwhile.

    Args:
        clock: calls us when the turn of the reactor is over.
        carrier: takes them to the other process.
    """

    def __init__(self, clock: IReactorTime, carrier: Carrier) -> None:
        self._clock = clock
        self._carrier = carrier
        self._detached: list[_Departure] = []
        self._waiting: deque[HttpConnection] = deque()
        self._refused: set[HttpConnection] = set()
        carrier.call_when_room(self._go_on)

    def will_hand_over(self, connection: HttpConnection) -> bool:
        """Whether a connection will be handed over when its present request is answered."""
        return (
            connection.can_hand_over and connection not in self._refused and self._carrier.is_open
        )

    def add_waiting(self, connections: Iterable[HttpConnection]) -> None:
        """Hand connections over when it is their turn; call this again until none is left.

        Nothing else reports that there is room when earlier connections had to stay.
        """
        if not self._waiting:
            self._waiting.extend(filter(self.will_hand_over, connections))
        if self._waiting:
            self._schedule()

    def add(self, connection: HttpConnection) -> bool:
        """Hand over a connection whose response is complete, before those that can wait.

        Its next request may come at once, and is for the new code.

        Returns:
            Whether it is on its way; if not, it must be served here.
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

    def _detach(self, connection: HttpConnection) -> _Departure | None:
        departure = connection.detach()
        return None if departure is None else _Departure(departure, connection, self._refused)

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
