"""A state machine that runs on a table of transitions and outputs.

The tables are drawn in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

S = TypeVar("S", bound=Enum)
I = TypeVar("I", bound=Enum)  # noqa: E741 - state, input, output
O = TypeVar("O", bound=Enum)  # noqa: E741


@dataclass(frozen=True)
class Transition(Generic[S, O]):
    """Where an input leads, and what is done on the way."""

    state: S
    outputs: tuple[O, ...] = ()


Table = Mapping[S, Mapping[I, Transition[S, O]]]


class IllegalInput(Exception):
    """An input came in a state that has no entry for it; nothing has changed."""


class StateMachine(Generic[S, I, O]):
    """A state that moves along a table.

    The state has moved before the outputs run, so that an output may send the next input. Outputs
    must not raise.

    Args:
        table: for each state the inputs that it has, and where they lead.
        state: the first one.
        outputs: what to call for each output.
    """

    def __init__(
        self, table: Table[S, I, O], state: S, outputs: Mapping[O, Callable[[], None]]
    ) -> None:
        self.state = state
        self._table = table
        self._outputs = outputs

    def send(self, event: I) -> None:
        """Let something happen.

        Raises:
            IllegalInput: it cannot happen in this state.
        """
        transition = self._table[self.state].get(event)
        if transition is None:
            raise IllegalInput(f"{event.name} while {self.state.value}")
        self.state = transition.state
        for output in transition.outputs:
            self._outputs[output]()
