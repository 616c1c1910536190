"""The machine of upgrades: its table, and that no upgrade that was asked for is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.amp import Command

from twisted_graceful.process.upgrade import generation
from twisted_graceful.process.upgrade.generation_machine import (
    TABLE,
    GenerationInput,
    GenerationState,
)
from twisted_graceful.process.upgrade.inheritance import Inheritance
from twisted_graceful.process.upgrade.launch import Launch
from twisted_graceful.process.upgrade.messages import Upgrade

from ..case import SynchronousTestCase
from .support import examples

PROBATION = 10
ON_PROBATION = (GenerationState.HANDING_OVER, GenerationState.STANDING_BY)


class TableTests(SynchronousTestCase):
    """What the table promises to users."""

    def test_signals_are_legal_at_any_time(self) -> None:
        """An upgrade and a stop, which come from outside, have a place in every state."""
        for state in GenerationState:
            with self.subTest(state=state):
                self.assertLessEqual(
                    {GenerationInput.UPGRADE, GenerationInput.STOP}, set(TABLE[state])
                )

    def test_a_stop_is_final(self) -> None:
        """From the stop on no input leads anywhere else."""
        for state in GenerationState:
            with self.subTest(state=state):
                self.assertIs(TABLE[state][GenerationInput.STOP].state, GenerationState.STOPPING)
        self.assertEqual(
            {t.state for t in TABLE[GenerationState.STOPPING].values()}, {GenerationState.STOPPING}
        )


class _World:
    """All that is around one real `Generation`: the workload, its children, its predecessor."""

    generation: generation.Generation
    idle = False  # whether a drain is over at once
    pid = 2  # of the child

    def __init__(self, *, predecessor: bool) -> None:
        self.loading = True
        self.predecessor = predecessor
        self.child = ""  # or "loading", "ready", "ending"
        self.owed = False  # an upgrade was asked for after the last child was started
        self.passed_on = False
        self.did: list[str] = []
        self.drains: list[Deferred[None]] = []
        self.clock = Clock()
        self.said_goodbye = False
        self.limits: list[tuple[float, str] | None] = []

    def possible(self) -> list[str]:
        """What can happen next, apart from a stop."""
        return [
            "upgrade",
            *["loaded"] * self.loading,
            *["predecessor_ended"] * self.predecessor,
            *["child_ready"] * (self.child == "loading"),
            *["child_stopping", "child_ended"] * bool(self.child),
            *["child_upgrade"] * (self.child == "ready"),
            *["drained"] * bool(self.drains),
            *["probation_over"] * bool(self.clock.getDelayedCalls()),
        ]

    def happen(self, event: str) -> None:
        """Let it happen, as the reactor would."""
        if event == "drained":
            self.drains.pop(0).callback(None)
            return
        if event == "probation_over":
            self.clock.advance(PROBATION)
            return
        if event == "child_upgrade":
            self.owed = self.passed_on = True
        elif event == "upgrade":
            self.owed = self.generation.state is not GenerationState.STOPPING
        elif event == "loaded":
            self.loading = False
        elif event == "predecessor_ended":
            self.predecessor = False
        elif event == "child_ready":
            self.child = "ready"
        elif event == "child_ended":
            self.child = ""
        arguments = ("it fell", "") if event == "child_ended" else ()
        getattr(self.generation, event)(*arguments)

    # A child

    def start(self, *_: Any, memory: Any = None, patience: float = 0) -> int:
        assert not self.child, "two successors at once"
        self.child, self.owed, self.passed_on = "loading", False, False
        return 1

    def end(self, reason: str) -> None:
        self.child = "ending"

    def release(self) -> Deferred[None]:
        self.said_goodbye = True
        return succeed(None)

    def tell(self, command: type[Command]) -> None:
        assert command is Upgrade
        assert self.child == "ready", "passed on to nobody"
        self.passed_on = True

    # The workload

    def listeners(self) -> list[Any]:
        return []

    carrier: Any = None
    removed_listeners: Any = ()

    def require_inheritable(self) -> None:
        pass

    def close_unused(self) -> None:
        pass

    def hand_over(self, carrier: object, removed: object) -> Deferred[None]:
        self.did.append("hand over")
        if self.idle:
            return succeed(None)
        self.drains.append(Deferred())
        return self.drains[-1]

    def own_listeners(self) -> None:
        pass

    def logs_moved(self) -> None:
        pass

    def accept(self) -> None:
        self.did.append("accept")

    def leave(self) -> None:
        self.did.append("leave")

    def cut(self) -> None:
        pass


class _Predecessor:
    """The predecessor of the process."""

    def __init__(self, world: _World) -> None:
        self._world = world

    def ready(self, listeners: object) -> Deferred[bool]:
        return succeed(True)

    def tell(self, command: type[Command]) -> None:
        pass

    def stopping(self) -> Deferred[None]:
        return succeed(None)

    def must_end_within(self, seconds: float, since: str) -> None:
        self._world.limits.append((seconds, since))

    def need_not_end(self) -> None:
        self._world.limits.append(None)


class UpgradeTests(SynchronousTestCase):
    """Whatever happens, and in whatever order."""

    def world(
        self, *, predecessor: bool = False, probation: float = PROBATION, patience: float = 33
    ) -> _World:
        """A process, alone in its world."""
        world = _World(predecessor=predecessor)
        self.patch(generation, "release", lambda *_: None)
        self.patch(generation, "Child", lambda *_: world)
        self.patch(generation, "Parent", lambda *_: _Predecessor(world))
        world.generation = generation.Generation(
            world.clock,
            world,
            inheritance=Inheritance(1, 3, 4, 5, patience=patience) if predecessor else None,
            ends_within=lambda: 44,
            launch=Launch("python", (), "/", {}),
            upgrade_timeout=60,
            probation=probation,
        )
        return world

    @examples
    @given(st.booleans(), st.data())
    def test_no_upgrade_is_lost(self, predecessor: bool, data: st.DataObject) -> None:
        """After any course of events, whoever serves has started or passed on each upgrade."""
        world = self.world(predecessor=predecessor)
        for _ in range(data.draw(st.integers(0, 20))):
            world.idle = data.draw(st.booleans())
            world.happen(data.draw(st.sampled_from(world.possible())))
            self.check_at_rest(world)
        if data.draw(st.booleans()):
            world.happen("stop")
            while len(events := world.possible()) > 1:
                world.happen(data.draw(st.sampled_from(events[1:])))
            self.assertIs(world.generation.state, GenerationState.STOPPING)

    def ready(self, *events: str, **arguments: Any) -> _World:
        """A process whose successor has just become ready, and what happens to it then."""
        world = self.world(**arguments)
        for event in ("loaded", "upgrade", "child_ready", *events):
            world.happen(event)
        return world

    def check_at_rest(self, world: _World) -> None:
        """What holds whenever nothing is going on."""
        if world.generation.state is GenerationState.SERVING:
            self.assertFalse(world.owed, "an upgrade was forgotten")
        elif world.owed and world.generation.state in (
            GenerationState.DRAINING,
            GenerationState.STOPPING,
        ):
            self.assertTrue(world.passed_on, "an upgrade was not passed on")
        if world.generation.state in ON_PROBATION:
            self.assertFalse(world.owed, "an upgrade waits for a probation")
        elif world.generation.state is not GenerationState.DRAINING:
            self.assertEqual(world.clock.getDelayedCalls(), [], "a probation was forgotten")

    def test_an_upgrade_in_the_last_moment_is_passed_on(self) -> None:
        """One that reaches a process which has handed over, and ends, goes to the successor."""
        world = self.world()
        for event in ("loaded", "upgrade", "child_ready", "drained", "probation_over"):
            world.happen(event)
        self.assertIs(world.generation.state, GenerationState.STOPPING)
        world.happen("upgrade")
        self.assertTrue(world.passed_on)

    def test_an_upgrade_that_was_passed_on_survives_the_successor(self) -> None:
        """If the successor dies before it did the upgrade it was passed, this process does it."""
        world = self.world()
        for event in ("loaded", "upgrade", "child_ready", "upgrade", "child_ended"):
            world.happen(event)
        self.assertIs(world.generation.state, GenerationState.UPGRADING)

    def test_it_stands_by_when_it_has_drained(self) -> None:
        """Until the probation is over, a process that has drained neither accepts nor leaves."""
        world = self.ready("drained")
        world.clock.advance(PROBATION - 0.1)
        self.assertIs(world.generation.state, GenerationState.STANDING_BY)
        self.assertEqual(world.did, ["accept", "hand over"])
        world.clock.advance(0.1)
        self.assertIs(world.generation.state, GenerationState.STOPPING)
        self.assertEqual(world.did, ["accept", "hand over", "leave"])

    def test_it_drains_on_when_the_probation_is_over(self) -> None:
        """A drain that takes longer than the probation ends in its own time."""
        world = self.ready("probation_over")
        self.assertIs(world.generation.state, GenerationState.DRAINING)
        world.happen("drained")
        self.assertEqual(world.did, ["accept", "hand over", "leave"])

    def test_it_accepts_again_should_the_successor_die(self) -> None:
        """A death is survived while this process is still there, whatever it is doing."""
        for events in ((), ("drained",), ("probation_over",)):
            with self.subTest(events=events):
                world = self.ready(*events, "child_ended")
                self.assertIs(world.generation.state, GenerationState.SERVING)
                self.assertEqual(world.did, ["accept", "hand over", "accept"])
                self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_the_next_probation_is_a_whole_one(self) -> None:
        """What was left of the probation of a dead successor is not the next one's."""
        world = self.ready("drained")
        world.clock.advance(PROBATION - 1)
        for event in ("child_ended", "upgrade", "child_ready", "drained"):
            world.happen(event)
        world.clock.advance(PROBATION - 1)
        self.assertIs(world.generation.state, GenerationState.STANDING_BY)

    def test_no_probation(self) -> None:
        """With a probation of 0 a process leaves as soon as it has drained."""
        world = self.ready("drained", probation=0)
        self.assertEqual(world.did, ["accept", "hand over", "leave"])

    def test_an_upgrade_ends_the_probation(self) -> None:
        """Whoever is asked for the next upgrade, it waits for the drain and for nothing else."""
        for event in ("upgrade", "child_upgrade"):
            for events in (("drained", event), (event, "drained")):
                with self.subTest(event=event, events=events):
                    world = self.ready(*events)
                    self.assertEqual(world.did, ["accept", "hand over", "leave"])
                    self.assertEqual(world.passed_on, True)
                    self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_an_upgrade_that_waits_allows_no_probation(self) -> None:
        """One that was asked for while the successor loaded begins as soon as this one drained."""
        world = self.world()
        for event in ("loaded", "upgrade", "upgrade", "child_ready", "drained"):
            world.happen(event)
        self.assertEqual(world.did, ["accept", "hand over", "leave"])

    def test_goodbye_comes_after_the_drain(self) -> None:
        """A process that is stopped while it hands over says goodbye once it has drained."""
        world = self.ready("stop")
        self.assertFalse(world.said_goodbye)
        self.successResultOf(world.generation.stopped({}))
        self.assertTrue(world.said_goodbye)

    def test_the_predecessor_has_its_time(self) -> None:
        """A predecessor must end in the time that it has named; an older one in ours."""
        for patience, seconds in ((33, 33), (0, 44)):
            with self.subTest(patience=patience, seconds=seconds):
                world = self.world(predecessor=True, patience=patience)
                world.happen("loaded")
                given = [each and each[0] for each in world.limits]
                self.assertEqual(given, [seconds, seconds])  # to answer, and then to end
                self.assertEqual(world.generation.predecessor_ends_within, seconds)
                world.happen("predecessor_ended")
                self.assertEqual(world.generation.predecessor_ends_within, 0)

    def test_the_last_line_is_true(self) -> None:
        """A process says at its end that its successor serves only if nobody stopped either."""
        for event, end in (
            ("probation_over", "generation 1 serves"),
            ("stop", "was told to stop, and ends; generation 1 had taken over"),
            ("child_stopping", "generation 1 is stopping too"),
        ):
            with self.subTest(event=event, end=end):
                world = self.ready("drained", event)
                with capturedLogs() as events:
                    world.generation.ended()
                self.assertTrue(formatEvent(events[-1]).endswith(end), (event, events))

    def test_a_stop_ends_the_probation(self) -> None:
        """A stop of either process lets this one leave."""
        for event in ("stop", "child_stopping"):
            with self.subTest(event=event):
                world = self.ready("drained", event)
                self.assertEqual(world.did, ["accept", "hand over", "leave"])
                self.assertEqual(world.clock.getDelayedCalls(), [])
