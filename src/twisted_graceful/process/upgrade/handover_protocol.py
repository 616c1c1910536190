"""Hands live connections over to another process, through the control channel.

A connection is served by one process at a time, whichever of them dies or hangs in between::

    sender                               receiver
    reads from it no more
      --- Offer, with a descriptor --->
                                         keeps that, and does not touch the connection
      <-- answer: which are refused ---
    takes back those
      --- Grant ---------------------->
    closes its own descriptor            serves it

Until its grant the connection is the sender's, who can take it back at any time (`Revoke`): not a
byte of it was read elsewhere. When the channel ends, the receiver closes what was not granted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...handover_interface import Departure, HandedConnection, Recipient
from ...timer import Timer
from .control_channel import ControlChannel, Handlers, Values
from .messages import NO_DESCRIPTOR, Grant, Offer, Revoke

VERSION = 1
"""Of an offer and of what follows it; a receiver that knows another refuses."""

BATCH = 32
"""Connections in an offer."""

WINDOW = 4 * BATCH
"""Connections that are on their way at a time. The kernel limits the descriptors that a user has in
flight to RLIMIT_NOFILE (unix(7), ETOOMANYREFS), and nobody serves a connection meanwhile."""

BATCH_BYTES = 49152
"""Bytes that an offer carries beside its descriptors; AMP's limit is 65,535 with all names."""

TIMEOUT = 5.0
"""Seconds for the answer to an offer. A receiver needs next to none; one that hangs must not keep
clients waiting for longer. After that nothing more is offered."""


class ConnectionSender:
    """Hands connections to the process at the other end of a channel.

    Args:
        clock: keeps the time.
        channel: to the receiver.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, channel: ControlChannel) -> None:
        self._clock = clock
        self._channel = channel
        self._offered: dict[int, Sequence[Departure]] = {}
        self._last = 0
        self._failed = False
        self._callers: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether connections can be sent."""
        return not self._failed and self._channel.transport is not None

    @property
    def room(self) -> int:
        """How many more connections may be on their way now."""
        if not self.is_open:
            return 0
        return max(0, WINDOW - sum(map(len, self._offered.values())))

    def call_when_room(self, call: Callable[[], None]) -> None:
        """Call this, and whatever else was given here, each time that there is room again."""
        self._callers.append(call)

    def send(self, departures: list[Departure]) -> None:
        """Offer connections; each is released if the receiver takes it, else taken back."""
        batch: list[Departure] = []
        weight = 0
        for each in departures:
            more = len(each.handed.unread) + len(each.handed.facts)
            if more > BATCH_BYTES or not _is_text(each.handed.listener):
                each.take_back()
                continue
            if len(batch) == BATCH or weight + more > BATCH_BYTES:
                self._offer(batch)
                batch, weight = [], 0
            batch.append(each)
            weight += more
        self._offer(batch)

    def _offer(self, departures: Sequence[Departure]) -> None:
        # Duplicates: a full channel may send them later, when those of a connection that was taken
        # back are closed, and their numbers belong to other files.
        descriptors: list[int] = []
        try:
            if self.is_open:
                for each in departures:
                    descriptors.append(os.dup(each.handed.descriptor))
        except OSError:  # there are none left, just now
            pass
        for each in departures[len(descriptors) :]:
            each.take_back()
        if not descriptors:
            return
        self._last += 1
        number = self._last
        self._offered[number] = departures[: len(descriptors)]
        timer = Timer(self._clock)
        timer.start(TIMEOUT, self._late, number)

        def sent(result: Any) -> Any:
            timer.cancel()
            for descriptor in descriptors:
                os.close(descriptor)
            return result

        answer: Deferred[Values] = self._channel.callRemote(
            Offer,
            version=VERSION,
            batch=number,
            connections=[
                {
                    "descriptor": descriptor,
                    "listener": each.handed.listener,
                    "facts": each.handed.facts,
                    "unread": each.handed.unread,
                }
                for descriptor, each in zip(descriptors, departures, strict=False)
            ],
        )
        answer.addBoth(sent).addCallbacks(
            lambda result: self._answered(number, set(result["refused"])),
            lambda failure: self._give_up(number, failure.getErrorMessage()),
        )

    def _answered(self, number: int, refused: set[int]) -> None:
        departures = self._offered.pop(number, ())  # none, if it was given up meanwhile
        if departures:
            # First, since this process may end when the last one is released.
            self._channel.tell(Grant, batch=number)
        for index, each in enumerate(departures):
            if index in refused:
                each.take_back()
            else:
                each.release()
        if self.is_open and departures:
            for call in self._callers:
                call()

    def _late(self, number: int) -> None:
        self._channel.tell(Revoke, batch=number)
        self._give_up(number, f"the other process is silent for {TIMEOUT:g} seconds")

    def _give_up(self, number: int, reason: str) -> None:
        if not self._failed:
            self._failed = True
            self._log.warn(
                "Connections cannot be handed over any more: {reason}. Those that are left "
                "stay with this process",
                reason=reason,
            )
        for each in self._offered.pop(number, ()):
            each.take_back()


class ConnectionReceiver:
    """Keeps the connections that are offered, and passes those that are granted to a recipient.

    Args:
        recipient: serves them.

    Attributes:
        handlers: what the channel has to call for the messages of a handover.
    """

    _log = Logger()

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient
        self._held: dict[int, list[HandedConnection]] = {}
        self._stops = False
        self.handlers: Handlers = {
            Offer: self._offered,
            Grant: self._granted,
            Revoke: self._revoked,
        }

    def stop(self) -> None:
        """Refuse what is offered from now on; what is held may still be granted."""
        self._stops = True

    def _offered(self, version: int, batch: int, connections: Sequence[Values]) -> Values:
        """Keep the connections; close those that are refused, and answer with their indices."""
        refused = []
        held = self._held[batch] = []
        for index, each in enumerate(connections):
            handed = HandedConnection(**each)
            if version == VERSION and self._wants(handed):
                held.append(handed)
            else:
                refused.append(index)
                _close(handed)
        return {"refused": refused}

    def _wants(self, handed: HandedConnection) -> bool:
        # This process stops, or has as many descriptors as it may have.
        if self._stops or handed.descriptor == NO_DESCRIPTOR:
            return False
        try:
            return self._recipient.can_take_up(handed)
        except Exception:
            self._log.failure("Nobody can tell whether a connection would be served")
            return False

    def _granted(self, batch: int) -> None:
        for handed in self._held.pop(batch, ()):
            try:
                self._recipient.take_up(handed)
            except Exception:
                self._log.failure("A connection that was handed over is lost")

    def _revoked(self, batch: int) -> None:
        for handed in self._held.pop(batch, ()):
            _close(handed)

    def lost(self) -> None:
        """The channel has ended, and nothing more will be granted."""
        for batch in list(self._held):
            self._revoked(batch)


def _is_text(name: str) -> bool:
    """Whether a message can have it; a path need not be (os.fsdecode)."""
    return name.encode(errors="ignore").decode() == name


def _close(handed: HandedConnection) -> None:
    if handed.descriptor != NO_DESCRIPTOR:
        os.close(handed.descriptor)
