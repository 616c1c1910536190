"""The TLS handshake of a connection; then the connection that was negotiated takes its place."""

from __future__ import annotations

import ssl
from contextlib import suppress

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel

from .base_connection import PreRequestConnection
from .interfaces import ConnectionSite
from .io.tls import TLSServer
from .io.transport_factory import TransportFactory
from .log.access_log import PartialRequest
from .log.drain_report import CutRequest, Outcome
from .phases import ConnectionPhase

_HTTPS_ONLY = b"This is a port for https, and not for http.\n"
_PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_HTTPS_ONLY), _HTTPS_ONLY)
)


def over_tls(
    site: ConnectionSite, transport: TransportFactory, context: ssl.SSLContext
) -> tuple[Factory, TransportFactory]:
    """What makes the connections of a port on which a site is served over TLS.

    Args:
        site: the site.
        transport: makes the transports of its plain connections.
        context: certificate and key; is told what the site speaks.

    Returns:
        A factory of protocols, and one of their transports.
    """
    context.set_alpn_protocols([each.decode() for each in site.acceptableProtocols()])
    return _Handshakes(site), transport.over_tls(context)


class _Handshakes(Factory):
    noisy = False

    def __init__(self, site: ConnectionSite) -> None:
        self._site = site

    def buildProtocol(self, addr: IAddress | None) -> Handshake:  # type: ignore[override]
        handshake = Handshake()
        handshake.factory = handshake.site = self._site
        return handshake


class Handshake(PreRequestConnection):
    """A connection until its TLS handshake is complete; then another takes its place.

    Until the client's first byte it counts as silent, so a drain does not wait for a client that
    never sends one. The connection that takes its place is silent again, so a client whose
    handshake was completed in a drain has the same grace as all others.
    """

    transport: TLSServer

    def connectionMade(self) -> None:
        """A client connected."""
        self.wire = self.transport
        self.client = self.transport.getPeer()
        self.host = self.transport.getHost()
        self._enter(ConnectionPhase.SILENT, self._settings.tls_handshake_timeout)
        self._connections.add(self)

    def begun(self) -> None:
        """Bytes have arrived; the deadline remains that of the whole handshake."""
        if self.phase is ConnectionPhase.SILENT:
            self.phase = ConnectionPhase.HANDSHAKING

    def completed(self) -> None:
        """Put what was negotiated in our place."""
        connection = self.site.connection_for(self.transport.negotiatedProtocol)
        self.transport.protocol = connection
        connection.makeConnection(self.transport)
        # Only now, so that a drain does not take the one for gone before it sees the other.
        self._connections.remove(self)

    def failed(self, reason: object) -> None:
        """It will not be completed; the connection is about to be closed."""
        self._connections.client_log.write(
            self.client,
            "The TLS handshake with {peer} has failed: {reason}",
            level=LogLevel.debug,
            reason=reason,
        )
        if getattr(reason, "reason", "") == "HTTP_REQUEST":
            with suppress(OSError):
                self.transport.getHandle().send(_PLAIN_HTTP)
            if self.site.access_log is not None:
                self.site.access_log.write(
                    PartialRequest(self.client),
                    self.since,
                    Outcome.REFUSED,
                    status=400,
                    sent=len(_HTTPS_ONLY),
                )

    def _timed_out(self) -> None:
        self._connections.count_limit("tls_handshake_timeout")
        self.failed("it took too long")
        self.end()

    def readConnectionLost(self) -> None:
        """The client has closed its sending side, and can complete nothing."""
        self.end()

    def loseConnection(self) -> None:
        """Close without waiting: there is no response that a reset could destroy."""
        self.end()

    def end(self, outcome: Outcome = Outcome.CUT) -> tuple[CutRequest, ...]:
        """End the connection; no request is cut by that."""
        if self.phase is ConnectionPhase.CLOSING:
            self.transport.abortConnection()  # the client does not take what is left
        else:
            self._enter(ConnectionPhase.CLOSING, self._settings.linger_timeout)
            self.transport.loseConnection()
        return ()
