"""The names of the events of an upgrade, a rolling restart and a stop.

Generations and pools report these events, a server records and sends them as JSON (the value of
``event``), and ``gracefulctl`` puts them into words. It starts quickly, so this module imports
nothing else.
"""

from __future__ import annotations

from enum import Enum


class EventName(str, Enum):
    """What has happened; the value is what JSON has."""

    def __str__(self) -> str:
        return self.value

    def __format__(self, format_spec: str) -> str:  # otherwise it depends on Python's version
        return format(self.value, format_spec)

    # In an upgrade, and, where it says so, in a rolling restart (the event has `rolling_restart`)
    QUEUED = "queued"  # another one is in progress, and this one follows it; both
    STARTED = "started"  # the successor's process runs
    LOADING = "loading"  # the successor has sent its first report
    WARM_UP = "warm-up"  # it requests this of its own application
    READY = "ready"  # it serves, and the predecessor drains
    DRAINING = "draining"  # what the drain has left, each second; in a stop, too
    DRAINED = "drained"  # the predecessor stands by until the end of the probation
    REPLACING = "replacing"  # so many workers have been replaced; rolling restart only
    DONE = "done"  # the predecessor exits, or all workers have been replaced; both
    FAILED = "failed"  # the old code serves; both

    # In a stop
    STOPPING = "stopping"
    STOPPED = "stopped"

    # The number of workers was changed
    RESIZED = "resized"

    # Of gracefulctl itself
    SIGNALLED = "signalled"  # a signal was sent
    EARLIER = "earlier"  # an event of the upgrade or rolling restart before its own


NOTED = frozenset(
    {
        EventName.STARTED,
        EventName.LOADING,
        EventName.WARM_UP,
        EventName.READY,
        EventName.DRAINED,
        EventName.REPLACING,
        EventName.FAILED,
    }
)
"""The events by which an upgrade or a rolling restart is described afterwards."""
