"""Either process of an upgrade dies or is told to stop, at every moment of the upgrade."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from .upgrade_case import EXITS, STOPS, UpgradeTestCase


@dataclass(frozen=True)
class Fault:
    """A row: what happens when, to whom, and what must hold.

    Attributes:
        moment: a method of `UpgradeTestCase` that takes the upgrade there.
        who: ``"old"`` or ``"new"``, the predecessor or the successor.
        what: signals to that process, or the code by which the successor ends itself.
        then: the method of `UpgradeTestCase` that checks it.
        arguments: of that method.
    """

    moment: str
    who: str
    what: tuple[int, ...] | str
    then: str
    arguments: tuple[object, ...] = ()

    @property
    def name(self) -> str:
        """What the test of it is called."""
        codes = {STOPS: "stops itself", EXITS: "exits"}
        if isinstance(self.what, str):
            how = codes[self.what]
        else:
            how = " ".join(signal.Signals(number).name[3:] for number in self.what)
        return f"test_{self.moment}_{self.who}_{how}".replace(" ", "_").lower()


KILL, TERM, USR2 = (signal.SIGKILL,), (signal.SIGTERM,), (signal.SIGUSR2,)
TWICE = (signal.SIGTERM, signal.SIGINT)  # a second TERM could merge with the first
KILLED = ("it was killed by SIGKILL",)
BEFORE = ("it was killed by SIGKILL before it was ready",)

FAULTS = (
    Fault("spawned", "new", KILL, "old_serves", BEFORE),
    Fault("loading", "new", KILL, "old_serves", BEFORE),
    Fault("ready_sent", "new", KILL, "old_serves", KILLED),
    Fault("ready_received", "new", KILL, "old_serves", KILLED),
    Fault("draining", "new", KILL, "old_serves", KILLED),
    Fault("standing_by", "new", KILL, "old_serves", KILLED),
    Fault("spawned", "old", KILL, "new_serves", (-signal.SIGKILL,)),
    Fault("loading", "old", KILL, "new_serves", (-signal.SIGKILL,)),
    Fault("ready_sent", "old", KILL, "new_serves", (-signal.SIGKILL,)),
    Fault("ready_received", "old", KILL, "new_serves", (-signal.SIGKILL,)),
    Fault("draining", "old", KILL, "new_serves", (-signal.SIGKILL,)),
    Fault("standing_by", "old", KILL, "new_serves", (-signal.SIGKILL,)),
    Fault("loading", "new", TERM, "old_serves", ("",)),
    Fault("draining", "new", STOPS, "old_serves", ("it exited with status 0",)),
    Fault("standing_by", "new", STOPS, "old_serves", ("it exited with status 0",)),
    Fault("standing_by", "new", EXITS, "old_serves", ("it exited with status 3",)),
    Fault("draining", "old", TERM, "new_serves", (0,)),
    Fault("draining", "old", TWICE, "new_serves", (1,)),
    Fault("standing_by", "old", TERM, "new_serves", (0,)),
    Fault("loading", "old", TERM, "nobody_serves"),
    Fault("draining", "new", TERM, "nobody_serves"),
    Fault("standing_by", "new", TERM, "nobody_serves"),
    Fault("standing_by", "new", USR2, "newest_serves"),
    Fault("standing_by", "old", USR2, "newest_serves"),
)
"""Who connects meanwhile is answered, and so is what the predecessor has begun, unless it died."""


class FaultTests(UpgradeTestCase):
    """One test for each row of `FAULTS`: each starts four processes, and takes some seconds."""

    def check(self, fault: Fault) -> None:
        """What must hold does."""
        self.code = fault.what if isinstance(fault.what, str) else ""
        getattr(self, fault.moment)()
        clients = []
        if isinstance(fault.what, str):
            self.server.open("end")
        else:
            if fault.what == USR2:
                self.deploy("3")
            pid = self.old if fault.who == "old" else self.new
            clients = self.strike(pid, *fault.what)
        survivor = self.new if fault.who == "old" else self.old
        if clients:
            self.server.open("factory")
        for client in clients:
            self.assertEqual(client.answer().body, str(survivor))
            client.close()
        getattr(self, fault.then)(*fault.arguments)


def _test(fault: Fault) -> Callable[[FaultTests], None]:
    def test(self: FaultTests) -> None:
        self.check(fault)

    test.__doc__ = f"At the moment {fault.moment}: {fault.then} {fault.arguments or ''}"
    return test


for each in FAULTS:
    setattr(FaultTests, each.name, _test(each))
