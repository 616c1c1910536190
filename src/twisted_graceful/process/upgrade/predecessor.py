"""The predecessor, as its successor sees it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.protocols import amp
from twisted.python.failure import Failure

from ...handover_interface import Recipient
from .control import (
    HEARD_TIMEOUT,
    REASON_LIMIT,
    Answer,
    ControlChannel,
    Failed,
    Grant,
    LogsMoved,
    NotNow,
    Offer,
    Ready,
    Report,
    Revoke,
    Stopping,
    Upgrade,
    inode,
    open_channel,
)
from .handover_protocol import ConnectionReceiver
from .predecessor_deadline import PredecessorDeadline


class PredecessorObserver(Protocol):
    """Who is told what the predecessor says."""

    def upgrade(self) -> None:
        """It passed on an upgrade."""

    def logs_moved(self) -> None:
        """It was told that the log files have been moved."""

    def predecessor_reported(self, report: str) -> None:
        """It told of itself."""

    def predecessor_gone(self) -> None:
        """It has ended."""


class Predecessor:
    """The process whose listeners we inherited.

    Args:
        reactor: reads the channel.
        control: the descriptor of our end of the channel; it is closed with it.
        observer: is told.
        recipient: takes the connections up that it hands over.
        stacks: the descriptor of its `FaultFile`; negative if there is none.
    """

    def __init__(
        self,
        reactor: Any,
        control: int,
        observer: PredecessorObserver,
        recipient: Recipient,
        stacks: int = -1,
    ) -> None:
        self._reactor = reactor
        self._observer = observer
        self._receiver = ConnectionReceiver(recipient)
        self._channel = ControlChannel(self)
        with socket.socket(fileno=control) as end:
            self._deadline = PredecessorDeadline(reactor, end, stacks)
            open_channel(reactor, end, self._channel)

    def let_go(self, listeners: Sequence[tuple[str, Sequence[socket.socket]]]) -> Deferred[bool]:
        """Say that we can serve, and wait until we may.

        Args:
            listeners: on which, with names; it closes the others.

        Returns:
            A Deferred that fires with True when the predecessor has stopped to accept, or is
            gone; with False if it does not wait for us any more.
        """

        def failed(failure: Failure) -> bool:
            # Whoever is gone does not accept.
            return failure.check(NotNow, amp.RemoteAmpError) is None

        served = [inode(each.fileno()) for _, sockets in listeners for each in sockets]
        answer: Deferred[Any] = self._channel.callRemote(Ready, listeners=served)
        return answer.addCallbacks(lambda _: True, failed)

    def must_end_within(self, seconds: float, since: str) -> None:
        """End it if it is still there after so many seconds, and log its stacks.

        Args:
            seconds: from now.
            since: what happens now, for the log.
        """
        self._deadline.within(seconds, since)

    def need_not_end(self) -> None:
        """It may live on: this process ends instead."""
        self._deadline.cancel()

    def fail(self, reason: str) -> Deferred[None]:
        """Say why we shall never be ready.

        Returns:
            A Deferred that fires when the predecessor knows, or is gone.
        """
        return self._channel.ask(Failed, reason=reason[-REASON_LIMIT:])

    def note_upgrade(self) -> None:
        """Say that an upgrade is due, should we die before we can do it."""
        self._channel.tell(Upgrade)

    def kill(self) -> None:
        """Kill it now. May be called in a thread."""
        self._deadline.kill()

    def stopping(self) -> Deferred[bool]:
        """Say that we were told to stop, and take no more connections.

        Returns:
            A Deferred that fires with True when the predecessor knows, or is gone; connections that
            were on their way have arrived before. With False if it does not answer for a while.
        """
        self._receiver.stop()
        answer = self._channel.ask(Stopping).addCallback(lambda _: True)
        return answer.addTimeout(HEARD_TIMEOUT, self._reactor, lambda *_: False)

    def tell_logs_moved(self) -> None:
        """Tell it that the log files have been moved."""
        self._channel.tell(LogsMoved)

    def report(self, report: str) -> Deferred[None]:
        """Tell it of this process.

        Returns:
            A Deferred that fires when it knows, or is gone, and soon in any case.
        """
        return self._channel.inform(self._reactor, Report, report=report)

    def received(self, command: type[amp.Command], **arguments: Any) -> Answer:
        """The predecessor sent a command."""
        if command is Upgrade:
            self._observer.upgrade()
        elif command is LogsMoved:
            self._observer.logs_moved()
        elif command is Report:
            self._observer.predecessor_reported(arguments["report"])
        elif command is Offer:
            return {"refused": self._receiver.offered(**arguments)}
        elif command is Grant:
            self._receiver.granted(**arguments)
        elif command is Revoke:
            self._receiver.revoked(**arguments)
        return None

    def channel_lost(self, reason: Failure) -> None:
        """The predecessor has ended."""
        self._receiver.lost()
        self._deadline.predecessor_ended()
        self._observer.predecessor_gone()
