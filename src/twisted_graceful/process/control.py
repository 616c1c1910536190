"""The control channel between a process and the successor it started.

An AF_UNIX socketpair that both ends inherit, so there is no path and no permission
to get wrong. It speaks AMP. Its EOF is how either side learns of the other's end.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from .. import private

REASON_LIMIT = 4096
"""Characters of a reason; an AMP value holds 65,535 bytes at most."""

HEARD_TIMEOUT = 2.0
"""Seconds that the other end has to answer our last word; it has nothing else to do."""


class NotNow(Exception):
    """The parent does not wait for this child any more."""


class Ready(amp.Command):
    """Child to parent: I can serve. The answer is the permission to accept."""

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


class Peer(Protocol):
    """What the owner of one end of a channel is told."""

    def received(self, command: type[amp.Command], **arguments: Any) -> None:
        """The other end sent a command.

        Raises:
            NotNow: it is refused; the other end is told so.
        """

    def channel_lost(self, reason: Failure) -> None:
        """The other end closed, ended, or sent what is no message."""


class Channel(amp.BinaryBoxProtocol, amp.BoxDispatcher, amp.CommandLocator):
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

    def dispatchCommand(self, box: Any) -> Deferred[Any]:
        """Do what a command says; what goes wrong is an answer, if one is waited for."""

        def failed(failure: Failure) -> Failure | None:
            if failure.check(amp.RemoteAmpError) is None:  # what AMP does not foresee
                self._log.failure("The message {box} failed", failure, box=dict(box))
                failure = Failure(amp.RemoteAmpError(b"FAILED", failure.getErrorMessage()))
            return failure if amp.ASK in box else None

        dispatched: Deferred[Any] = super().dispatchCommand(box)
        return dispatched.addErrback(failed)

    def _received(self, command: type[amp.Command], **arguments: Any) -> dict[str, object]:
        self._peer.received(command, **arguments)
        return {}

    @Ready.responder
    def _ready(self) -> dict[str, object]:
        return self._received(Ready)

    @Failed.responder
    def _failed(self, reason: str | None) -> dict[str, object]:
        return self._received(Failed, reason=reason or "it does not say why")

    @Stopping.responder
    def _stopping(self) -> dict[str, object]:
        return self._received(Stopping)

    @Upgrade.responder
    def _upgrade(self) -> dict[str, object]:
        return self._received(Upgrade)

    @LogsMoved.responder
    def _logs_moved(self) -> dict[str, object]:
        return self._received(LogsMoved)

    @Goodbye.responder
    def _goodbye(self) -> dict[str, object]:
        return self._received(Goodbye)

    def tell(self, command: type[amp.Command], **arguments: Any) -> None:
        """Send a command and do not wait; if the other end is gone, it need not know."""
        self.callRemote(command, **arguments).addErrback(lambda _: None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The channel is gone."""
        super().connectionLost(reason)
        self.transport = None
        self._peer.channel_lost(reason)


def open_channel(reactor: IReactorSocket, end: socket.socket, channel: Channel) -> None:
    """Connect a channel to its socket.

    Args:
        end: stays the caller's. As long as the caller keeps it open, the other side does
            not see EOF: it hears of this process's end only when it really has ended.
    """

    class OneChannel(Factory):
        noisy = False

        def buildProtocol(self, addr: IAddress | None) -> Channel:
            return channel

    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, OneChannel())  # type: ignore[arg-type]
    private.close_without_shutdown(channel.transport)
