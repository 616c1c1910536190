"""How much faster several workers answer than one, and the table that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from harness import align
from scenarios import Load


@dataclass
class Pair:
    """One server, with one worker and with several.

    Attributes:
        one: loads with one worker, one for each round.
        several: loads with several workers, likewise.
        trouble: why it could not be measured; empty if it was.
    """

    one: list[Load] = field(default_factory=list)
    several: list[Load] = field(default_factory=list)
    trouble: str = ""


@dataclass(frozen=True)
class Scale:
    """The rounds of one server, as medians.

    Attributes:
        rates: answers per second with one worker, and with several, as measured.
        cpu: microseconds of processor time for each answer, of all processes of the server,
            likewise.
        client: the same of wrk, likewise.
        alone: answers per second that the processors would give to the server alone, likewise.
        raw: the relation of the rates.
        scaling: the relation of the rates alone, median of the rounds.
        least: of these relations.
        most: of these relations.
        even: what the least busy worker used of what the busiest did, of processor time.
        errors: in all rounds together.
    """

    rates: tuple[float, float]
    cpu: tuple[float, float]
    client: tuple[float, float]
    alone: tuple[float, float]
    raw: float
    scaling: float
    least: float
    most: float
    even: float
    errors: int


def alone(load: Load, processors: int) -> float:
    """Answers per second that so many processors would give to a server alone.

    Without the load generator, which shares them: no process gets more than one processor, and all
    together get no more than there are. How uneven the load of the workers is thus counts.
    """
    return 1e6 / max(load.processes[0], load.cpu / processors)


def scale(pair: Pair, workers: int) -> Scale:
    """Sum up."""
    rounds = list(zip(pair.one, pair.several, strict=True))
    both = [(alone(one, 1), alone(several, workers)) for one, several in rounds]
    relations = [several / one for one, several in both]

    def medians(what: str) -> tuple[float, float]:
        first, second = (
            median(getattr(each, what) for each in loads) for loads in (pair.one, pair.several)
        )
        return first, second

    return Scale(
        rates=medians("rate"),
        cpu=medians("cpu"),
        client=medians("client_cpu"),
        alone=(median(one for one, _ in both), median(several for _, several in both)),
        raw=median(several.rate / one.rate for one, several in rounds),
        scaling=median(relations),
        least=min(relations),
        most=max(relations),
        even=median(
            each.processes[workers - 1] / each.processes[0] if len(each.processes) >= workers else 0
            for each in pair.several
        ),
        errors=sum(each.errors for each in [*pair.one, *pair.several]),
    )


@dataclass
class Scaling:
    """All servers, in one scenario.

    Attributes:
        title: of the scenario.
        workers: how many the several are.
        servers: what was seen, by name.
    """

    title: str
    workers: int
    servers: dict[str, Pair]

    def scales(self) -> dict[str, Scale]:
        """Of those that were measured."""
        return {
            name: scale(pair, self.workers)
            for name, pair in self.servers.items()
            if not pair.trouble
        }

    def troubles(self) -> dict[str, str]:
        """Why the others were not."""
        return {name: pair.trouble for name, pair in self.servers.items() if pair.trouble}

    def table(self) -> str:
        """For people."""
        rows = [[f"{self.title}: 1 and {self.workers} workers", *COLUMNS]]
        rows += [[name, *_cells(each)] for name, each in self.scales().items()]
        troubles = [f"{name} could not be measured: {why}" for name, why in self.troubles().items()]
        return "\n".join(["", *align(rows), *troubles])

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        scales = {name: asdict(each) for name, each in self.scales().items()}
        servers = {
            name: asdict(pair) | {"summary": scales.get(name)}
            for name, pair in self.servers.items()
        }
        return {"workers": self.workers, "servers": servers}


COLUMNS = (
    "answers/s",
    "raw",
    "CPU us/answer",
    "of wrk",
    "alone",
    "scaling",
    "min..max",
    "even",
    "errors",
)


def _cells(each: Scale) -> list[str]:
    return [
        _both(each.rates, 0),
        f"{each.raw:.2f}",
        _both(each.cpu, 1),
        _both(each.client, 1),
        _both(each.alone, 0),
        f"{each.scaling:.2f}",
        f"{each.least:.2f}..{each.most:.2f}",
        f"{each.even:.0%}",
        str(each.errors),
    ]


def _both(values: Sequence[float], digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)
