"""The base of all connections: phase, deadline, slow readers, and the staged close."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config.server_settings import ServerSettings
from ..handover_interface import Departure
from .data_rate import RateWatch
from .forwarded_request import ForwardedRequest
from .interfaces import ConnectionSite, Registry, Transport
from .log.drain_report import CutRequest, Outcome, listed
from .phases import WAITING, ConnectionPhase
from .request import Request

NEVER = float("inf")

_LINGER_LIMIT = 30.0
"""Seconds after which a close waits no longer for a client that goes on sending; nginx's
lingering_time."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(Protocol, ABC):
    """A connection of a site, of any protocol.

    It has a phase and a deadline, which the registry checks for all connections. What each protocol
    does in its own way is abstract, so that a class that lacks a method fails in its first test.

    A close is staged: our FIN, then reading and discarding until the client closes too, for a
    bounded time. A close with unread bytes would send a reset, which can destroy the response on
    its way. A connection with an unfinished response is reset on purpose at the deadline, so that
    no client takes half a response for a whole one.

    Attributes:
        phase: what it is doing.
        since: when this phase began, in seconds of the registry's clock.
        deadline: when `_timed_out` is due; `NEVER` for no deadline.
        needs_check: whether to call `check` before the deadline: responses may not be delivered
            yet, or the protocol waits for something.
        client: the client's address.
        host: our address.
        request_class: what requests are made of.
    """

    transport: Any
    site: ConnectionSite
    client: IAddress
    host: IAddress

    phase = ConnectionPhase.SILENT
    since = 0.0
    deadline = NEVER
    request_class: type[Request] = Request

    _log = Logger()

    wire: Transport
    """The transport, even if an application takes it away, as some WebSockets do."""
    _reader: RateWatch | None = None
    _half_closed: RateWatch | None = None
    _stalled = False
    needs_check = False
    _reading = True
    _client_finished = False
    _flushed = False
    _aborted = False
    outcome = Outcome.CLIENT_GONE
    """How the requests ended that are unanswered when the connection is lost."""

    _connections: Registry
    _settings: ServerSettings
    _seconds: Callable[[], float]

    @property
    def factory(self) -> ConnectionSite:
        """The site; Twisted's name for it."""
        return self.site

    @factory.setter
    def factory(self, site: ConnectionSite) -> None:
        # Every request asks for these.
        self.site = site
        self._connections = site.connections
        self._settings = site.connections.settings
        self._seconds = site.connections.clock.seconds

    def isSecure(self) -> bool:
        """Whether the client's connection is encrypted, to us or to a proxy."""
        return self.wire.is_secure

    def getPeer(self) -> IAddress:
        """The client's address."""
        return self.client

    def getHost(self) -> IAddress:
        """Our address."""
        return self.host

    # What each protocol has its own way of

    @abstractmethod
    def _timed_out(self) -> None:
        """The deadline of the present phase is over; this phase is not `CLOSING`."""

    @abstractmethod
    def requests_in_flight(self) -> tuple[CutRequest, ...]:
        """The requests that an end of the connection now would cut."""

    @abstractmethod
    def _unfinished(self) -> bool:
        """Whether the client, which will send no more, waits for a response."""

    @abstractmethod
    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone: leave the registry."""

    # Twisted's transport tells us

    def connectionMade(self) -> None:
        """A client connected."""
        self.wire = transport = self.transport
        transport.setTcpNoDelay(True)
        self.client = transport.getPeer()
        self.host = transport.getHost()
        proxies = self.factory.proxies
        if proxies is not None and proxies.trusts(self.client):
            self.request_class = ForwardedRequest
        transport.registerProducer(self, True)
        self._enter(ConnectionPhase.SILENT, self._settings.read_header_timeout)
        self._connections.add(self)

    def readConnectionLost(self) -> None:
        """The client closed its sending side; it may still wait for its response."""
        self._client_finished = True
        if self._unfinished():
            # A half-closed client gets its response (RFC 9112 section 9.5); but it may be gone.
            self._half_closed = RateWatch(self._seconds(), self._delivered)
            return
        if self.phase is ConnectionPhase.CLOSING and not self._flushed:
            return  # writeConnectionLost ends it
        self.wire.loseConnection()

    def tls_record_begun(self) -> None:
        """A part of a TLS record came: as far as we can know, a request that was begun."""
        timeout = self._settings.read_header_timeout
        if timeout and self.phase in WAITING:
            self.deadline = min(self.deadline, self._seconds() + timeout)

    def writeConnectionLost(self) -> None:
        """All that was written is sent, and our FIN too; now it is the client's turn."""
        self._flushed = True
        if self._client_finished or not self._settings.linger_timeout:
            self.end()
        else:
            self._enter(ConnectionPhase.CLOSING, self._settings.linger_timeout)

    def _linger(self) -> None:
        """Wait longer: the client is still sending, and has not read our response yet."""
        if self._flushed:
            timeout = self._settings.linger_timeout
            now = self._seconds()
            self.deadline = min(now + timeout, self.since + max(timeout, _LINGER_LIMIT))

    # The transport's buffer is full, and has room again

    @abstractmethod
    def pauseProducing(self) -> None:
        """The client does not read as fast as we write."""

    @abstractmethod
    def resumeProducing(self) -> None:
        """The client has read all that was written."""

    @abstractmethod
    def stopProducing(self) -> None:
        """The connection is gone."""

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self.wire.pauseProducing()

    def _resume_reading(self) -> None:
        if not self._client_finished:
            self._reading = True
            self.wire.resumeProducing()

    # Deadlines

    def _enter(self, phase: ConnectionPhase, timeout: float = 0) -> None:
        self.phase = phase
        self.since = now = self._seconds()
        self.deadline = now + timeout if timeout else NEVER

    def check(self, now: float) -> None:
        """Do what the time has come for; called for every connection, every now and then."""
        if not self.wire.connected:
            self._connections.remove(self)  # an application took the transport, and it is gone
            return
        if self.needs_check and self.phase is ConnectionPhase.IDLE:
            # The client is not idle before it has all of its response.
            self.needs_check = bool(self.wire.undelivered)
            if self.needs_check:
                self._enter(ConnectionPhase.IDLE, self._settings.idle_timeout)
            else:
                self._release_buffers()
            if self.wire.partial:
                self.tls_record_begun()  # while the last response was being sent
        if now >= self.deadline:
            if self.phase is ConnectionPhase.CLOSING:
                self._connections.count_limit("linger_timeout")
                self.end()
            else:
                self._timed_out()
        self._check_reader(now)

    def _release_buffers(self) -> None:
        """All is delivered: keep no more memory than must be."""

    def _check_reader(self, now: float) -> None:
        """A client must read what is written to it.

        What counts is what it has acknowledged: the kernel takes megabytes from us that a client
        may never want.
        """
        undelivered = 0 if self._flushed else self.wire.undelivered
        if not undelivered:
            self._reader = None
        elif self._reader is None or self._reader.done(self._delivered):
            self._reader = RateWatch(now, self._delivered, undelivered)
        elif self._reader.is_slow(
            now, self._delivered, self._settings.write_timeout, self._settings.min_rate
        ):
            self._stalled = True
            self._connections.count_limit("write_timeout")
            self._connections.client_log.write(
                self.client,
                "The client {peer} does not read its answer: {cut}",
                cut=listed(self.end(Outcome.TIMED_OUT)),
            )
        if self._half_closed is not None and self._half_closed.is_slow(
            now, self._delivered, self._settings.half_close_timeout, 0
        ):
            self._connections.count_limit("half_close_timeout")
            self._connections.client_log.write(
                self.client,
                "The client {peer} has closed its side, and is taken for gone: {cut}",
                cut=listed(self.end(Outcome.CLIENT_GONE)),
            )

    @property
    def _unsent(self) -> int:
        """Bytes of responses that wait for the client to read."""
        return self.wire.unsent

    @property
    def _delivered(self) -> int:
        return self.wire.delivered

    # Closing

    @property
    def grace(self) -> float:
        """Seconds that a drain leaves it alone for, while nothing is begun on it."""
        return self._settings.idle_grace

    def go_away(self) -> bool:
        """Tell the client to go elsewhere, if its protocol has a word for that; whether it has."""
        return False

    def has_unread(self) -> bool:
        """Whether a further request has been begun: here, or in the kernel's queue."""
        return self.wire.partial or in_kernel(self.wire)

    @property
    def can_hand_over(self) -> bool:
        """Whether another process can go on with it, now or after this response."""
        return False

    def detach(self) -> Departure | None:
        """Stop reading, so that another process can; None if that is not possible now."""
        return None

    def loseConnection(self) -> None:
        """Close in stages: what is written, then our FIN, then the client's.

        How long the client may take is bounded by ``linger_timeout``.
        """
        if self.phase is ConnectionPhase.CLOSING:
            return
        self._enter(ConnectionPhase.CLOSING)
        # As long as a producer is registered the transport waits for more to send.
        self.wire.unregisterProducer()
        self.wire.loseWriteConnection()
        self._resume_reading()

    def end(self, outcome: Outcome = Outcome.CUT) -> tuple[CutRequest, ...]:
        """End the connection at once.

        Args:
            outcome: how the requests end by that which are unanswered.

        Returns:
            The requests that this cut.
        """
        if self._aborted:
            return ()
        cuts = self.requests_in_flight()
        if not cuts:
            if self.phase is not ConnectionPhase.CLOSING:
                self._enter(ConnectionPhase.CLOSING, self._settings.linger_timeout)
            self.wire.loseConnection()
        else:
            # A reset, so that no client takes half a response for a complete one.
            self.outcome = outcome
            self.reset_connection()
        return cuts

    def reset_connection(self) -> None:
        """Reset the connection, whatever state it is in."""
        self._aborted = True
        self.wire.abortConnection()

    def abortConnection(self) -> None:
        """End the connection at once, as an application may ask."""
        self.end()


class PreRequestConnection(Connection):
    """A connection on which something else comes before HTTP: a TLS handshake or a PROXY header.

    Nothing is written to it that a client could be slow to read.
    """

    def requests_in_flight(self) -> tuple[CutRequest, ...]:
        """None."""
        return ()

    def _unfinished(self) -> bool:
        return False

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        self._connections.remove(self)

    def pauseProducing(self) -> None:
        """Nothing to pause."""

    def resumeProducing(self) -> None:
        """Nothing to resume."""

    def stopProducing(self) -> None:
        """Nothing to stop."""


def in_kernel(transport: Transport) -> bool:
    """Whether the kernel holds bytes of this connection that nobody has read yet."""
    try:
        return bool(transport.getHandle().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:  # nothing there, or the connection is gone
        return False
