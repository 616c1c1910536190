"""The lifecycle of a process before its service starts."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed

from ..host.twistd_files import TwistdFiles
from ..interfaces import Lifecycle
from .generation_machine import GenerationState


class NotStarted(Lifecycle):
    """The lifecycle of a service that has not been started: nothing happens to it.

    Args:
        files: with the pid file, which is there before the service starts.
    """

    number = 0
    role = ""
    is_asked_to_stop = False
    streams = (1, 2)
    state = GenerationState.LOADING
    is_stopping = True
    allows_rolling_restart = True
    predecessor_resumes = False
    predecessor_ends_within = 0.0

    def __init__(self, files: TwistdFiles) -> None:
        self._files = files

    def _nothing(self, *_: object, **__: object) -> None:
        pass

    loaded = upgrade = retire = send_logs_moved = stop = service_stops = drained = _nothing

    def failed(self, reason: str) -> Deferred[None]:
        """Nothing waits for this process."""
        return succeed(None)

    def report(self) -> Deferred[None]:
        """Nothing wants its numbers."""
        return succeed(None)

    def connections_arrived(self) -> Deferred[None]:
        """No connection is on its way."""
        return succeed(None)

    def stopped(self, report: Mapping[str, object]) -> Deferred[None]:
        """No other process needs this one."""
        return succeed(None)

    def remove_pid_file(self) -> None:
        """Remove the pid file, if there is one."""
        if self._files.pid_file is not None:
            self._files.pid_file.remove()
