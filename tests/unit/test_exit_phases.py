"""The phases in which a process ends, each with its deadline."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from twisted_graceful.process.host import exit_phases
from twisted_graceful.process.host.exit_deadline import GRACE
from twisted_graceful.process.host.exit_phases import ExitPhases

from ..case import SynchronousTestCase

TAKES = 40.0
WORK = 30.0
AT_ONCE = 0.0


class FakeDeadline:
    """It keeps what it was told last."""

    seconds: float | None = None

    def adopt(self) -> None:
        """It is this process's."""

    def within(self, seconds: float, since: str) -> None:
        """There is one."""
        self.seconds = seconds

    def at_once(self) -> None:
        """It is now."""
        self.seconds = AT_ONCE

    def prepare(self) -> None:
        """It can be set later."""

    def pause(self) -> None:
        """There is none for now."""
        self.seconds = None

    cancel = pause


class FakeReactor:
    """It has the triggers of a shutdown."""

    def __init__(self) -> None:
        self.triggers: list[tuple[str, Callable[[], None]]] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], None]) -> Any:
        """Add one."""
        self.triggers.append((phase, call))
        return self.triggers[-1]

    def removeSystemEventTrigger(self, trigger: Any) -> None:
        """Remove it."""
        self.triggers.remove(trigger)

    def fire(self, phase: str) -> None:
        """This phase of the shutdown has come."""
        for call in [call for each, call in self.triggers if each == phase]:
            call()


class ExitPhasesTests(SynchronousTestCase):
    """A process whose time and reactor the test has."""

    def setUp(self) -> None:
        """It runs."""
        self.clock, self.reactor, self.deadline = Clock(), FakeReactor(), FakeDeadline()
        self.exits: list[Callable[[], None]] = []
        self.patch(exit_phases, "at_interpreter_exit", lambda call: self.exits.append(call) or True)
        self.phases = ExitPhases(
            self.reactor,
            lambda: TAKES,
            lambda: WORK,
            self.deadline,  # type: ignore[arg-type]
            self.clock.seconds,
        )
        self.phases.watch()

    def test_phases(self) -> None:
        """Threads have the rest of the drain timeout; the program itself has no deadline."""
        self.assertIsNone(self.deadline.seconds)
        self.reactor.fire("before")
        self.assertEqual(self.deadline.seconds, TAKES)
        self.clock.advance(WORK / 2)
        self.phases.stopped()
        self.assertEqual(self.deadline.seconds, WORK / 2)
        self.reactor.fire("after")
        self.assertIsNone(self.deadline.seconds)
        self.clock.advance(WORK * 9)
        [over] = self.exits
        over()
        self.assertEqual(self.deadline.seconds, GRACE)

    def test_drained_before(self) -> None:
        """Time that was spent draining for an upgrade counts, unless the process accepted again."""
        for accepts_again, left in ((False, WORK - 10), (True, WORK)):
            with self.subTest(accepts_again=accepts_again):
                self.setUp()
                self.phases.drains(True)
                self.clock.advance(10)
                if accepts_again:
                    self.phases.drains(False)
                self.reactor.fire("before")
                self.phases.stopped()
                self.assertEqual(self.deadline.seconds, left)

    def test_signals(self) -> None:
        """The first signal begins the stop, also of a reactor that hangs; the second ends it."""
        for signals, seconds in (
            ([signal.SIGTERM], TAKES),
            ([signal.SIGTERM, signal.SIGTERM], AT_ONCE),
            ([signal.SIGINT, signal.SIGTERM], AT_ONCE),
            ([signal.SIGQUIT], AT_ONCE),
        ):
            with self.subTest(signals=signals):
                self.setUp()
                answers = [self.phases.stop_requested(each) for each in signals]
                self.assertEqual(self.deadline.seconds, seconds)
                self.assertEqual(answers[-1], seconds is TAKES)  # else the kernel's default is next

    def test_told_when_it_has_stopped(self) -> None:
        """A first signal to a process that waits for its threads does not give them more time."""
        self.reactor.fire("before")
        self.clock.advance(WORK)
        self.phases.stopped()
        self.phases.stop_requested(signal.SIGTERM)
        self.assertEqual(self.deadline.seconds, GRACE)
        self.phases.stop_requested(signal.SIGTERM)
        self.assertEqual(self.deadline.seconds, AT_ONCE)

    def test_the_process_goes_on(self) -> None:
        """A service that is stopped in a process that goes on leaves no deadline and no trigger."""
        self.phases.stop_requested(signal.SIGTERM)
        self.phases.disarm()
        self.assertIsNone(self.deadline.seconds)
        self.assertEqual(self.reactor.triggers, [])

    def test_must_stop_within(self) -> None:
        """A process that hangs ends earlier than one whose reactor begins to stop."""
        self.phases.must_stop_within(10, "its master ended")
        self.assertEqual(self.deadline.seconds, 10)
        self.reactor.fire("before")
        self.assertEqual(self.deadline.seconds, TAKES)
        self.phases.must_stop_within(10, "its master ended")
        self.assertEqual(self.deadline.seconds, TAKES)
