"""The parts of a process: its workload serves connections, its lifecycle begins and ends it.

A `GracefulService` has one of each. A role is a combination: a single process is a `Generation`
that serves itself, a master is a `Generation` with a pool of workers, and a worker is a `Worker`
that serves itself. Another role is another class that has one of these interfaces.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..handover_interface import Carrier, Recipient
from .listeners.listener import Listener


class Workload(Recipient, Protocol):
    """What accepts and serves connections: servers in this process, or workers below it."""

    def accept(self) -> None:
        """Accept connections, for the first time or again.

        Raises:
            OSError: the system refuses; it can be asked again.
        """

    def hand_over(self, carrier: Carrier, removed: Collection[Listener]) -> Deferred[Any]:
        """Stop accepting, hand over the connections that can move, and drain the others.

        Args:
            carrier: brings connections to the successor.
            removed: the listeners that the successor does not serve.

        Returns:
            A Deferred that fires when no connection is left.
        """

    def logs_moved(self) -> None:
        """Reopen the log files, which have been moved."""

    def cut(self) -> None:
        """Cut the requests in flight, now or as soon as the drain begins."""


class ManagedProcess(Workload, Protocol):
    """A process as its lifecycle sees it: its workload, its listeners and its end."""

    @property
    def connected(self) -> int:
        """How many connections are open."""

    def listeners(self) -> Sequence[Listener]:
        """The listeners, which a successor or a worker inherits."""

    def require_inheritable(self) -> None:
        """Make sure that a successor can listen wherever this process does.

        Raises:
            UpgradeRefused: it cannot; the text says where, and what to do.
        """

    def close_unused(self) -> None:
        """Close the inherited listeners that are not served here; the predecessor keeps them."""

    def own_listeners(self) -> None:
        """Take responsibility for the listeners: no other generation has them any more."""

    def skip_shutdown_delay(self) -> None:
        """Stop accepting as soon as a stop begins: another process may need the addresses."""

    def leave(self) -> None:
        """Stop the service, which drains, and let the process end."""


class Lifecycle(Protocol):
    """How a process begins, is replaced and ends, as its service sees it.

    The service calls `begin`, then `loaded` or `failed`. In a stop it calls `service_stops`, waits
    for `connections_arrived`, drains, waits for `stopped`, and calls `drained` and `ended`.

    Attributes:
        number: of the generation.
        role: what a process with this lifecycle is called, such as ``worker 3``; may be empty.
        is_asked_to_stop: whether `stop` was called; called again, it cuts.
        streams: the descriptors of the standard output and standard error that children inherit.
    """

    number: int
    role: str
    is_asked_to_stop: bool
    streams: tuple[int, int]

    @property
    def state(self) -> Enum:
        """Where this process is in its life."""

    @property
    def is_stopping(self) -> bool:
        """Whether the process stops, or has not begun."""

    @property
    def allows_rolling_restart(self) -> bool:
        """Whether workers may be replaced: not during an upgrade, and not in a stop."""

    @property
    def predecessor_resumes(self) -> bool:
        """Whether the predecessor would accept again if this process ended now."""

    @property
    def predecessor_ends_within(self) -> float:
        """Seconds that the predecessor may take to end; 0 if there is none, or for any time."""

    def begin(self) -> None:
        """The service loads what it serves."""
        return

    def loaded(self) -> None:
        """The service can serve."""

    def failed(self, reason: str) -> Deferred[None]:
        """The service cannot serve; fires when the process that waits for it knows."""

    def upgrade(self) -> None:
        """Replace this process by one that runs the code on disk."""

    def retire(self, reason: str) -> None:
        """Have this process replaced, which has served enough or grown too large."""

    def report(self) -> Deferred[None]:
        """Send the numbers of this process to the processes that want them.

        Returns:
            A Deferred that fires when they have them, have ended, or do not answer for a while.
        """

    def rolling_restart_progress(self, progress: Any) -> None:
        """A rolling restart of the workers has made progress."""
        return

    def send_logs_moved(self) -> None:
        """Tell the other processes that the log files have been moved."""

    def stop(self) -> None:
        """Shut down gracefully; called again: immediately."""

    def service_stops(self) -> None:
        """The service has begun to stop, for whatever reason."""

    def connections_arrived(self) -> Deferred[None]:
        """A Deferred that fires when no connection is on its way to this process any more."""

    def stopped(self, report: Mapping[str, object]) -> Deferred[None]:
        """The workload has drained.

        Args:
            report: what the drain did.

        Returns:
            A Deferred that fires when no other process needs this one any more.
        """

    def drained(self, report: str, cut: int, clean: bool) -> None:
        """The services beside the servers have stopped too.

        Args:
            report: what the drain did, in words.
            cut: how many requests it cut.
            clean: whether every process has reported its drain.
        """

    def ended(self) -> None:
        """The service has stopped."""
        return

    def process_continues(self) -> None:
        """The process goes on without the service."""
        return

    def killed(self) -> None:
        """The process is about to be killed, because something still held it. Runs in a thread."""
        return

    def remove_pid_file(self) -> None:
        """Remove the pid file, unless it belongs to another process."""
        return
