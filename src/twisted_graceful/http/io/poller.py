"""Waits for all connections of a server behind one descriptor of the reactor.

A reactor calls each ready descriptor in a log context of its own, through several layers, and
knows nothing of the others. An epoll instance is a descriptor too (epoll(7)): so the reactor
waits for one, and the connections that are ready are served in one tight loop, at whose end
everything that they have written is sent. Any reactor that can wait for a descriptor will do.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...reactors import IServerReactor
from .transport import Flusher, GatheringServer
from .transport_factory import TransportFactory

BATCH = 256
"""Connections that are served before the reactor looks after everything else again."""

_HAS_EPOLL = hasattr(select, "epoll")
_IN = getattr(select, "EPOLLIN", 1)
_OUT = getattr(select, "EPOLLOUT", 4)


def transport_for(reactor: IServerReactor) -> tuple[TransportFactory, Poller | None]:
    """What makes the transports of a server's ports, and what waits for them.

    Args:
        reactor: what the ports listen with.

    Returns:
        The factory, and the poller, which is the caller's to close; None where there is no
        epoll: there each connection is one of the reactor's own descriptors.
    """
    flusher = Flusher(reactor)
    poller = Poller(reactor, flusher) if _HAS_EPOLL else None
    return TransportFactory(flusher, poller), poller


@implementer(IReadDescriptor)
class Poller:
    """The reactor of the transports: waits for them with one epoll instance.

    It has a descriptor from `open` to `close`.

    Args:
        reactor: waits for this.
        flusher: sends, at the end of a batch, what was written in it.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet, flusher: Flusher) -> None:
        self._reactor = reactor
        self._flusher = flusher
        self._epoll: select.epoll | None = None
        self._transports: dict[int, GatheringServer] = {}
        self._waiting: dict[GatheringServer, tuple[int, int]] = {}
        """For each transport the descriptor, as it was, and the events that it waits for."""

    def open(self) -> None:
        """Begin to wait.

        Raises:
            OSError: the system has no descriptor left.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)

    def close(self) -> None:
        """Wait for nothing more; connections that are still open are left to the caller."""
        epoll, self._epoll = self._epoll, None
        if epoll is not None:
            self._reactor.removeReader(self)
            epoll.close()
            self._transports.clear()
            self._waiting.clear()

    # What transports ask of their reactor

    def addReader(self, transport: GatheringServer) -> None:
        """Tell the transport when something has arrived."""
        self._wait(transport, _IN, 0)

    def addWriter(self, transport: GatheringServer) -> None:
        """Tell the transport when the kernel takes more."""
        self._wait(transport, _OUT, 0)

    def removeReader(self, transport: GatheringServer) -> None:
        """Stop waiting until it is readable."""
        self._wait(transport, 0, _IN)

    def removeWriter(self, transport: GatheringServer) -> None:
        """Stop waiting until it is writable."""
        self._wait(transport, 0, _OUT)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)  # `callLater`, say

    def _wait(self, transport: GatheringServer, more: int, less: int) -> None:
        descriptor, before = self._waiting.get(transport, (-1, 0))
        after = (before | more) & ~less
        if after == before or self._epoll is None:
            return
        if not before:
            descriptor = transport.fileno()
            if descriptor < 0:
                return  # it has ended
            self._epoll.register(descriptor, after)
            self._transports[descriptor] = transport
        elif self._transports.get(descriptor) is not transport:
            # Its socket was closed behind our back, and the descriptor is already another's.
            del self._waiting[transport]
            return
        elif after:
            self._epoll.modify(descriptor, after)
        else:
            del self._waiting[transport], self._transports[descriptor]
            with suppress(OSError):  # closed behind our back, so the kernel has forgotten it
                self._epoll.unregister(descriptor)
            return
        self._waiting[transport] = descriptor, after

    # What the reactor asks of its descriptors

    def fileno(self) -> int:
        """The descriptor that is ready when a connection is."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def logPrefix(self) -> str:
        """What is being served, in logs of the older kind."""
        return "HTTP"

    def doRead(self) -> None:
        """Serve the connections that are ready, and send what they have written."""
        if self._epoll is None:
            return
        transports = self._transports
        self._flusher.hold()
        try:
            for descriptor, event in self._epoll.poll(0, BATCH):
                # An earlier one of the batch may have ended it.
                if (transport := transports.get(descriptor)) is None:
                    continue
                if event != _IN:
                    self._serve(transport, descriptor, event)
                    continue
                try:
                    ended = transport.doRead()
                except BaseException as error:  # as a reactor does: it can stop no other
                    self._log.failure("Serving a connection failed: it is closed")
                    ended = error
                if ended is not None:
                    self._end(transport, ended, reading=True)
        finally:
            self._flusher.flush()

    def _serve(self, transport: GatheringServer, descriptor: int, event: int) -> None:
        ended: BaseException | None = None
        reading = False
        try:
            if event & _IN:
                reading = True
                ended = transport.doRead()
            elif event & ~_OUT:  # a hang-up or an error, and nothing left to read
                reading = bool(self._waiting[transport][1] & _IN)
                ended = CONNECTION_DONE if reading else CONNECTION_LOST
            # What was read may have ended it.
            still_there = self._transports.get(descriptor) is transport
            if event & _OUT and ended is None and still_there:
                reading = False
                ended = transport.doWrite()
        except BaseException as error:  # as a reactor does: no descriptor can stop it, or another
            self._log.failure("Serving a connection failed: it is closed")
            ended = error
        if ended is not None:
            self._end(transport, ended, reading)

    def _end(self, transport: GatheringServer, why: BaseException, reading: bool = False) -> None:
        try:
            self.removeReader(transport)
            if reading and isinstance(why, ConnectionDone):
                transport.readConnectionLost(Failure(why))
            else:
                self.removeWriter(transport)
                transport.connectionLost(Failure(why))
        except BaseException:  # or the reactor would end this poller, and all connections with it
            self._log.failure("Closing a connection failed")

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped: every connection ends."""
        for transport in list(self._waiting):
            self._end(transport, reason.value or CONNECTION_LOST)
        self.close()
