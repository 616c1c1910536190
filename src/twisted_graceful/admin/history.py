"""The last minutes of a service: its request rate, its latency, and its upgrades."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

SECONDS = 300
"""How much of the past is kept, in samples of a second."""

_WINDOW = 3
"""Seconds that a sample is over: a worker tells once a second, so now and then twice in one."""


class Sample(NamedTuple):
    """The numbers of one second.

    Attributes:
        rate: requests answered, per second.
        median: milliseconds that half of them did not exceed; None if there were none.
        high: milliseconds that 99 of 100 did not exceed; None likewise.
        mark: what became of an upgrade then: ``failed``, or the ``generation N`` that began to
            serve; empty for nothing.
    """

    rate: float
    median: float | None
    high: float | None
    mark: str = ""


FAILED = "failed"
"""The mark of an upgrade that did."""


class History:
    """The samples of the last minutes, which a successor continues.

    Attributes:
        samples: the last `SECONDS`, the newest last.
    """

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SECONDS)
        self._looks: deque[Mapping[str, float]] = deque([{}], maxlen=_WINDOW)
        self._mark = ""

    def sample(self, counters: Mapping[str, float]) -> None:
        """Add a sample; this is called once a second.

        Args:
            counters: of the whole service. They never fall.
        """
        if self._looks:
            before, last = self._looks[0], self._looks[-1]
            failed = _grown(last, counters, "upgrades,failed") > 0
            mark, self._mark = FAILED if failed else self._mark, ""
            buckets = [
                (float(name.partition(",")[2]), _grown(before, counters, name))
                for name in counters
                if name.startswith("bucket,")
            ]
            buckets.sort()
            requests = sum(count for _, count in buckets)
            self.samples.append(
                Sample(
                    round(requests / len(self._looks), 1),
                    quantile(0.5, buckets),
                    quantile(0.99, buckets),
                    mark,
                )
            )
        self._looks.append(dict(counters))

    def continue_from(self, told: object, generation: int) -> None:
        """Go on with what a predecessor tells, which may be of another version.

        Args:
            told: its samples.
            generation: the number of this one, which serves from now on.
        """
        samples = told if isinstance(told, list) else []
        self.samples.clear()
        self.samples.extend(Sample(*each) for each in samples if _is_sample(each))
        self._looks.clear()
        self._mark = f"generation {generation}"

    @property
    def marks(self) -> list[tuple[int, str]]:
        """What became of upgrades, and how many seconds ago."""
        newest = len(self.samples) - 1
        return [(newest - at, each.mark) for at, each in enumerate(self.samples) if each.mark]


def quantile(part: float, buckets: Iterable[tuple[float, float]]) -> float | None:
    """The milliseconds that a part of the requests did not exceed, as a histogram has it.

    Args:
        part: of one.
        buckets: upper bounds in seconds, ascending, and how many are in each alone.
    """
    buckets = list(buckets)
    wanted = part * sum(count for _, count in buckets)
    if not wanted:
        return None
    for (lower, _), (upper, count) in pairwise([(0.0, 0.0), *buckets]):
        if count > 0 and wanted <= count:
            # Of those that took longer than all bounds no more is known.
            within = 0.0 if upper == float("inf") else (upper - lower) * wanted / count
            return round((lower + within) * 1000, 2)
        wanted -= count
    return None


def _grown(before: Mapping[str, float], now: Mapping[str, float], name: str) -> float:
    return max(0.0, now.get(name, 0.0) - before.get(name, 0.0))


def _is_sample(told: object) -> bool:
    return (
        isinstance(told, list)
        and len(told) == len(Sample._fields)
        and isinstance(told[0], (int, float))
        and all(each is None or isinstance(each, (int, float)) for each in told[1:3])
        and isinstance(told[3], str)
    )
