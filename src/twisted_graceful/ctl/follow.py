"""Picks the events of the requested upgrade or reload from all that the server reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..event_names import EventName
from .events import Event, is_rolling_restart, name_of
from .outcome import CtlError, Exit


class _RequestedUpgrade:
    """What the server has reported since an upgrade or a reload was requested.

    Args:
        is_rolling: whether a rolling restart was requested; None if the server decides that, and
            its first event shows it.

    Attributes:
        is_rolling: whether it is one.
        signalled: the pid of the process that a signal was sent to.
        started: the pid of the successor that was started.
        successor: the pid of the process that serves the new code.
        is_queued: whether another one was in progress, so that the request follows it.
        has_begun: whether it is the requested one that the server reports on.
        is_over: whether that has ended.
    """

    def __init__(self, is_rolling: bool | None) -> None:
        self.is_rolling = is_rolling
        self.signalled: int | None = None
        self.started: int | None = None
        self.successor: int | None = None
        self.is_queued = self.has_begun = self.is_over = False

    def take(self, event: Event) -> Event | None:
        """Note an event of the server.

        Returns:
            What to show of it; None if it belongs to something else.
        """
        name = name_of(event)
        if name == EventName.SIGNALLED:
            self.signalled = event.get("pid")
            return event
        if self.is_rolling is None:
            self.is_rolling = is_rolling_restart(event)
        if is_rolling_restart(event) != self.is_rolling:
            if name != EventName.READY:
                return None
            # A new master serves, and its workers have the new code.
            self.successor = event.get("pid")
            return event
        if name == EventName.STARTED:
            self.started = event.get("pid")
        self.is_queued = (
            self.is_queued or name == EventName.QUEUED or bool(event.get("another_follows"))
        )
        self.has_begun = self.has_begun or self._begins(event)
        if not self.has_begun and name in (EventName.READY, EventName.DONE, EventName.FAILED):
            # The code of that one was read before the request.
            return {**event, "event": EventName.EARLIER, "of": name}
        if name == EventName.READY:
            self.successor = event.get("pid")
        self.is_over = name in (EventName.DONE, EventName.FAILED)
        return event

    def _begins(self, event: Event) -> bool:
        name = name_of(event)
        if name == EventName.FAILED:  # even to start it, if nothing was in progress
            return not self.is_queued
        return name == EventName.STARTED or (
            name == EventName.REPLACING and not event.get("replaced")
        )

    def has_started(self, pid: int) -> bool:
        """Whether a process that serves is the successor, as far as the server has reported."""
        is_another = self.signalled is not None and pid != self.signalled
        return pid == self.started or (is_another and not self.is_rolling)


def follow(
    ask: Callable[[], Iterator[Event]],
    serving: Callable[[], int],
    where: str,
    is_rolling: bool | None = False,
) -> Iterator[Event]:
    """Request an upgrade or a reload, and yield what becomes of it.

    If another upgrade is in progress, the server reports on that first, and the requested one may
    become its successor's: so that is asked, too.

    Args:
        ask: sends the request to the process that serves, and yields what happens there from then
            on.
        serving: returns the pid of the process that serves.
        where: how the server was found, for the error.
        is_rolling: whether a rolling restart is requested; None if the server decides that.

    Raises:
        CtlError: it is not known how the upgrade ended.
    """
    while True:
        request = _RequestedUpgrade(is_rolling)
        for event in ask():
            shown = request.take(event)
            if shown is not None:
                yield shown
            if request.is_over:
                return
        if request.has_begun or not request.is_queued:
            break
    # The process that was asked has ended: what counts is whether its successor serves.
    pid = serving()
    if request.successor is None and not request.is_queued and request.has_started(pid):
        # It was killed while the successor loaded, or before it reported more.
        request.successor = request.started
        yield {"event": EventName.READY, "pid": pid}
    if request.successor is None or pid != request.successor:
        raise CtlError(
            Exit.UNKNOWN,
            f"{where} has said nothing more before the upgrade was over; process {pid} serves",
        )
    yield {"event": EventName.DONE, "pid": pid}
