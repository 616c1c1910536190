"""The workload of a service: what is needed beyond the interface that a lifecycle needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..http.log.drain_report import DrainReport
from ..process.host.process_status import Status
from ..process.host.supervisors import ParentSupervisor
from ..process.interfaces import Lifecycle, Workload
from ..process.upgrade.upgrade_events import Watcher


class ServiceWorkload(Workload, Protocol):
    """A workload that a service starts and stops.

    Attributes:
        role: what a process with this workload is called, such as ``master``; may be empty.
        has_processes: whether it serves in processes below this one.
        is_accepting: whether clients connect to this process, and not to its predecessor or
            successor.
        signals: what the workload does on signals that are its own.
    """

    role: str
    has_processes: bool
    is_accepting: bool
    signals: Mapping[int, Callable[[], object]]

    @property
    def is_ready(self) -> bool:
        """Whether a client that connects now is served, for the time being."""

    @property
    def is_clean(self) -> bool:
        """Whether every process that served has reported its drain."""

    @property
    def can_reload(self) -> bool:
        """Whether `reload` brings new code."""

    @property
    def status(self) -> Status:
        """What it has done and does, in numbers."""

    @property
    def patience(self) -> float:
        """Seconds that its processes may take to end, beyond the deadlines of the servers."""

    def require_recyclable(self, supervisor: ParentSupervisor | None) -> None:
        """Make sure that this process is started again when it ends because of a limit.

        Args:
            supervisor: what watches this process; None if nothing does.

        Raises:
            SettingsError: there is a limit, and the supervisor may not restart the process.
        """
        return

    def load(self, lifecycle: Lifecycle, watcher: Watcher) -> Deferred[Any]:
        """Get ready to accept.

        Args:
            lifecycle: of this process.
            watcher: is told what becomes of other processes.

        Returns:
            A Deferred that fires when it is, and fails if it cannot be.
        """

    def reload(self) -> None:
        """Serve with the code on disk, in new processes below this one; see `can_reload`."""
        return

    async def stop(self, arrived: Callable[[], Deferred[None]]) -> DrainReport:
        """Stop accepting, after the shutdown delay, and drain.

        Args:
            arrived: a Deferred that fires when no connection is on its way to this process.
        """

    def kill(self) -> None:
        """Kill its processes, if it has any: this one is about to be killed. Runs in a thread."""
        return
