"""The control channel between a process and a child that it started: a successor, or a worker.

An AF_UNIX socketpair that both ends inherit, so there is no path and no permission
to get wrong. It speaks AMP. Its EOF is how either side learns of the other's end.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorSocket, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from ... import twisted_internals
from ..host.forks import keep_from_children

REASON_LIMIT = 4096
"""Characters of a reason; an AMP value holds 65,535 bytes at most."""

REPORT_LIMIT = 60_000
"""Characters of a report, which are ASCII; an AMP value holds 65,535 bytes at most."""

HEARD_TIMEOUT = 2.0
"""Seconds that the other end has to answer our last word; it has nothing else to do."""


class NotNow(Exception):
    """The parent does not wait for this child any more."""


def inode(descriptor: int) -> int:
    """What tells a socket from all others, and is the same in all processes (fstat(2))."""
    return os.fstat(descriptor).st_ino


class Ready(amp.Command):
    """Child to parent: I can serve, on these listeners. The answer is the permission to accept.

    The listeners are inodes. Who does not name any, as older versions, serves on all.
    """

    arguments = [(b"listeners", amp.ListOf(amp.Integer(), optional=True))]
    errors = {NotNow: b"NOT_NOW"}


class Failed(amp.Command):
    """Child to parent: I shall never be ready, and this is why."""

    arguments = [(b"reason", amp.Unicode(optional=True))]


class Stopping(amp.Command):
    """Child to parent: I was told to stop; do not take my end for a failure."""


class Upgrade(amp.Command):
    """Either way: an upgrade was asked for of me; who of us serves in the end is to do it."""


class LogsMoved(amp.Command):
    """Either way: somebody has moved the log files away; open them anew."""


class Goodbye(amp.Command):
    """Parent to child: you serve, and I am about to end. The answer says that all was heard."""


class Drain(amp.Command):
    """Master to worker: stop accepting, hand over what can move, and answer when nothing is left.
    Then stand by.

    What is gone are the inodes of listeners on which nobody goes on: they are to be closed.
    """

    arguments = [(b"gone", amp.ListOf(amp.Integer(), optional=True))]


class Resume(amp.Command):
    """Master to worker: accept again; the drain is given up."""


class Leave(amp.Command):
    """Master to worker: drain, and end."""


class CutShort(amp.Command):
    """Master to worker: end at once, with what is still being answered."""


class Drained(amp.Command):
    """Worker to master: I end, and this is what my drain did; opaque to what carries it."""

    arguments = [(b"report", amp.Unicode())]


class Alive(amp.Command):
    """Worker to master: my reactor runs. This is how I am, as `Status` encodes it, and more if
    somebody watches."""

    arguments = [(b"status", amp.Unicode())]
    requiresAnswer = False


class Retire(amp.Command):
    """Worker to master: let another one take my place, and why."""

    arguments = [(b"reason", amp.Unicode())]


class Report(amp.Command):
    """Either way: what I have counted and am doing; opaque to what carries it. The answer says
    that it was heard."""

    arguments = [(b"report", amp.Unicode())]


NO_DESCRIPTOR = -1
"""What comes in the place of a descriptor that this process had no room for."""


class SocketDescriptor(amp.Argument):
    """A socket, sent beside the message, and known by its inode.

    `amp.Descriptor` counts descriptors. But the kernel drops those that the receiver has no room
    for (unix(7), MSG_CTRUNC), and the next would be taken for them.
    """

    def toStringProto(self, inObject: int, proto: Any) -> bytes:
        """Send a descriptor; it must stay open until the message is answered."""
        proto.transport.sendFileDescriptor(inObject)
        return b"%d" % inode(inObject)

    def fromStringProto(self, inString: bytes, proto: Any) -> int:
        """The descriptor, which is the caller's to close; `NO_DESCRIPTOR` if none came."""
        descriptor: int = proto.claim(int(inString))
        return descriptor


class Offer(amp.Command):
    """Either way: take these connections. Those that the answer does not refuse are kept, and
    not touched before the grant."""

    arguments = [
        (b"version", amp.Integer()),
        (b"batch", amp.Integer()),
        (
            b"connections",
            amp.AmpList(
                [
                    (b"descriptor", SocketDescriptor()),
                    (b"listener", amp.Unicode()),
                    (b"facts", amp.Unicode()),
                    (b"unread", amp.String()),
                ]
            ),
        ),
    ]
    response = [(b"refused", amp.ListOf(amp.Integer()))]


class Grant(amp.Command):
    """Either way: the answer to an offer has come in time; what was not refused is yours."""

    arguments = [(b"batch", amp.Integer())]
    requiresAnswer = False


class Revoke(amp.Command):
    """Either way: an offer is taken back; close what you keep of it."""

    arguments = [(b"batch", amp.Integer())]
    requiresAnswer = False


Answer = dict[str, Any] | Deferred[dict[str, Any]] | None
"""What is answered to a command."""


class Peer(Protocol):
    """What the owner of one end of a channel is told."""

    def received(self, command: type[amp.Command], **arguments: Any) -> Answer:
        """The other end sent a command.

        Returns:
            The answer; a Deferred of it, if it takes time; None if there is nothing to say.

        Raises:
            NotNow: it is refused; the other end is told so.
        """

    def channel_lost(self, reason: Failure) -> None:
        """The other end closed, ended, or sent what is no message."""


