"""All that is known of a service: of this process, and of what others tell of themselves."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..http.connections import Connections, Phase
from ..http.meter import Meter
from ..process.machine import State
from ..process.progress import Progress, Stage, Watcher
from ..process.status import Status, Tally
from ..server import Server
from ..service import GracefulService

REQUESTS = 50
"""Requests in flight that are shown of a process, the oldest: a message between two processes holds
65,535 bytes, and nobody reads more."""

PATH = 200
"""Characters of a path that are shown."""


@dataclass(frozen=True)
class Event:
    """Something that has happened, for who waits for it.

    Attributes:
        name: a stage of an upgrade or of a stop.
        facts: of it.
        is_last: whether nothing follows it.
    """

    name: str
    facts: dict[str, Any]
    is_last: bool = False

    def encode(self) -> bytes:
        """A line of JSON."""
        return json.dumps({"event": self.name, **self.facts}).encode() + b"\n"


Listener = Callable[[Event], None]

_NOTED = ("started", "loading", "warm-up", "ready", "drained", "failed")
"""The events that tell of an upgrade afterwards."""


def key(name: str, *labels: object) -> str:
    """The name of a number in a `Status`; labels have no commas."""
    return ",".join((name, *map(str, labels)))


class Overview(Watcher):
    """What is known, in numbers and in words.

    The counters of a process are sent to the next one before that may accept, again every second,
    and a last time when it has drained. So the sum, which only the serving process shows, never
    falls in an upgrade. A process that is killed takes along what it has counted since its last
    report.

    Args:
        service: what is watched.
        clock: the time.
    """

    _log = Logger()

    def __init__(self, service: GracefulService, clock: IReactorTime) -> None:
        self.service = service
        self._clock = clock
        self._begun = clock.seconds()
        self._registries: dict[Server, Connections] = {}
        self._counted: defaultdict[str, float] = defaultdict(
            float, {key("upgrades", result): 0 for result in ("done", "failed")}
        )
        self._leaves = False
        self._others = Tally[str]()
        self._told: dict[str, dict[str, Any]] = {}
        self._drain_begun: float | None = None
        self._listeners: list[Listener] = []
        self._warm_up: str | None = None
        self.last_upgrade: list[dict[str, Any]] = []
        for server in service.servers:
            server.meter = Meter(clock)
            server.on_warm_up = self._warms_up

    # This process

    @property
    def _connections(self) -> list[Connections]:
        for server in self.service.servers:
            registry = server.connections
            if registry is not None:  # else it has been stopped, and what it counted is as it was
                self._registries[server] = registry
        return list(self._registries.values())

    @property
    def own(self) -> Status:
        """The numbers of this process; of a master those of its workers too."""
        return self.numbers(self.service.status)

    def numbers(self, known: Status) -> Status:
        """The numbers of this process, and those that are known without this."""
        counters = self._counted.copy()
        for meter in (each.meter for each in self.service.servers if each.meter is not None):
            for method, status, count in meter.requests:
                counters[key("requests", method, status)] += count
            for outcome, code, count in meter.ended_otherwise:
                counters[key("unanswered", outcome, code or "none")] += count
            for bound, count in meter.durations:
                counters[key("bucket", bound)] += count
            counters["seconds"] += meter.seconds
            counters["sent"] += meter.sent
        gauges: defaultdict[str, float] = defaultdict(
            float, {"in_flight": 0, **{key("connections", each.name.lower()): 0 for each in Phase}}
        )
        for registry in self._connections:
            for connection in registry:
                gauges[key("connections", connection.phase.name.lower())] += 1
            gauges["in_flight"] += sum(1 for _ in registry.under_way())
        return known + Status(counters, gauges)

    @property
    def facts(self) -> dict[str, Any]:
        """This process in words, as JSON has them."""
        generation = self.service.generation
        cuts = [each for registry in self._connections for each in registry.under_way()]
        oldest = islice(sorted(cuts, key=lambda each: -each.age), REQUESTS)
        draining = self._drain_begun
        return {
            "generation": generation.number if generation is not None else 0,
            "pid": os.getpid(),
            "state": (generation.state if generation is not None else State.LOADING).value,
            "ready": self.service.is_ready,
            "uptime": round(self._clock.seconds() - self._begun, 3),
            "draining": draining and round(self._clock.seconds() - draining, 3),
            "connections": sum(map(len, self._connections)),
            "handed_over": sum(each.handed_over for each in self._connections),
            "in_flight": len(cuts),
            "warm_up": self._warm_up,
            "requests": [
                {
                    "method": each.method[:PATH],
                    "path": each.path[:PATH],
                    "age": round(each.age, 3),
                    "doing": each.doing,
                }
                for each in oldest
            ],
        }

    # All processes

    @property
    def total(self) -> Status:
        """The numbers of all processes that there are, and the counters of those that were."""
        return self.own + self._others.total

    @property
    def generations(self) -> list[dict[str, Any]]:
        """What each process that lives says, this one first."""
        return [self.facts, *self._told.values()]

    def tell(self) -> Deferred[None]:
        """Tell the other generation of this one.

        Returns:
            A Deferred that fires when it knows, or is gone, and soon in any case.
        """
        generation = self.service.generation
        return succeed(None) if generation is None else generation.report()

    # Watcher

    def report(self, to: str) -> str:
        """Our numbers, with those of all but whom it goes to, and what we do."""
        status = self.own + self._others.without(to)
        numbers = {"counters": dict(status.counters), "gauges": dict(status.gauges)}
        told = {"upgrade": self.last_upgrade} if to == "successor" else {}
        return json.dumps({**numbers, "facts": self.facts, **told})

    def reported(self, by: str, report: str) -> None:
        """Another process has told of itself."""
        status, told = Status.decode(report), json.loads(report)
        self._others.update(by, status)
        if by == "predecessor" and isinstance(told.get("upgrade"), list):
            self.last_upgrade = told["upgrade"]
        facts = told.get("facts")
        if not isinstance(facts, dict):
            return
        before = self._told.get(by)
        self._told[by] = facts
        if by == "successor":
            if before is None:
                self._say("loading", {"generation": facts.get("generation")})
            target = facts.get("warm_up")
            if target and (before is None or before.get("warm_up") != target):
                self._say("warm-up", {"request": f"GET {target}"})

    def gone(self, who: str) -> None:
        """Another process has ended."""
        self._others.ended(who)
        self._told.pop(who, None)
        if who == "predecessor" and self.last_upgrade:
            self._note(Event(Stage.DONE.value, {"pid": os.getpid()}))

    def progress(self, progress: Progress) -> None:
        """An upgrade has come further."""
        stage = progress.stage
        facts: dict[str, Any] = {"generation": progress.generation}
        if stage is Stage.STARTED:
            self.last_upgrade = []
        if progress.pid:
            facts["pid"] = progress.pid
        if stage is Stage.READY:
            self._drain_begun = self._clock.seconds()
        elif stage is Stage.DRAINED:
            self._drained()
        elif stage is Stage.FAILED:
            self._counted[key("upgrades", "failed")] += 1
            self._drain_begun = None
            facts.update(reason=progress.reason, output=progress.output)
        elif stage is Stage.DONE:
            self._counted[key("upgrades", "done")] += 1
            self._leaves = True
        generation = self.service.generation
        is_last = stage in (Stage.FAILED, Stage.DONE)
        if is_last and generation is not None and generation.upgrade_follows:
            facts["another_follows"] = True
            # After a failure it is ours, else it is the successor's.
            is_last = stage is Stage.DONE
        self._say(stage.value, facts, is_last)

    def stops(self) -> None:
        """A stop begins; after an upgrade only the process ends, for it has drained."""
        if not self._leaves and self._drain_begun is None:
            self._drain_begun = self._clock.seconds()

    def stopped(self, report: str, cut: int) -> None:
        """This process has drained, and ends."""
        self._drained()
        self._say("stopped", {"report": report, "cut": cut}, True)

    def _drained(self) -> None:
        begun, self._drain_begun = self._drain_begun, None
        if begun is not None:
            self._counted["drains"] += 1
            self._counted["drain_seconds"] += self._clock.seconds() - begun

    # Who waits

    def listen(self, listener: Listener) -> None:
        """Call this with each event."""
        self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """Do not, any more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def tick(self) -> None:
        """Say how a drain goes; and tell the other generation."""
        self.tell()
        if self._drain_begun is not None and self._listeners:
            names = ("connections", "in_flight", "handed_over", "draining")
            facts = self.facts
            self._say("draining", {name: facts[name] for name in names})

    def _say(self, name: str, facts: dict[str, Any], is_last: bool = False) -> None:
        event = Event(name, facts, is_last)
        if name in _NOTED:
            self._note(event)
        for listener in tuple(self._listeners):
            listener(event)

    def _note(self, event: Event) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self.last_upgrade.append({"time": now, "event": event.name, **event.facts})

    def _warms_up(self, target: str) -> None:
        """An application of this process is asked for something before it serves."""
        self._warm_up = target[:PATH]
        self.tell()
