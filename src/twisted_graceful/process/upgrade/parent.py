"""The process that started this one, as its child sees it: a predecessor, or a master."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.protocols import amp
from twisted.python.failure import Failure

from ...handover_interface import Recipient
from ...reactors import IServerReactor
from ..listeners.listener import Listener
from .control_channel import HEARD_TIMEOUT, ControlChannel, Handlers, open_channel
from .handover_protocol import ConnectionReceiver, ConnectionSender
from .messages import REASON_LIMIT, Failed, NotNow, Ready, Stopping
from .predecessor_deadline import PredecessorDeadline


class Parent:
    """The parent process, at the other end of the inherited control channel.

    Args:
        reactor: reads the channel.
        control: the descriptor of our end of the channel; it is closed with it.
        recipient: takes up the connections that the parent hands over.
        handlers: what to call for the commands that the parent sends, but those of a handover.
        ended: called when the parent has ended.
        stacks: the descriptor of its `FaultFile`; negative if there is none.

    Attributes:
        carrier: hands connections over to the parent.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        control: int,
        recipient: Recipient,
        handlers: Handlers,
        ended: Callable[[], None],
        stacks: int = -1,
    ) -> None:
        self._reactor = reactor
        self._ended = ended
        self._receiver = ConnectionReceiver(recipient)
        self._channel = ControlChannel({**handlers, **self._receiver.handlers}, self._channel_lost)
        self.carrier = ConnectionSender(reactor, self._channel)
        with socket.socket(fileno=control) as end:
            self._deadline = PredecessorDeadline(reactor, end, stacks)
            open_channel(reactor, end, self._channel)

    def ready(self, listeners: Iterable[Listener]) -> Deferred[bool]:
        """Say that this process can serve, and wait until it may.

        Args:
            listeners: those that it serves; a predecessor closes its others.

        Returns:
            A Deferred that fires with True when the predecessor has stopped accepting, or has
            ended; with False if it does not wait for this process any more.
        """

        def failed(failure: Failure) -> bool:
            # A process that has ended does not accept.
            return failure.check(NotNow, amp.RemoteAmpError) is None

        served = [inode for each in listeners for inode in each.inodes]
        answer: Deferred[object] = self._channel.callRemote(Ready, listeners=served)
        return answer.addCallbacks(lambda _: True, failed)

    def fail(self, reason: str) -> Deferred[None]:
        """Say why this process will never be ready.

        Returns:
            A Deferred that fires when the parent knows, or has ended.
        """
        return self._channel.ask(Failed, reason=reason[-REASON_LIMIT:])

    def stopping(self) -> Deferred[bool]:
        """Say that this process was told to stop, and take up no more connections.

        Returns:
            A Deferred that fires with True when the parent knows, or has ended; connections that
            were on their way have arrived before. With False if it does not answer for a while.
        """
        self._receiver.stop()
        answer = self._channel.ask(Stopping).addCallback(lambda _: True)
        return answer.addTimeout(HEARD_TIMEOUT, self._reactor, lambda *_: False)

    def tell(self, command: type[amp.Command], **arguments: object) -> None:
        """Send a command without waiting for its answer."""
        self._channel.tell(command, **arguments)

    def ask_briefly(self, command: type[amp.Command], **arguments: object) -> Deferred[None]:
        """Send a command.

        Returns:
            A Deferred that fires when it is answered, or never will be, and soon in any case.
        """
        return self._channel.ask_briefly(self._reactor, command, **arguments)

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

    def kill(self) -> None:
        """Kill it now. May be called in a thread."""
        self._deadline.kill()

    def _channel_lost(self, reason: Failure) -> None:
        self._receiver.lost()
        self._deadline.predecessor_ended()
        self._ended()
