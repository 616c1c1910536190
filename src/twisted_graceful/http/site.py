"""A site: Twisted's own, with our connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import Site as TwistedSite
from twisted.web.server import version

from ..clock import time_of_day
from ..config.server_settings import ServerSettings
from ..networks import Networks
from .base_connection import Connection
from .http1.channel import Channel
from .http2 import AVAILABLE, http2_connection
from .log.access_log import RequestLog
from .proxies import Proxies
from .registry import ConnectionRegistry
from .websocket.upgraded_transport import WebSocketTransport


class Site(TwistedSite):
    """A web site whose connections can be drained.

    Args:
        resource: the root of the resource tree.
        settings: timeouts of the connections and of the drain.
        reactor: what timeouts run on.
        access_log: where each request is told of when it is over; None for nowhere.
        has_clients_waiting: whether clients wait to be accepted.

    Attributes:
        protocols: what makes a connection that speaks it, by the names of ALPN (RFC 7301
            section 6), what we prefer first.
        access_log: where each request is told of when it is over; None for nowhere.
        proxies: whose word of a request's client is believed; None for nobody's.
        stopping: whether the service is not ready. Only a stop sets it, not a drain for an upgrade:
            some load balancers (Envoy) keep the connection of their health checks open, and take a
            single 503 on it for the end of the service.
    """

    protocols: Mapping[bytes, Callable[[], Connection]]
    displayTracebacks = False
    noisy = False

    def __init__(
        self,
        resource: IResource,
        *,
        settings: ServerSettings,
        reactor: IReactorTime,
        access_log: RequestLog | None = None,
        has_clients_waiting: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(resource, reactor=reactor)
        self.access_log = access_log
        self.stopping = False
        self.connections = ConnectionRegistry(reactor, settings, has_clients_waiting)
        allowed = Networks.parse(settings.forwarded_allow_ips)
        self.proxies = Proxies(allowed) if settings.proxy_headers else None
        http2 = AVAILABLE and settings.max_concurrent_streams > 0
        self.protocols = {**({b"h2": http2_connection} if http2 else {}), b"http/1.1": Channel}
        self.server_name = version
        self._seconds = time_of_day(reactor)
        self._date_second = -1
        self._date = b""

    def date(self) -> bytes:
        """The value of the Date field, now (RFC 9110 section 5.6.7)."""
        now = self._seconds()
        if not 0 <= now - self._date_second < 1:
            self._date_second = int(now)
            self._date = datetimeToString(self._date_second)
        return self._date

    def acceptableProtocols(self) -> list[bytes]:
        """What this server speaks, for ALPN, what it prefers first."""
        return list(self.protocols)

    def buildProtocol(self, addr: IAddress | None) -> Connection:  # type: ignore[override]
        """A connection on which nothing was negotiated."""
        return self.connection_for(None)

    def connection_for(self, protocol: bytes | None) -> Connection:
        """A new connection, of the kind that speaks what was negotiated.

        Args:
            protocol: one of `acceptableProtocols`; None if the client asked for none.
        """
        connection = self.protocols[protocol or b"http/1.1"]()
        connection.factory = connection.site = self
        return connection

    def log(self, request: Any) -> None:
        """Log a request whose response is complete; Twisted's hook for subclasses."""
        if self.access_log is not None:
            request.channel.log(self.access_log, request)


def _site_of(request: object) -> Site | None:
    """The site that answers a request; None if it is of another kind."""
    site = getattr(request, "site", None)
    return site if isinstance(site, Site) else None


def is_ready(request: object) -> bool:
    """Tell whether the service that answers a request wants more of them.

    This is what a load balancer asks for, and what ``/readyz`` of Kubernetes means: 200 if
    it is so, 503 if not.

    Args:
        request: a `twisted.web.server.Request` that is being answered.

    Returns:
        False from the first moment of a stop, before the shutdown delay. An upgrade changes
        nothing, for the successor serves; what is asked in a warm-up is whether the
        application can serve. True for a request that a server of another kind answers.
    """
    site = _site_of(request)
    return site is None or not site.stopping


def draining(request: Any) -> Deferred[None]:
    """Learn when the server that answers a request begins to drain, or announces that it will.

    Event streams and long polls end their response then, in their own way; what is
    still unfinished at the drain deadline is cut. WebSockets can take their leave. Nothing
    has been closed yet; with a ``shutdown_delay`` it is the begin of that.

    Args:
        request: a `twisted.web.server.Request` that is being answered. Where a WebSocket
            protocol does not have it, its transport does as well.

    Returns:
        A Deferred that fires with None when the drain begins, at once if it has begun
        already. It never fires if the request ends first, or is answered by a server
        of another kind. There is nothing to clean up.
    """
    for each in (request, getattr(request, "transport", None)):
        if isinstance(each, WebSocketTransport):
            request = each.request
    site = _site_of(request)
    if site is None or getattr(request, "channel", None) is None:
        return Deferred()
    begins = site.connections.when_draining()
    request.notifyFinish().addBoth(lambda _: site.connections.forget(begins))
    return begins
