"""What a process runs, as those see it who start, drain and replace it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..handover_interface import Carrier, Recipient
from .listeners.listener import Listener


class Workload(Recipient, Protocol):
    """What a generation runs."""

    def listeners(self) -> Sequence[Listener]:
        """What a successor inherits."""

    def accept(self) -> None:
        """Accept connections, for the first time or again.

        Raises:
            OSError: the system refuses; it can be asked again.
        """

    def close_unused(self) -> None:
        """Close what was inherited and is not served here; the predecessor still serves it."""

    def alone(self) -> None:
        """No other generation holds the listeners; said once the last one has gone."""

    def hand_over(self, carrier: Carrier, removed: Collection[Listener]) -> Deferred[Any]:
        """Stop accepting, give away what can move, and drain.

        Args:
            carrier: brings connections to the successor.
            removed: the listeners on which nobody serves from now on.

        Returns:
            A Deferred that fires when nothing is left.
        """

    def logs_moved(self) -> None:
        """Go on in new log files."""

    def leave(self) -> None:
        """Stop, drain if that is not done, and let the process end."""

    def make_way(self) -> None:
        """Stop to accept as soon as a stop begins, or now: somebody else may want the addresses."""

    def cut(self) -> None:
        """End what is still being answered."""
