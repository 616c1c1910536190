"""Everything known about a service: the numbers of this process, and the reports of the others.

A report is the latest state of one process, and is kept when the process ends. No process gets its
own report back, so nothing is counted twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..clock import time_of_day
from ..event_names import NOTED, EventName
from ..http.log.request_metrics import RequestMetrics
from ..http.phases import ConnectionPhase
from ..json_object import JsonObject
from ..process.host.process_status import Status, StatusTotals
from ..process.upgrade.upgrade_events import (
    REPORT_LIMIT,
    RollingRestartProgress,
    UpgradeProgress,
    WatchedWorker,
    Watcher,
)
from ..services.service import GracefulService
from .history import History
from .worker_totals import WorkerTotals, facts_of

REQUESTS = 50
"""Requests in flight that are shown of a generation, the oldest; nobody reads more."""

PATH = 200
"""Characters of a path that are shown."""


_DAY = 86400.0


@dataclass(frozen=True)
class Event:
    """An event of an upgrade, a rolling restart or a stop.

    Attributes:
        name: what has happened.
        facts: of it.
        is_last: whether nothing follows it.
    """

    name: EventName
    facts: dict[str, object]
    is_last: bool = False

    @property
    def is_rolling_restart(self) -> bool:
        """Whether it is an event of a rolling restart."""
        return "rolling_restart" in self.facts

    def encode(self) -> bytes:
        """A line of JSON."""
        return json.dumps({"event": self.name.value, **self.facts}).encode() + b"\n"


EventObserver = Callable[[Event], None]


def _age(request: JsonObject) -> float:
    age = request.get("age")
    return age if isinstance(age, (int, float)) else 0.0


class Overview(Watcher):
    """The numbers, states and events of all processes of a service.

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
        self._counted = dict.fromkeys(
            ("upgrades,done", "upgrades,failed", "drains", "drain_seconds"), 0.0
        )
        if service.pool is not None:
            self._counted |= {"rolls,done": 0.0, "rolls,failed": 0.0}
        self._other_totals = StatusTotals[str]()
        self._other_facts: dict[str, JsonObject] = {}
        self._workers = WorkerTotals(clock)
        self._drain_begun: float | None = None
        self._can_drain = False  # only who has accepted can
        self._observers: list[EventObserver] = []
        self._warm_up: str | None = None
        self.last_upgrade: list[JsonObject] = []
        self.history = History()
        for server in service.servers:
            server.observe(RequestMetrics(clock), self._warm_up_requested)

    # This process

    @property
    def own(self) -> Status:
        """The numbers of this process; of a master those of its workers too."""
        phases = {f"connections,{each.name.lower()}": 0.0 for each in ConnectionPhase}
        nothing = Status(gauges={"in_flight": 0.0, **phases})
        known = self.service.status + self._workers.total
        return nothing + known + Status(self._counted)

    @property
    def facts(self) -> dict[str, object]:
        """This process in words, as JSON has them; of a master its workers too."""
        return self._facts(self.own)

    def _facts(self, own: Status) -> dict[str, object]:
        draining, pool = self._drain_begun, self.service.pool
        return {
            "generation": self.service.number,
            "pid": os.getpid(),
            "state": self.service.state,
            "ready": self.service.is_ready,
            "uptime": round(self._clock.seconds() - self._begun, 3),
            "draining": draining and round(self._clock.seconds() - draining, 3),
            "connections": int(own.gauge("connections")),
            "handed_over": int(own.counters.get("handed_over", 0)),
            "in_flight": int(own.gauge("in_flight")),
            "warm_up": self._warm_up,
            **({} if pool is None else self._workers.facts(pool)),
            "requests": self._requests,
        }

    @property
    def _requests(self) -> list[JsonObject]:
        """The oldest in flight."""
        own = [
            {
                "method": each.method[:PATH],
                "path": each.path[:PATH],
                "age": round(each.age, 3),
                "doing": each.doing,
            }
            for server in self.service.servers
            for each in server.requests_in_flight
        ]
        return sorted(own + self._workers.requests, key=_age, reverse=True)[:REQUESTS]

    @property
    def serving(self) -> dict[str, float]:
        """What is so of this process alone, if it is the one that serves."""
        service = self.service
        pool = service.pool
        now = time_of_day(self._clock)()
        certificates = {
            name: ends
            for server in service.servers
            for name, ends in server.certificate.ends.items()
        }
        return {
            "generation": service.number,
            "ready": service.is_ready,
            "workers_wanted": 0 if pool is None else pool.size,
            "workers_ready": 0 if pool is None else pool.ready,
            **{f"certificate_expiry,{name}": ends for name, ends in certificates.items()},
            **{
                f"certificate_days_left,{name}": (ends - now) / _DAY
                for name, ends in certificates.items()
            },
        }

    # All processes

    @property
    def total(self) -> Status:
        """The numbers of all processes that there are, and the counters of those that were."""
        return self.own + self._other_totals.total

    @property
    def generations(self) -> list[JsonObject]:
        """What each process that lives says, this one first."""
        return [self.facts, *self._other_facts.values()]

    # Watcher

    def report(self, to: str) -> str:
        """Our numbers, with those of all but whom it goes to, and what we do.

        Words are left out, those first that are least missed, if a message cannot hold them.
        """
        own = self.own
        status = own + self._other_totals.without(to)
        facts = self._facts(own)
        past = {"upgrade": self.last_upgrade, "history": list(self.history.samples)}
        told = past if to == "successor" else {}
        for names in ((), ("requests",), ("requests", "workers")):
            less = {name: it for name, it in facts.items() if name not in names}
            text = status.encode({"facts": less, **told})
            if len(text) <= REPORT_LIMIT:
                return text
        text = status.encode()
        return text if len(text) <= REPORT_LIMIT else ""

    def reported(self, by: str, report: str) -> None:
        """Another generation has told of itself."""
        status, told = Status.decode(report), json.loads(report)
        self._other_totals.update(by, status)
        if by == "predecessor" and isinstance(told.get("upgrade"), list):
            self.last_upgrade = told["upgrade"]
        if by == "predecessor" and "history" in told and not self.service.is_ready:
            self.history.continue_from(told["history"], self.service.number)
        facts = facts_of(report)
        if not facts:
            return
        before = self._other_facts.get(by)
        self._other_facts[by] = facts
        if by == "successor":
            if before is None:
                self._notify(EventName.LOADING, {"generation": facts.get("generation")})
            target = facts.get("warm_up")
            if target and (before is None or before.get("warm_up") != target):
                self._notify(EventName.WARM_UP, {"request": f"GET {target}"})

    def worker_reported(self, worker: WatchedWorker, report: str) -> None:
        """A worker has told of itself."""
        self._workers.reported(worker, report)
        target = facts_of(report).get("warm_up")
        if target and target != self._warm_up and not self.service.is_ready:
            self._warm_up_requested(str(target))

    def worker_ended(self, worker: WatchedWorker) -> None:
        """A worker has ended."""
        self._workers.ended(worker)

    def generation_ended(self, who: str) -> None:
        """Another process has ended."""
        self._other_totals.ended(who)
        self._other_facts.pop(who, None)
        past = self.last_upgrade
        if who == "predecessor" and past and "rolling_restart" not in past[0]:
            self._record(Event(EventName.DONE, {"pid": os.getpid()}))

    def progress(self, progress: UpgradeProgress) -> None:
        """An upgrade has come further."""
        event = progress.event
        if event is EventName.STARTED:
            self.last_upgrade = []
        if event is EventName.FAILED:
            self._counted["upgrades,failed"] += 1
        elif event is EventName.DONE:
            self._counted["upgrades,done"] += 1
        # Another one that follows is ours after a failure, else it is the successor's.
        is_last = event is EventName.DONE or (
            event is EventName.FAILED and not progress.another_follows
        )
        self._notify(event, progress.facts, is_last)

    def rolling_restart_progress(self, progress: RollingRestartProgress) -> None:
        """The replacement of all workers has come further."""
        if progress.begins:
            self.last_upgrade = []
        if progress.is_over:
            self._counted[f"rolls,{progress.event.value}"] += 1
        is_last = progress.is_over and not progress.another_follows
        self._notify(progress.event, progress.facts, is_last)

    def serves(self) -> None:
        """This process accepts: a drain that was under way is none."""
        self._drain_begun, self._can_drain, self._warm_up = None, True, None

    def drains(self) -> None:
        """A drain begins; not in the stop of a process that has drained, or never accepted."""
        if self._can_drain and self._drain_begun is None:
            self._drain_begun = self._clock.seconds()

    def drained(self) -> None:
        """It is over. The drains of workers are theirs, and not one more of their master."""
        begun, self._drain_begun = self._drain_begun, None
        if begun is None:
            return
        self._can_drain = False
        if self.service.pool is None:
            self._counted["drains"] += 1
            self._counted["drain_seconds"] += self._clock.seconds() - begun

    def stopped(self, report: str, cut: int, clean: bool) -> None:
        """This process ends."""
        self._notify(EventName.STOPPED, {"report": report, "cut": cut, "clean": clean}, True)

    # Who waits

    def add_observer(self, observer: EventObserver) -> None:
        """Call it with each event, until it is removed."""
        self._observers.append(observer)

    def remove_observer(self, observer: EventObserver) -> None:
        """Stop calling it."""
        if observer in self._observers:
            self._observers.remove(observer)

    def tick(self) -> None:
        """Say how a drain goes; look how all goes; and tell the other generation."""
        self.history.sample(self.total.counters)
        self.service.send_report()
        if self._drain_begun is not None and self._observers:
            names = ("connections", "in_flight", "handed_over", "draining")
            facts = self.facts
            self._notify(EventName.DRAINING, {name: facts[name] for name in names})

    def _notify(self, name: EventName, facts: dict[str, object], is_last: bool = False) -> None:
        event = Event(name, facts, is_last)
        # That an upgrade is done its successor notes, when it is alone.
        if name in NOTED or (event.is_rolling_restart and name is EventName.DONE):
            self._record(event)
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:
                self._log.failure("Cannot notify a client of {event}", event=name.value)
                self.remove_observer(observer)

    def _record(self, event: Event) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self.last_upgrade.append({"time": now, "event": event.name.value, **event.facts})

    def _warm_up_requested(self, target: str) -> None:
        """An application of this process is asked for something before it serves."""
        self._warm_up = target[:PATH]
        self.service.send_report()
