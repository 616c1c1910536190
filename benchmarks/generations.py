"""What the processes of a server hold, generation by generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from machine import Process, session


@dataclass(frozen=True)
class Generation:
    """What one process held while it served alone, median of all looks.

    Attributes:
        pid: its number.
        descriptors: how many it had open, those of connections among them.
        megabytes: of memory (RSS).
    """

    pid: int
    descriptors: float
    megabytes: float


class Watch:
    """Looks at the processes of a session.

    Args:
        leader: of the session.

    Attributes:
        most: how many processes there were at most at a time.
        notes: whether what they hold is noted.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._looks: dict[int, list[tuple[int, int]]] = {}
        self.most = 0
        self.notes = False

    def look(self) -> list[Process]:
        """The processes that run now."""
        running = [each for each in session(self._leader) if each.runs]
        self.most = max(self.most, len(running))
        if self.notes and len(running) == 1:
            [alone] = running
            looks = self._looks.setdefault(alone.pid, [])
            looks.append((alone.descriptors(), alone.resident))
        return running

    def generations(self) -> list[Generation]:
        """All that were seen alone, in order."""
        return [
            Generation(
                pid,
                descriptors=median(descriptors for descriptors, _ in looks),
                megabytes=round(median(resident for _, resident in looks) / 2**20, 2),
            )
            for pid, looks in self._looks.items()
        ]


def trend(values: Sequence[float]) -> str:
    """The first, the last, and the slope of the line that fits them best (least squares)."""
    if not values:
        return "none seen"
    middle = (len(values) - 1) / 2
    mean = fmean(values)
    spread = sum((number - middle) ** 2 for number in range(len(values)))
    rise = sum((number - middle) * (value - mean) for number, value in enumerate(values))
    slope = rise / spread if spread else 0.0
    return f"first {values[0]:g}, last {values[-1]:g}, {slope:+.3f} per generation"
