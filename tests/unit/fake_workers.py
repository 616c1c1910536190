"""What a master sees of its workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed

from twisted_graceful.handover_interface import Departure
from twisted_graceful.process.listeners.listener import Listener


class FakeWorker:
    """What the pool sees of a worker."""

    def __init__(self, number: int, pid: int, code: int = 0) -> None:
        self.number = number
        self.pid = pid
        self.connections = 0
        self.is_ready = False
        self.has_failed = False
        self.report = ""
        self.code = code
        self.retires = False
        self.told: list[str] = []
        self.drained: Deferred[None] = Deferred()
        self.accepts: Deferred[None] = succeed(None)

    def __repr__(self) -> str:
        return f"{self.number}:{self.pid}"

    def accept(self) -> Deferred[None]:
        """It accepts from now on."""
        self.told.append("accept")
        return self.accepts

    def drain(self, within: float, removed: Sequence[Listener] = ()) -> Deferred[None]:
        """It does not any more."""
        self.told.append("drain")
        return self.drained

    def hand_over_and_leave(self, within: float) -> None:
        """It gives its connections away and ends."""
        self.told.append("move out")

    def leave(self, within: float) -> None:
        """It ends."""
        self.told.append("leave")

    def cut(self, within: float) -> None:
        """It ends at once."""
        self.told.append("cut")

    def send_logs_moved(self) -> None:
        """It opens its logs anew."""
        self.told.append("logs moved")


class FakeRoute:
    """A way to a process, and what it has been given."""

    def __init__(self, connections: int = 0, room: int = 100) -> None:
        self.connections = connections
        self.is_open = True
        self.room = room
        self.carrier = self
        self.calls: list[Callable[[], None]] = []
        self.sent: list[Departure] = []

    def call_when_room(self, call: Callable[[], None]) -> None:
        """Call this when there is room."""
        self.calls.append(call)

    def send(self, departures: list[Departure]) -> None:
        """Take connections."""
        self.sent += departures
        self.room -= len(departures)
