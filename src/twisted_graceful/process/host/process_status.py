"""The numbers that processes report, and their totals.

Numbers are in dictionaries by name, so that versions may differ in what they count."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True)
class Status:
    """Numbers by name. Names that a reader does not know do no harm.

    A name may have labels, which are separated from it, and from each other, by commas:
    ``requests,GET,2xx``.

    Attributes:
        counters: what only grows as long as the process lives.
        gauges: what is so at the moment.
    """

    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Status) -> Status:
        return Status(_sum(self.counters, other.counters), _sum(self.gauges, other.gauges))

    def gauge(self, name: str) -> float:
        """What is so at the moment, whatever the labels."""
        return sum(it for key, it in self.gauges.items() if key.partition(",")[0] == name)

    def encode(self, more: Mapping[str, object] | None = None) -> str:
        """The text that `decode` reads, in ASCII.

        Args:
            more: what else a reader finds there, as JSON has it.
        """
        numbers = {"counters": dict(self.counters), "gauges": dict(self.gauges)}
        return json.dumps({**numbers, **(more or {})})

    @classmethod
    def decode(cls, text: str) -> Status:
        """What another process, perhaps of another version, has encoded.

        Raises:
            ValueError: it is no such text.
        """
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError(f"not an object: {text!r}")
        return cls(_numbers(data.get("counters")), _numbers(data.get("gauges")))


class StatusTotals(Generic[Key]):
    """The status of several processes, and their sum.

    What one that has ended had counted stays in the sum, so that counters never fall. What it
    counted after its last word is not in it: of one that was killed that is at most
    what it did in the interval of its heartbeat.

    Attributes:
        living: the last word of each process.
    """

    def __init__(self) -> None:
        self.living: dict[Key, Status] = {}
        self._gone: Mapping[str, float] = {}

    def update(self, process: Key, status: Status) -> None:
        """A process has said how it is."""
        self.living[process] = status

    def ended(self, process: Key) -> None:
        """A process has ended; it may never have said a word."""
        status = self.living.pop(process, Status())
        self._gone = _sum(self._gone, status.counters)

    @property
    def total(self) -> Status:
        """The sum."""
        return self.without()

    def without(self, *processes: Key) -> Status:
        """The sum, but for what some of the living have."""
        living = (each for name, each in self.living.items() if name not in processes)
        return sum(living, Status(self._gone))


def resident_size(statm: str = "/proc/self/statm") -> int:
    """Bytes of memory that this process has in RAM; the most it ever had where no /proc tells.

    Args:
        statm: a file as in proc(5).
    """
    try:
        with open(statm) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource
        import sys

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> Mapping[str, float]:
    total = Counter(one)
    total.update(other)
    return dict(total)


def _numbers(data: object) -> Mapping[str, float]:
    if not isinstance(data, dict):
        return {}
    return {
        name: value
        for name, value in data.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    }
