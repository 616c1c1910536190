"""What became of the requests, and of the connections, that a load made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness import align

FAILURES = ("refused", "reset", "lost", "truncated", "wrong", "racing")
"""What can become of a request that is not answered as it must be."""

CLOSES = ("announced", "fin", "rst", "broken")
"""How the server can end a connection that its client would keep.

By an answer that says so; by a FIN or a reset between two requests; amid a request, which
then fails too.
"""


class Failed(Exception):
    """A request did not get the answer that it must get.

    Args:
        outcome: one of `FAILURES`.
        detail: what was seen, in words.
    """

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True)
class Failure:
    """A failed request, for the report.

    Attributes:
        began: when the request was begun, in seconds since the load began.
        at: when it failed, likewise.
        kind: of its client.
        outcome: one of `FAILURES`.
        detail: what was seen, in words.
        since: when its connection was begun, in seconds since the load began.
        port: of its client, by which the connection can be recognised; 0 if there was none, or none
            on TCP.
    """

    began: float
    at: float
    kind: str
    outcome: str
    detail: str
    since: float = 0.0
    port: int = 0


@dataclass
class Tally:
    """What became of the requests of one kind of client, or of all.

    Attributes:
        clients: how many made them.
        requests: sent, or tried to send.
        outcomes: how many of them failed, by outcome.
        unprocessed: pipelined requests behind an answer that announced a close; they
            are lost too.
        connections: made.
        closes: how many of those that the client would have kept the server has ended,
            by the way it did.
        answers: when each right answer was complete, and after how long, in seconds.
        generations: the pids that the answers named.
        last: of the answers to the last requests, one on each kept connection, how many
            named which pid.
        failures: one entry for each failed request.
    """

    clients: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    unprocessed: int = 0
    connections: int = 0
    closes: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[float, float]] = field(default_factory=list)
    generations: set[int] = field(default_factory=set)
    last: Counter[int] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """All tallies together."""
        total = cls()
        for each in tallies:
            total.clients += each.clients
            total.requests += each.requests
            total.outcomes += each.outcomes
            total.unprocessed += each.unprocessed
            total.connections += each.connections
            total.closes += each.closes
            total.answers += each.answers
            total.generations |= each.generations
            total.last += each.last
            total.failures += each.failures
        total.answers.sort()
        total.failures.sort(key=lambda failure: failure.at)
        return total

    def summary(self) -> dict[str, float]:
        """The numbers of the report; times in milliseconds."""
        latencies = sorted(latency for _, latency in self.answers)
        return {
            "clients": self.clients,
            "requests": self.requests,
            "answered": len(self.answers),
            **{outcome: self.outcomes[outcome] for outcome in FAILURES},
            "unprocessed": self.unprocessed,
            "connections": self.connections,
            **{way: self.closes[way] for way in CLOSES},
            "p50": _milliseconds(percentile(latencies, 0.5)),
            "p99": _milliseconds(percentile(latencies, 0.99)),
            "p99.9": _milliseconds(percentile(latencies, 0.999)),
            "max": _milliseconds(percentile(latencies, 1.0)),
            "gap": _milliseconds(self._longest_gap()),
        }

    def _longest_gap(self) -> float:
        times = (at for at, _ in self.answers)
        return max((after - before for before, after in pairwise(times)), default=0.0)


def summaries(kinds: Mapping[str, Mapping[str, float]], total: Mapping[str, float]) -> list[str]:
    """Lines of a table of summaries."""
    rows = [["clients of kind", *total]]
    for name, numbers in [*kinds.items(), ("total", total)]:
        rows.append([name, *map("{:g}".format, numbers.values())])
    return align(rows)


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    if not ascending:
        return 0.0
    rank = -int(-share * len(ascending) // 1)  # rounded up
    return ascending[max(rank, 1) - 1]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
