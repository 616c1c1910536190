"""The state machines of a process, a worker slot and a rolling restart: what all tables promise."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from twisted_graceful.process.state_machine import IllegalInput, StateMachine
from twisted_graceful.process.upgrade import generation_machine
from twisted_graceful.process.workers import rolling_restart, worker_slot

from ..case import SynchronousTestCase


class Rules(NamedTuple):
    """A table, its first states, and all inputs and outputs."""

    table: Any
    first: set[Any]
    inputs: type[Enum]
    outputs: type[Enum]


TABLES = {
    "generation": Rules(
        generation_machine.TABLE,
        {generation_machine.S.LOADING, generation_machine.S.SUCCEEDING},
        generation_machine.I,
        generation_machine.O,
    ),
    "slot": Rules(worker_slot.TABLE, {worker_slot.S.EMPTY}, worker_slot.I, worker_slot.O),
    "rolling restart": Rules(
        rolling_restart.TABLE, {rolling_restart.S.PAUSED}, rolling_restart.I, rolling_restart.O
    ),
}
ROWS = [
    (rules, state, event)
    for rules in TABLES.values()
    for state in rules.table
    for event in rules.inputs
]


def machine_in(rules: Rules, state: Any) -> tuple[StateMachine[Any, Any, Any], list[Any]]:
    """A machine, and the list of outputs that it runs, each with the state it ran in."""
    ran: list[Any] = []
    outputs = {each: lambda each=each: ran.append((each, machine.state)) for each in rules.outputs}
    machine = StateMachine[Any, Any, Any](rules.table, state, outputs)
    return machine, ran


class TableTests(SynchronousTestCase):
    """The tables, entry by entry."""

    def test_an_illegal_input_changes_nothing(self) -> None:
        """An input without an entry raises, runs no output and leaves the state."""
        for rules, state, event in ROWS:
            if event not in rules.table[state]:
                with self.subTest(state=state, event=event):
                    machine, ran = machine_in(rules, state)
                    error = self.assertRaises(IllegalInput, machine.send, event)
                    self.assertEqual((machine.state, ran), (state, []))
                    self.assertEqual(str(error), f"{event.name} while {state.value}")

    def test_a_legal_input_moves_and_then_acts(self) -> None:
        """Each entry runs its outputs in order, when the state has moved already."""
        for rules, state, event in ROWS:
            if event in rules.table[state]:
                with self.subTest(state=state, event=event):
                    transition = rules.table[state][event]
                    machine, ran = machine_in(rules, state)
                    machine.send(event)
                    self.assertEqual(machine.state, transition.state)
                    self.assertEqual(ran, [(each, transition.state) for each in transition.outputs])

    def test_an_output_may_send_the_next_input(self) -> None:
        """An output that sends an input finds the machine in its new state."""
        S, I, O = generation_machine.S, generation_machine.I, generation_machine.O  # noqa: E741
        ran: list[Any] = []
        outputs = {each: lambda each=each: ran.append(each) for each in O}
        outputs[O.CATCH_UP] = lambda: machine.send(I.UPGRADE)
        machine = StateMachine(generation_machine.TABLE, S.LOADING, outputs)
        machine.send(I.LOADED)
        self.assertEqual(machine.state, S.UPGRADING)
        self.assertEqual(ran, [O.SERVE, O.SPAWN])

    def test_every_state_is_reached(self) -> None:
        """Every state has a row, and can be reached from the first ones."""
        for name, rules in TABLES.items():
            with self.subTest(name):
                reached, new = set(rules.first), set(rules.first)
                while new:
                    new = {t.state for state in new for t in rules.table[state].values()} - reached
                    reached |= new
                self.assertEqual(reached, set(rules.table))
                self.assertEqual(reached, set(type(next(iter(reached)))))

    def test_nothing_is_there_in_vain(self) -> None:
        """Every input has an entry somewhere, and every output is run by some entry."""
        for name, rules in TABLES.items():
            with self.subTest(name):
                rows = rules.table.values()
                self.assertEqual({event for row in rows for event in row}, set(rules.inputs))
                outputs = {each for row in rows for t in row.values() for each in t.outputs}
                self.assertEqual(outputs, set(rules.outputs))
