"""The life of a place among the workers, for its diagram; a test walks the pool along it."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Who has the place."""

    LOADING = "a worker that is not ready yet"
    FILLED = "a worker that can serve"
    REPLACING = "a worker that can serve, and its successor, which loads or is on probation"
    SUCCEEDING = "nobody; a successor loads"
    WAITING = "nobody; the next one starts when its delay is over"


TABLE = {
    State.LOADING: {"ready": State.FILLED, "it ends": State.WAITING},
    State.FILLED: {
        "HUP, or it retires": State.REPLACING,
        "it ends": State.WAITING,
        "it is told to stop": State.LOADING,
    },
    State.REPLACING: {
        "the successor is ready, and proven": State.FILLED,
        "the successor ends": State.FILLED,
        "the worker ends": State.SUCCEEDING,
    },
    State.SUCCEEDING: {"ready": State.FILLED, "it ends": State.WAITING},
    State.WAITING: {"the delay is over": State.LOADING},
}
"""What happens to a place while the pool serves, and where that leads."""
