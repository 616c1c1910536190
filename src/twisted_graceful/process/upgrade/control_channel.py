"""The control channel between a process and a child that it started: a successor, or a worker.

It is a socketpair, so no path or permission can be wrong, and it speaks AMP. A child learns from
its EOF that the parent has ended. So that this is exact, the parent keeps a descriptor of its end
outside the reactor, which closes its own when it stops, some time before the process ends. "At most
two generations" depends on that. A process id is never used as an identity: ids are reused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IReactorSocket, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from ... import twisted_internals
from ..host.forks import keep_from_children
from ..listeners.listener import inode
from .messages import NO_DESCRIPTOR

HEARD_TIMEOUT = 2.0
"""Seconds that the other end has to answer our last word; it has nothing else to do."""

Values: TypeAlias = dict[str, Any]
"""The arguments of a command, or its answer, by name."""

Answer: TypeAlias = Values | Deferred[Values] | None
"""The answer to a command: its values, now or later; None if it has no values."""

Handlers: TypeAlias = Mapping[type[amp.Command], Callable[..., Answer]]
"""What to call for each command that one end of a channel receives, with its arguments by name.

A handler that raises an exception from the command's `errors` refuses it: the sender gets that
exception. Any other exception is a fault.
"""


@implementer(amp.IResponderLocator)
class ControlChannel(amp.BinaryBoxProtocol, amp.BoxDispatcher):
    """One end of a control channel: what `amp.AMP` is, without its log lines.

    The two ends may be of different versions. A command without a handler is answered as unknown,
    an unknown argument is ignored, and a fault in a handler is logged and answered as an error. In
    each of these cases AMP would close the channel, which the other end would take for a death.

    Args:
        handlers: what to call for each command that arrives.
        lost: called when the other end has closed the channel, has ended, or sent bytes that are
            not a message.
    """

    _log = Logger()

    def __init__(self, handlers: Handlers, lost: Callable[[Failure], object]) -> None:
        amp.BoxDispatcher.__init__(self, self)
        amp.BinaryBoxProtocol.__init__(self, self)
        self._handlers = {each.commandName: (each, call) for each, call in handlers.items()}
        self._lost = lost
        self._arrived: dict[int, int] = {}

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """A message arrived; not if the one before it has ended the reactor, and this channel."""
        if self.transport is not None:
            super().ampBoxReceived(box)

    def locateResponder(self, name: bytes) -> Callable[[amp.AmpBox], Deferred[amp.AmpBox]] | None:
        """What answers a message with a message; None for a command without a handler."""
        if name not in self._handlers:
            return None
        command, handler = self._handlers[name]

        def respond(box: amp.AmpBox) -> Deferred[amp.AmpBox]:
            answer = maybeDeferred(handler, **command.parseArguments(box, self))
            return answer.addCallback(
                lambda values: command.makeResponse({} if values is None else values, self)
            ).addErrback(refused)

        def refused(failure: Failure) -> Failure:
            code = command.errors[failure.trap(*command.errors)]
            return Failure(amp.RemoteAmpError(code, failure.getErrorMessage()))

        return respond

    def dispatchCommand(self, box: amp.AmpBox) -> Deferred[object]:
        """Handle a command; an error is its answer, if one is waited for."""

        def failed(failure: Failure) -> Failure | None:
            if failure.check(amp.RemoteAmpError) is None:  # a fault, which AMP does not expect
                self._log.failure("The message {box} failed", failure, box=dict(box))
                failure = Failure(amp.RemoteAmpError(b"FAILED", failure.getErrorMessage()))
            return failure if amp.ASK in box else None

        dispatched: Deferred[object] = super().dispatchCommand(box)
        return dispatched.addErrback(failed)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor arrived, some time before its message."""
        os.set_inheritable(descriptor, False)
        self._arrived[inode(descriptor)] = descriptor

    def claim(self, number: int) -> int:
        """Take the socket with an inode, if it has arrived; `NO_DESCRIPTOR` if it has not."""
        return self._arrived.pop(number, NO_DESCRIPTOR)

    def ask(self, command: type[amp.Command], **arguments: object) -> Deferred[None]:
        """Send a command.

        Returns:
            A Deferred that fires when it is answered, or never will be.
        """
        if self.transport is None:
            return succeed(None)
        answer: Deferred[object] = self.callRemote(command, **arguments)
        return answer.addBoth(lambda _: None)

    def ask_briefly(
        self, clock: IReactorTime, command: type[amp.Command], **arguments: object
    ) -> Deferred[None]:
        """Send a command, and wait for its answer no longer than `HEARD_TIMEOUT`.

        Returns:
            A Deferred that fires when it is answered, or the time is over.
        """
        return self.ask(command, **arguments).addTimeout(HEARD_TIMEOUT, clock)

    def tell(self, command: type[amp.Command], **arguments: object) -> None:
        """Send a command without waiting for its answer, or for an error."""
        answer = self.callRemote(command, **arguments)
        if answer is not None:
            answer.addErrback(lambda _: None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The channel has ended."""
        super().connectionLost(reason)
        self.transport = None
        for descriptor in self._arrived.values():  # of messages that have not arrived completely
            os.close(descriptor)
        self._arrived.clear()
        self._lost(reason)


def open_channel(reactor: IReactorSocket, end: socket.socket, channel: ControlChannel) -> None:
    """Connect a channel to its socket.

    Args:
        end: stays the caller's. As long as the caller keeps it open, the other side does not see
            EOF: it learns of this process's end only when it really has ended.
    """

    class OneChannel(Factory):
        noisy = False

        def buildProtocol(self, addr: IAddress | None) -> ControlChannel:
            return channel

    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, OneChannel())  # type: ignore[arg-type]
    twisted_internals.close_without_shutdown(channel.transport)
    keep_from_children(channel.transport)
