"""What `throughput.py` saw, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from harness import align
from scaling import Scaling
from scenarios import BUSY, Load, Scenario


@dataclass
class Measured:
    """One server in one scenario.

    Attributes:
        loads: one for each round.
        trouble: why it could not be measured; empty if it was.
    """

    loads: list[Load] = field(default_factory=list)
    trouble: str = ""


@dataclass(frozen=True)
class Summary:
    """The rounds of one server in one scenario, as medians.

    Attributes:
        rate: answers per second.
        ratio: of its rate to that of the reference in the same round; None without one.
        least: such ratio of all rounds.
        most: such ratio of all rounds.
        by_cpu: the same ratio as the processor times for an answer have it.
        cpu: microseconds of processor time of the server for each answer.
        server: the share of its core that the server used.
        client: the share of its core that wrk used.
        errors: in all rounds together.
        busy: whether in every round the server or wrk used up its core.
    """

    rate: float
    ratio: float | None
    least: float | None
    most: float | None
    by_cpu: float | None
    cpu: float
    server: float
    client: float
    errors: int
    busy: bool


def summarize(loads: Sequence[Load], reference: Sequence[Load]) -> Summary:
    """Sum up.

    Args:
        loads: of one server, one for each round.
        reference: of the reference, likewise; empty if there is none.
    """
    pairs = list(zip(loads, reference, strict=False))
    ratios = [each.rate / other.rate for each, other in pairs]
    by_cpu = [other.cpu / each.cpu for each, other in pairs if each.cpu]
    return Summary(
        rate=median(each.rate for each in loads),
        ratio=median(ratios) if ratios else None,
        least=min(ratios, default=None),
        most=max(ratios, default=None),
        by_cpu=median(by_cpu) if by_cpu else None,
        cpu=median(each.cpu for each in loads),
        server=median(each.server for each in loads),
        client=median(each.client for each in loads),
        errors=sum(each.errors for each in loads),
        busy=all(each.use >= BUSY for each in loads),
    )


@dataclass(frozen=True)
class Comparison:
    """All servers in one scenario.

    Attributes:
        reference: the name of the server that the others are compared with.
        servers: what was seen, by name.
    """

    reference: str
    servers: dict[str, Measured]

    def summaries(self) -> dict[str, Summary]:
        """Of those that were measured."""
        measured = {name: each.loads for name, each in self.servers.items() if not each.trouble}
        reference = measured.get(self.reference, [])
        return {name: summarize(loads, reference) for name, loads in measured.items()}

    def troubles(self) -> dict[str, str]:
        """Why the others were not."""
        return {name: each.trouble for name, each in self.servers.items() if each.trouble}

    def table(self, scenario: Scenario) -> str:
        """For people."""
        summaries = self.summaries()
        rows = [[scenario.title, "answers/s", f"of {self.reference}", *COLUMNS]]
        rows += [[name, *_cells(summary)] for name, summary in summaries.items()]
        lines = ["", *align(rows), *_troubles(self.troubles())]
        disturbed = [name for name, summary in summaries.items() if not summary.busy]
        if disturbed:
            lines.append(f"disturbed or waiting, neither core was used up: {', '.join(disturbed)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        summaries = self.summaries()
        servers = {
            name: asdict(each) | {"summary": asdict(summaries[name]) if name in summaries else None}
            for name, each in self.servers.items()
        }
        return {"reference": self.reference, "servers": servers}


COLUMNS = (
    "min..max",
    "by CPU",
    "CPU us/answer",
    "server",
    "wrk",
    "errors",
)


def _cells(summary: Summary) -> list[str]:
    compared = summary.ratio is not None
    return [
        f"{summary.rate:.0f}",
        f"{summary.ratio:.2f}" if compared else "-",
        f"{summary.least:.2f}..{summary.most:.2f}" if compared else "-",
        f"{summary.by_cpu:.2f}" if summary.by_cpu is not None else "-",
        f"{summary.cpu:.1f}",
        f"{summary.server:.0%}",
        f"{summary.client:.0%}",
        str(summary.errors),
    ]


def _troubles(troubles: Mapping[str, str]) -> list[str]:
    return [f"{name} could not be measured: {why}" for name, why in troubles.items()]


@dataclass
class Idle:
    """The memory for each idle connection.

    Attributes:
        connections: how many were opened.
        memory: bytes for each, by server.
        troubles: why others could not be measured, by server.
    """

    connections: int
    memory: dict[str, float] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def table(self) -> str:
        """For people."""
        rows = [[f"{self.connections} idle connections", "KiB/connection"]]
        rows += [[name, f"{memory / 1024:.1f}"] for name, memory in self.memory.items()]
        return "\n".join(["", *align(rows), *_troubles(self.troubles)])


@dataclass
class Report:
    """All that was seen.

    Attributes:
        facts: of the machine.
        versions: of the software.
        load: how much.
        skipped: servers that did not take part, and why.
        scenarios: the comparisons, by scenario.
        idle: the memory for each idle connection, if it was looked at.
        scaling: what several workers bring, if that was asked for, by scenario.
    """

    facts: dict[str, str]
    versions: dict[str, str]
    load: dict[str, int]
    skipped: dict[str, str] = field(default_factory=dict)
    scenarios: dict[str, Comparison] = field(default_factory=dict)
    idle: Idle | None = None
    scaling: dict[str, Scaling] = field(default_factory=dict)

    def introduction(self) -> str:
        """The machine, the software and the load, for people."""
        lines = [f"{name}: {value}" for name, value in {**self.facts, **self.versions}.items()]
        load = ", ".join(f"{value} {name}" for name, value in self.load.items())
        return "\n".join([*lines, f"load on each server: {load}"])

    def measured(self) -> bool:
        """Whether anything was."""
        return (
            any(each.summaries() for each in self.scenarios.values())
            or any(each.scales() for each in self.scaling.values())
            or bool(self.idle and self.idle.memory)
        )

    def complete(self) -> bool:
        """Whether all was that took part."""
        compared = [*self.scenarios.values(), *self.scaling.values()]
        return not any(each.troubles() for each in compared) and not (
            self.idle and self.idle.troubles
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self) | {
            "scenarios": {name: each.as_json() for name, each in self.scenarios.items()},
            "scaling": {name: each.as_json() for name, each in self.scaling.items()},
        }
