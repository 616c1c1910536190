"""One HTTP/1.1 connection: what it is doing, how it announces its end, how it closes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    ISystemHandle,
)
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.http_headers import Headers
from zope.interface import implementer

from .connections import WAITING, Connections, Phase
from .report import Cut

if TYPE_CHECKING:
    from .site import Site


@implementer(IHalfCloseableProtocol)
class Channel(HTTPChannel):
    """Twisted's HTTP channel, with a phase, an announced end and a staged close.

    A drain never closes a connection under a request: the last answer says
    ``Connection: close`` (RFC 9112 section 9.6), and only then, or when nothing was
    begun, the connection is closed, in stages: our FIN, then reading and discarding
    until the client closes too. A close with unread bytes would be a reset, which can
    destroy the answer on its way.
    """

    transport: Any
    factory: Site
    site: Site
    persistent: bool

    phase = Phase.SILENT
    since = 0.0
    _begun = 0.0
    _request_line: bytes | None = None
    _pipelined = False
    _client_finished = False
    _flushed = False
    _close_timer: IDelayedCall | None = None

    @property
    def _connections(self) -> Connections:
        return self.factory.connections

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._connections.clock.seconds()

    # What Twisted's transport and its HTTPChannel tell us

    def connectionMade(self) -> None:
        """A client connected."""
        super().connectionMade()
        self._enter(Phase.SILENT)
        self._connections.add(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        self._cancel_close_timer()
        super().connectionLost(reason)
        self._connections.remove(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes arrived."""
        if self.phase is Phase.CLOSING:
            return  # after an announced close nothing is processed (RFC 9112 section 9.6)
        waiting = self.phase
        if waiting in WAITING:
            self._begin_request()
        super().dataReceived(data)
        # One chunk can hold the end of a request and the begin of the next, or only
        # the empty line that some clients send after a body.
        if self.phase is Phase.IDLE and self._has_unparsed():
            self._begin_request()
        elif (
            self.phase is Phase.READING
            and waiting in WAITING
            and self._request_line is None
            and not self._has_unparsed()
        ):
            self._enter(waiting)

    def lineReceived(self, line: bytes) -> object:
        """A line of a head arrived; returns true to stop the parsing of what follows."""
        if self.phase is Phase.CLOSING:
            return True
        if line and self.phase in WAITING:
            self._begin_request()
        if line and self._request_line is None:
            self._request_line = line
        return super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes of a body, or of the requests after the one that is being answered."""
        if self.phase is Phase.CLOSING:
            return
        if self.phase is Phase.ANSWERING:
            self._pipelined = True
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """A request is complete."""
        self._enter(Phase.ANSWERING)
        super().allContentReceived()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """An answer begins: the last one of the connection says so."""
        last = self._client_finished or (self._connections.draining and not self._has_unread())
        if last and code != b"101":  # after 101 the connection lives on in another protocol
            self.persistent = False
            headers.setRawHeaders(b"Connection", [b"close"])
        super().writeHeaders(version, code, reason, headers)

    def requestDone(self, request: Request) -> None:
        """An answer is complete, and handed to the transport."""
        self._connections.answered += 1
        self._pipelined = False
        if self.phase is not Phase.CLOSING:
            self._enter(Phase.IDLE)
        super().requestDone(request)  # goes on with a pipelined request, or closes
        if self._client_finished and self.phase is Phase.IDLE:
            self.loseConnection()

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        """Twisted hands the connection to another protocol, past our `connectionLost`."""
        self._enter(Phase.UPGRADED)
        super()._protocolUpgradeForWebsockets(protocol)
        lost = self.connectionLost

        def connection_lost(reason: Failure) -> None:
            lost(reason)
            Channel._upgraded_connection_lost(self)

        self.connectionLost = connection_lost  # type: ignore[method-assign]

    def _upgraded_connection_lost(self) -> None:
        self._cancel_close_timer()
        self._connections.remove(self)

    # What was begun

    def _begin_request(self) -> None:
        self._enter(Phase.READING)
        self._begun = self.since
        self._request_line = None

    def _has_unparsed(self) -> bool:
        """Whether the line parser holds bytes of a next request."""
        rest = self.clearLineBuffer()
        if rest:
            LineReceiver.dataReceived(self, rest)
        return bool(rest)

    def _has_unread(self) -> bool:
        """Whether a further request has been begun: here, or in the kernel's queue."""
        return self._pipelined or self._has_unparsed() or _readable(self.transport)

    def _cut(self) -> Cut | None:
        """The request that an end of the connection now would cut."""
        if self.phase in WAITING or (self.phase is Phase.CLOSING and self._flushed):
            return None
        words = (self._request_line or b"- -").split(b" ")
        method, target = words[0], words[1] if len(words) > 1 else b"-"
        return Cut(
            method=_printable(method),
            path=_printable(target.partition(b"?")[0]),
            age=self._connections.clock.seconds() - self._begun,
            doing=self.phase.value,
        )

    # Closing

    def loseConnection(self) -> None:
        """Close in stages: what is written, then our FIN, then the client's.

        How long the client may take is bounded by ``linger_timeout``.
        """
        if self.phase is Phase.CLOSING:
            return
        self._enter(Phase.CLOSING)
        self.setTimeout(None)
        transport: Any = self.transport
        half_closeable: bool = IHalfCloseableDescriptor.providedBy(transport)
        if not half_closeable:
            super().loseConnection()
            return
        # As long as a producer is registered the transport waits for more to send.
        transport.unregisterProducer()
        transport.loseWriteConnection()
        if not self._client_finished:
            transport.resumeProducing()

    def timeoutConnection(self) -> None:
        """The client was silent for too long."""
        self._close_within(self.abortTimeout)
        self.loseConnection()

    def end(self) -> Cut | None:
        """End the connection at once.

        Returns:
            The request that this cut; None if nothing was under way.
        """
        cut = self._cut()
        self._cancel_close_timer()
        if cut is not None:
            # A reset, so that no client takes half an answer for a whole one.
            self.transport.abortConnection()
        else:
            if not self._flushed:
                self._close_within(self._connections.settings.linger_timeout)
            self.phase = Phase.CLOSING
            self.transport.loseConnection()
        return cut

    def writeConnectionLost(self) -> None:
        """All that was written is sent, and our FIN too; now it is the client's turn."""
        self._flushed = True
        if self._client_finished:
            self.end()
            return
        self._close_within(self._connections.settings.linger_timeout)

    def readConnectionLost(self) -> None:
        """The client closed its sending side; it may still wait for its answer."""
        self._client_finished = True
        if self.phase is Phase.ANSWERING:
            return  # RFC 9112 section 9.5: a half-closed client gets its answer
        if self.phase is Phase.CLOSING and not self._flushed:
            return  # writeConnectionLost ends it
        self.transport.loseConnection()

    def _close_within(self, seconds: float) -> None:
        self._cancel_close_timer()
        self._close_timer = self._connections.clock.callLater(seconds, self.end)

    def _cancel_close_timer(self) -> None:
        timer, self._close_timer = self._close_timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _readable(transport: object) -> bool:
    """Whether the kernel holds bytes of this connection that nobody has read yet."""
    if not ISystemHandle.providedBy(transport):
        return False
    handle = cast(socket.socket, transport.getHandle())
    try:
        return bool(handle.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:  # nothing there, or the connection is gone
        return False


def _printable(text: bytes) -> str:
    """Bytes of a client as text that cannot break a log line."""
    return text.decode("ascii", "backslashreplace").encode("unicode_escape").decode("ascii")
