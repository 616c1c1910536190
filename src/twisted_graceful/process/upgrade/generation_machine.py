"""The state machine of a generation, from its load to its end.

* An upgrade that cannot start now is remembered, once. It starts when the process is back in
  SERVING, or is passed on to the successor. So the code that was on disk last ends up serving.
* After the handover the predecessor waits for two things, in any order: its own drain and the end
  of the probation. Until both are over, CHILD_ENDED leads back to SERVING. An upgrade that is
  requested of either process ends the probation, since there are never three generations.
* CHILD_ENDED is the death of the process, as the kernel reports it to its parent. An EOF on the
  channel is not, nor is a successor that hangs, and its exit status does not matter. CHILD_STOPPING
  alone tells a stop from a death, so a successor does not end before the predecessor has heard it.
* Every failure before CHILD_READY (exit, signal, timeout, garbage on the channel, or a message of
  the child itself) ends the child, and is the input CHILD_ENDED once the child is reaped. Nothing
  else has to be undone.
"""

from __future__ import annotations

from enum import Enum

from ..state_machine import Table, Transition


class GenerationState(Enum):
    """Where a process is in the life of its generation."""

    LOADING = "loading"  # nobody serves yet
    SUCCEEDING = "succeeding"  # loading, while the predecessor serves
    TAKING_OVER = "taking over"  # serving, while the predecessor drains
    SERVING = "serving"
    UPGRADING = "upgrading"  # serving, while a successor loads
    HANDING_OVER = "handing over"  # draining, while the successor serves on probation
    STANDING_BY = "standing by"  # drained, while the successor serves on probation
    DRAINING = "draining"  # while the successor serves, its probation is over
    STOPPING = "stopping"


class GenerationInput(Enum):
    """What can happen to it."""

    LOADED = "all servers can serve, and the predecessor, if any, has let go"
    PREDECESSOR_ENDED = "the predecessor has ended"
    UPGRADE = "an upgrade was asked for"
    CHILD_READY = "the successor can serve"
    CHILD_UPGRADE = "an upgrade was asked for of the successor"
    CHILD_STOPPING = "the successor was told to stop"
    CHILD_ENDED = "the successor has ended"
    DRAINED = "nothing that was begun here is left"
    PROBATION_OVER = "the successor has lived long enough"
    STOP = "a stop was asked for"


class GenerationOutput(Enum):
    """What it then does."""

    SERVE = "accept connections"
    SPAWN = "start the successor"
    REMEMBER = "note that another upgrade is due"
    CATCH_UP = "start the upgrade that was noted, if any"
    PASS_ON = "tell the successor that an upgrade is due, if one is noted"
    WATCH = "put the successor on probation, or not, if another one follows it"
    HAND_OVER = "stop accepting and drain"
    STAND_BY = "keep the listeners, in case the successor dies"
    RESUME = "accept again"
    END_CHILD = "end the successor"
    LEAVE = "let the process end"
    CUT = "end what is still being answered"


S, I, O = GenerationState, GenerationInput, GenerationOutput  # noqa: E741 - the table below is read, not typed

TABLE: Table[GenerationState, GenerationInput, GenerationOutput] = {
    S.LOADING: {
        I.LOADED: Transition(S.SERVING, (O.SERVE, O.CATCH_UP)),
        I.UPGRADE: Transition(S.LOADING, (O.REMEMBER,)),
        I.STOP: Transition(S.STOPPING, (O.LEAVE,)),
    },
    S.SUCCEEDING: {
        I.LOADED: Transition(S.TAKING_OVER, (O.SERVE,)),
        I.PREDECESSOR_ENDED: Transition(S.LOADING),
        I.UPGRADE: Transition(S.SUCCEEDING, (O.REMEMBER,)),
        I.STOP: Transition(S.STOPPING, (O.LEAVE,)),
    },
    S.TAKING_OVER: {
        I.PREDECESSOR_ENDED: Transition(S.SERVING, (O.CATCH_UP,)),
        I.UPGRADE: Transition(S.TAKING_OVER, (O.REMEMBER,)),
        I.STOP: Transition(S.STOPPING, (O.LEAVE,)),
    },
    S.SERVING: {
        I.UPGRADE: Transition(S.UPGRADING, (O.SPAWN,)),
        I.STOP: Transition(S.STOPPING, (O.LEAVE,)),
    },
    S.UPGRADING: {
        I.UPGRADE: Transition(S.UPGRADING, (O.REMEMBER,)),
        # Passed on first: where nothing is open, the drain is over at once.
        I.CHILD_READY: Transition(S.HANDING_OVER, (O.PASS_ON, O.WATCH, O.HAND_OVER)),
        I.CHILD_UPGRADE: Transition(S.UPGRADING),
        I.CHILD_STOPPING: Transition(S.UPGRADING),
        I.CHILD_ENDED: Transition(S.SERVING, (O.CATCH_UP,)),
        I.STOP: Transition(S.STOPPING, (O.END_CHILD, O.LEAVE)),
    },
    S.HANDING_OVER: {
        I.UPGRADE: Transition(S.DRAINING, (O.REMEMBER, O.PASS_ON)),
        I.CHILD_UPGRADE: Transition(S.DRAINING),
        I.CHILD_STOPPING: Transition(S.STOPPING, (O.LEAVE,)),
        I.CHILD_ENDED: Transition(S.SERVING, (O.RESUME, O.CATCH_UP)),
        I.DRAINED: Transition(S.STANDING_BY, (O.STAND_BY,)),
        I.PROBATION_OVER: Transition(S.DRAINING),
        I.STOP: Transition(S.STOPPING, (O.LEAVE,)),
    },
    S.STANDING_BY: {
        I.UPGRADE: Transition(S.STOPPING, (O.REMEMBER, O.PASS_ON, O.LEAVE)),
        I.CHILD_UPGRADE: Transition(S.STOPPING, (O.LEAVE,)),
        I.CHILD_STOPPING: Transition(S.STOPPING, (O.LEAVE,)),
        I.CHILD_ENDED: Transition(S.SERVING, (O.RESUME, O.CATCH_UP)),
        I.PROBATION_OVER: Transition(S.STOPPING, (O.LEAVE,)),
        I.STOP: Transition(S.STOPPING, (O.LEAVE,)),
    },
    S.DRAINING: {
        I.UPGRADE: Transition(S.DRAINING, (O.REMEMBER, O.PASS_ON)),
        I.CHILD_UPGRADE: Transition(S.DRAINING),
        I.CHILD_STOPPING: Transition(S.STOPPING, (O.LEAVE,)),
        I.CHILD_ENDED: Transition(S.SERVING, (O.RESUME, O.CATCH_UP)),
        I.DRAINED: Transition(S.STOPPING, (O.LEAVE,)),
        I.PROBATION_OVER: Transition(S.DRAINING),
        I.STOP: Transition(S.STOPPING, (O.LEAVE,)),
    },
    S.STOPPING: {
        I.LOADED: Transition(S.STOPPING),
        I.PREDECESSOR_ENDED: Transition(S.STOPPING),
        I.UPGRADE: Transition(S.STOPPING),
        I.CHILD_UPGRADE: Transition(S.STOPPING),
        I.CHILD_STOPPING: Transition(S.STOPPING),
        I.CHILD_ENDED: Transition(S.STOPPING),
        I.DRAINED: Transition(S.STOPPING),
        I.STOP: Transition(S.STOPPING, (O.CUT,)),
    },
}

ACCEPTING = (GenerationState.TAKING_OVER, GenerationState.SERVING, GenerationState.UPGRADING)
"""The states in which connections are accepted."""
