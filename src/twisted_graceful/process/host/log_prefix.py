"""Prefixes log lines with their process, where several processes write to one log.

The prefix is put into the events by an observer that runs before twistd's: that one could only be
replaced as a whole, with its log file and rotation."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.logger import ILogObserver, LogEvent, LogPublisher, globalLogPublisher
from zope.interface import implementer

from ... import twisted_internals


def prefix(generation: int, worker: int) -> str:
    """The prefix of each log line of a process.

    Args:
        generation: its number.
        worker: its number, 1 or more; 0 for a process that is not a worker.

    Returns:
        ``gen 2``, or ``gen 2 worker 3``.
    """
    return f"gen {generation} worker {worker}" if worker else f"gen {generation}"


@implementer(ILogObserver)
@dataclass(frozen=True)
class Prefix:
    """An observer that puts a text before the system of each event, and writes nothing itself.

    It changes the event, as Twisted's own observers for the older log do; so it must come before
    those that write, which see it then whoever they are: twistd's file, twist's, ``--logger``,
    those of the application and of a script. JSON logs have it in ``log_system``.

    Args:
        text: what is put there.
    """

    text: str

    def __call__(self, event: LogEvent) -> None:
        """Something was logged."""
        system = event.get("log_system")
        if system is None:
            level = event.get("log_level")
            name = "-" if level is None else level.name
            system = f"{event.get('log_namespace', '-')}#{name}"
        # What is logged before twistd opens its log passes here twice: Twisted replays it.
        if not system.startswith(f"{self.text} "):
            event["log_system"] = f"{self.text} {system}"


def prefix_lines(text: str, publisher: LogPublisher = globalLogPublisher) -> None:
    """Put a text before the system of each event from now on, once; all observers see it."""
    twisted_internals.observe_first(Prefix(text), publisher)
