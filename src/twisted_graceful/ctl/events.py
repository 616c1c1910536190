"""The events of an upgrade, a reload or a stop, as the server sends them, and their texts.

An event is a JSON object whose other fields depend on ``event``. Fields that only a newer server
sends are shown as they are, and fields that an older server does not send are not required.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

from ..event_names import EventName
from ..json_object import JsonObject
from .outcome import CtlError, Exit

Event: TypeAlias = JsonObject


_SENTENCES: Mapping[str, str] = {
    EventName.SIGNALLED: "process {pid} was sent {signal}",
    EventName.QUEUED: "another upgrade is under way; this one follows it",
    EventName.EARLIER: "of the upgrade before this one: {of}",
    EventName.STARTED: "generation {generation} starts (pid {pid})",
    EventName.LOADING: "the new process loads",
    EventName.WARM_UP: "warm-up: {request}",
    EventName.READY: "the new code serves (pid {pid})",
    EventName.DRAINING: (
        "{handed_over} connections moved, {connections} left, {in_flight} requests left"
    ),
    EventName.DRAINED: "the old process has nothing left, and waits for the end of the probation",
    EventName.DONE: "the upgrade is over: the new code serves alone (pid {pid})",
    EventName.FAILED: "the upgrade failed: {reason}",
    EventName.RESIZED: "there shall be {workers} workers",
    EventName.STOPPING: "process {pid} is stopping",
    EventName.STOPPED: "stopped: {report}",
}

_ROLLING_SENTENCES: Mapping[str, str] = {
    EventName.QUEUED: "the workers are being replaced; this reload follows that",
    EventName.EARLIER: "of the reload before this one: {of}",
    EventName.REPLACING: "{replaced} of {wanted} workers have the new code",
    EventName.DONE: "the reload is over: all {wanted} workers have the new code",
    EventName.FAILED: (
        "the workers are not replaced: {reason}; {replaced} of {wanted} have the new code"
    ),
}
"""Of the replacement of all workers."""


def name_of(event: Event) -> str:
    """The name of an event."""
    return str(event.get("event", ""))


def is_rolling_restart(event: Event) -> bool:
    """Whether it tells of the replacement of all workers, and not of the process."""
    return "rolling_restart" in event


def sentence(event: Event) -> str:
    """An event in words."""
    sentences = _ROLLING_SENTENCES if is_rolling_restart(event) else _SENTENCES
    try:
        template = sentences[name_of(event)]
        is_explained = event.get("cut") or event.get("held")
        if name_of(event) == EventName.STOPPED and event.get("clean") is False and not is_explained:
            template += "; some processes did not report whether they cut a request"
        if event.get("probation"):
            template += "; the old workers stay for the probation of {probation:g} s"
        return printable(template.format_map(event))
    except (KeyError, ValueError, TypeError):  # of another version
        facts = (f"{key} {value}" for key, value in event.items() if key not in _NO_FACTS)
        return printable(", ".join([name_of(event), *facts]))


_NO_FACTS = ("event", "time", "output")


def output_of(event: Event) -> str:
    """What the new process itself wrote, if the event has that."""
    return printable(str(event.get("output") or "").rstrip())


def printable(text: str, spaces: str = "\n\t") -> str:
    """A text that cannot steer a terminal, whoever has written it.

    Args:
        text: from the other end.
        spaces: the control characters that it may have.
    """
    return "".join(each if each.isprintable() or each in spaces else "?" for each in text)


def decode(line: bytes) -> Event:
    """The event of a line.

    Raises:
        CtlError: it is none.
    """
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise CtlError(Exit.NOT_SUPPORTED, f"the server said what is no event: {line[:200]!r}")
    return event


class ControlledServer(Protocol):
    """A server that gracefulctl has found, by its admin address or its pid file."""

    def status(self) -> JsonObject:
        """How it is.

        Raises:
            CtlError: nobody says.
        """

    def pid(self) -> int:
        """The process that serves.

        Raises:
            CtlError: nobody says.
        """

    def upgrade(self) -> Iterator[Event]:
        """Have it upgrade. The last event is ``done`` or ``failed``; ``ready`` comes before.

        Raises:
            CtlError: it does not, or nobody says how it goes on.
        """

    def reload(self) -> Iterator[Event]:
        """Have it do what HUP does: replace its workers, or else itself.

        The last event is ``done`` or ``failed``, or ``ready`` comes before, as in an upgrade.

        Raises:
            CtlError: it does not, or nobody says how it goes on.
        """

    def stop(self) -> Iterator[Event]:
        """Have it stop. The last event is ``stopped``.

        Raises:
            CtlError: it does not, or nobody says how it goes on.
        """

    def workers(self, count: int) -> Iterator[Event]:
        """Have it serve with so many worker processes; the last event may be ``failed``.

        Raises:
            CtlError: it does not.
        """

    def last_upgrade(self) -> Iterator[Event]:
        """What happened in its last upgrade.

        Raises:
            CtlError: nobody says.
        """
