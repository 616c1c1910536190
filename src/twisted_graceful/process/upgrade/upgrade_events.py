"""The events of upgrades and rolling restarts, and the watcher that is told about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.logger import Logger

from ...event_names import EventName


@dataclass(frozen=True)
class UpgradeProgress:
    """A step of an upgrade.

    Attributes:
        event: what has happened.
        generation: the successor's number.
        pid: the successor's; 0 if there is none.
        reason: why it failed.
        output: the last that the successor wrote, if it failed.
        another_follows: whether another upgrade is due when this one is over.
    """

    event: EventName
    generation: int
    pid: int = 0
    reason: str = ""
    output: str = ""
    another_follows: bool = False

    @property
    def facts(self) -> dict[str, object]:
        """All but the event, as JSON has it."""
        facts: dict[str, object] = {"generation": self.generation}
        if self.pid:
            facts["pid"] = self.pid
        if self.event is EventName.FAILED:
            facts.update(reason=self.reason, output=self.output)
        if self.another_follows:
            facts["another_follows"] = True
        return facts


@dataclass(frozen=True)
class RollingRestartProgress:
    """A step of a rolling restart, which replaces all workers.

    Attributes:
        number: counts the rolling restarts of a master, from 1 on.
        event: what has happened.
        replaced: how many serve with the new code.
        wanted: how many workers are wanted.
        reason: why it ended before all were replaced; empty if it did not.
        output: the last that the worker wrote for which it ended.
        another_follows: whether another rolling restart is due when this one is over.
        probation: seconds for which the first new worker is on probation, from this step on; 0 if
            that does not begin with it.
    """

    number: int
    event: EventName
    replaced: int
    wanted: int
    reason: str = ""
    output: str = ""
    another_follows: bool = False
    probation: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing follows of it."""
        return self.event in (EventName.DONE, EventName.FAILED)

    @property
    def begins(self) -> bool:
        """Whether this is the first step."""
        return self.event is EventName.REPLACING and not self.replaced

    @property
    def facts(self) -> dict[str, object]:
        """All but the event, as JSON has it."""
        facts: dict[str, object] = {
            "rolling_restart": self.number,
            "replaced": self.replaced,
            "wanted": self.wanted,
        }
        if self.probation:
            facts["probation"] = self.probation
        if self.event is EventName.FAILED:
            facts |= {"reason": self.reason, "output": self.output}
        if self.another_follows:
            facts["another_follows"] = True
        return facts


class WatchedWorker(Protocol):
    """A worker process, as a `Watcher` sees it; it can be the key of a dictionary.

    Attributes:
        number: its place among the workers of its master, 1 or more.
        pid: its process id.
    """

    number: int
    pid: int


REPORT_LIMIT = 60_000
"""Characters of a report, which are ASCII; an AMP value holds 65,535 bytes at most."""


class Watcher:
    """Observes a process and its upgrades; this base class does nothing.

    It also makes the reports that processes send each other, which are opaque to their carriers.
    """

    def report(self, to: str) -> str:
        """What another process is told of this one, within `REPORT_LIMIT`; empty for nothing.

        Args:
            to: who is told: ``predecessor``, ``successor`` or ``master``.
        """
        return ""

    def reported(self, by: str, report: str) -> None:
        """Another generation has told of itself."""

    def generation_ended(self, who: str) -> None:
        """Another generation has ended, or never was."""

    def worker_reported(self, worker: WatchedWorker, report: str) -> None:
        """A worker of this master has told of itself."""

    def worker_ended(self, worker: WatchedWorker) -> None:
        """A worker of this master has ended; it may never have told anything."""

    def rolling_restart_progress(self, progress: RollingRestartProgress) -> None:
        """The replacement of all workers of this master has come further."""

    def serves(self) -> None:
        """This process accepts, for the first time or again."""

    def drains(self) -> None:
        """This process does not accept any more, and lets end what was begun; or its workers do."""

    def drained(self) -> None:
        """Nothing is left of that."""

    def stopped(self, report: str, cut: int, clean: bool) -> None:
        """This process has drained, and ends.

        Args:
            report: what the drain did, in words.
            cut: how many requests it cut.
            clean: whether all processes have said what theirs did; one that was killed has not.
        """

    def progress(self, progress: UpgradeProgress) -> None:
        """An upgrade has come further."""


class SafeWatcher(Watcher):
    """Passes everything on to a watcher, and logs its errors, so that they disturb nothing else.

    Upgrades, drains and signs of life continue whether or not they can be reported. An error is
    logged once until that method succeeds again, since some are called every second.

    Args:
        watcher: is told.
    """

    _log = Logger()

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._failing: set[str] = set()

    def _pass_on(self, name: str, *arguments: object) -> object:
        try:
            result = getattr(self._watcher, name)(*arguments)
        except Exception:
            if name not in self._failing:
                self._log.failure("Reporting failed ({name}); everything else continues", name=name)
            self._failing.add(name)
            return getattr(Watcher, name)(self, *arguments)  # as if nobody watched
        self._failing.discard(name)
        return result


def _passed_on(name: str) -> Callable[..., object]:
    return lambda self, *arguments: self._pass_on(name, *arguments)


for _name in [each for each in vars(Watcher) if not each.startswith("_")]:
    setattr(SafeWatcher, _name, _passed_on(_name))
