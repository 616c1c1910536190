"""The messages of the control channel, as AMP commands.

A receiver has a table from command to handler (`control_channel.Handlers`).
"""

from __future__ import annotations

from typing import Any

from twisted.protocols import amp

from ..listeners.listener import inode

REASON_LIMIT = 4096
"""Characters of a reason; an AMP value holds 65,535 bytes at most."""

NO_DESCRIPTOR = -1
"""Stands for a descriptor that this process had no room for."""


class NotNow(Exception):
    """The parent does not wait for this child any more."""


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


# Between every parent and child


class Ready(amp.Command):
    """Child to parent: I can serve, on these listeners. The answer is the permission to accept.

    Before it answers, a predecessor stops accepting and closes the listeners that are not named. A
    master answers when the worker may serve, which may be later. The listeners are inodes. A child
    that names none, such as an older version, serves all.
    """

    arguments = [(b"listeners", amp.ListOf(amp.Integer(), optional=True))]
    errors = {NotNow: b"NOT_NOW"}


class Failed(amp.Command):
    """Child to parent: I will never be ready, and this is why."""

    arguments = [(b"reason", amp.Unicode(optional=True))]


class Stopping(amp.Command):
    """Child to parent: I was told to stop; do not take my exit for a failure."""


class LogsMoved(amp.Command):
    """Either way: the log files have been moved away; reopen them."""


class Offer(amp.Command):
    """Either way: take these connections. The receiver keeps those that its answer does not
    refuse, and does not touch them before the grant."""

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
    """Either way: the answer to the offer came in time; the connections not refused are yours."""

    arguments = [(b"batch", amp.Integer())]
    requiresAnswer = False


class Revoke(amp.Command):
    """Either way: the offer is withdrawn; close what you keep of it."""

    arguments = [(b"batch", amp.Integer())]
    requiresAnswer = False


# Between two generations


class Upgrade(amp.Command):
    """Either way: I was asked to upgrade; the one of us that serves in the end is to do it."""


class Goodbye(amp.Command):
    """Parent to child: you serve, and I am about to exit. The answer says that all was heard."""


class Report(amp.Command):
    """Either way: what I have counted and am doing; opaque to what carries it. The answer says
    that it was heard."""

    arguments = [(b"report", amp.Unicode())]


# Between a master and a worker


class Drain(amp.Command):
    """Master to worker: stop accepting, hand over what can move, and answer when nothing is left.
    Then stand by.

    The inodes in `gone` are of listeners that nobody serves any more: close them.
    """

    arguments = [(b"gone", amp.ListOf(amp.Integer(), optional=True))]


class Resume(amp.Command):
    """Master to worker: accept again; the drain is given up."""


class Leave(amp.Command):
    """Master to worker: drain, and exit."""


class CutShort(amp.Command):
    """Master to worker: exit immediately, and cut the requests in flight."""


class Drained(amp.Command):
    """Worker to master: I exit, and this is what my drain did; opaque to what carries it."""

    arguments = [(b"report", amp.Unicode())]


class Alive(amp.Command):
    """Worker to master: my reactor runs. This is my state, as `Status` encodes it, and more if
    somebody watches."""

    arguments = [(b"status", amp.Unicode())]
    requiresAnswer = False


class Retire(amp.Command):
    """Worker to master: replace me by another worker, for this reason."""

    arguments = [(b"reason", amp.Unicode())]