class ControlChannel(amp.BinaryBoxProtocol, amp.BoxDispatcher, amp.CommandLocator):
    """One end of a control channel: what `amp.AMP` is, without its log lines.

    The two ends may be of different versions. Commands and arguments that one of them does not
    know change nothing, and neither does a fault in what it does about them: AMP would close the
    channel, and the other end take that for a death.

    Args:
        peer: who is told what arrives.
    """

    _log = Logger()

    def __init__(self, peer: Peer) -> None:
        amp.BoxDispatcher.__init__(self, self)
        amp.BinaryBoxProtocol.__init__(self, self)
        self._peer = peer
        self._arrived: dict[int, int] = {}

    def ampBoxReceived(self, box: Any) -> None:
        """A message arrived; not if the one before it has ended the reactor, and this channel."""
        if self.transport is not None:
            super().ampBoxReceived(box)

    def dispatchCommand(self, box: Any) -> Deferred[Any]:
        """Do what a command says; what goes wrong is an answer, if one is waited for."""

        def failed(failure: Failure) -> Failure | None:
            if failure.check(amp.RemoteAmpError) is None:  # what AMP does not foresee
                self._log.failure("The message {box} failed", failure, box=dict(box))
                failure = Failure(amp.RemoteAmpError(b"FAILED", failure.getErrorMessage()))
            return failure if amp.ASK in box else None

        dispatched: Deferred[Any] = super().dispatchCommand(box)
        return dispatched.addErrback(failed)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor arrived, some time before its message."""
        os.set_inheritable(descriptor, False)
        self._arrived[inode(descriptor)] = descriptor

    def claim(self, number: int) -> int:
        """Take the socket with an inode, if it has arrived; `NO_DESCRIPTOR` if it has not."""
        return self._arrived.pop(number, NO_DESCRIPTOR)

    def _received(self, command: type[amp.Command], **arguments: Any) -> Any:
        answer = self._peer.received(command, **arguments)
        return {} if answer is None else answer

    @Ready.responder
    def _ready(self, listeners: list[int] | None) -> Any:
        return self._received(Ready, listeners=listeners)

    @Failed.responder
    def _failed(self, reason: str | None) -> Any:
        return self._received(Failed, reason=reason or "it does not say why")

    @Stopping.responder
    def _stopping(self) -> Any:
        return self._received(Stopping)

    @Upgrade.responder
    def _upgrade(self) -> Any:
        return self._received(Upgrade)

    @LogsMoved.responder
    def _logs_moved(self) -> Any:
        return self._received(LogsMoved)

    @Goodbye.responder
    def _goodbye(self) -> Any:
        return self._received(Goodbye)

    @Report.responder
    def _report(self, report: str) -> Any:
        return self._received(Report, report=report)

    @Offer.responder
    def _offer(self, **arguments: Any) -> Any:
        return self._received(Offer, **arguments)

    @Grant.responder
    def _grant(self, batch: int) -> Any:
        return self._received(Grant, batch=batch)

    @Revoke.responder
    def _revoke(self, batch: int) -> Any:
        return self._received(Revoke, batch=batch)

    @Drain.responder
    def _drain(self, gone: list[int] | None) -> Any:
        return self._received(Drain, gone=gone)

    @Resume.responder
    def _resume(self) -> Any:
        return self._received(Resume)

    @Leave.responder
    def _leave(self) -> Any:
        return self._received(Leave)

    @CutShort.responder
    def _cut_short(self) -> Any:
        return self._received(CutShort)

    @Drained.responder
    def _drained(self, report: str) -> Any:
        return self._received(Drained, report=report)

    @Alive.responder
    def _alive(self, status: str) -> Any:
        return self._received(Alive, status=status)

    @Retire.responder
    def _retire(self, reason: str) -> Any:
        return self._received(Retire, reason=reason)

    def ask(self, command: type[amp.Command], **arguments: Any) -> Deferred[None]:
        """Send a command.

        Returns:
            A Deferred that fires when it is answered, or never will be.
        """
        if self.transport is None:
            return succeed(None)
        answer: Deferred[Any] = self.callRemote(command, **arguments)
        return answer.addBoth(lambda _: None)

    def inform(
        self, clock: IReactorTime, command: type[amp.Command], **arguments: Any
    ) -> Deferred[None]:
        """Send a command to whoever has nothing else to do than to hear it.

        Returns:
            A Deferred that fires when it was heard, or never will be, and soon in any case.
        """
        return self.ask(command, **arguments).addTimeout(HEARD_TIMEOUT, clock)

    def tell(self, command: type[amp.Command], **arguments: Any) -> None:
        """Send a command and do not wait; if the other end is gone, it need not know."""
        answer = self.callRemote(command, **arguments)
        if answer is not None:
            answer.addErrback(lambda _: None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The channel is gone."""
        super().connectionLost(reason)
        self.transport = None
        for descriptor in self._arrived.values():  # whose messages have not come in whole
            os.close(descriptor)
        self._arrived.clear()
        self._peer.channel_lost(reason)


def open_channel(reactor: IReactorSocket, end: socket.socket, channel: ControlChannel) -> None:
    """Connect a channel to its socket.

    Args:
        end: stays the caller's. As long as the caller keeps it open, the other side does
            not see EOF: it hears of this process's end only when it really has ended.
    """

    class OneChannel(Factory):
        noisy = False

        def buildProtocol(self, addr: IAddress | None) -> ControlChannel:
            return channel

    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, OneChannel())  # type: ignore[arg-type]
    twisted_internals.close_without_shutdown(channel.transport)
    keep_from_children(channel.transport)
