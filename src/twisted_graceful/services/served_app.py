"""The application of a server, loaded: its site, and its threads if it is a WSGI callable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.web.resource import IResource

from ..app.conversion import as_resource
from ..app.wsgi.threads import Threads
from ..config.server_settings import ServerSettings
from ..coroutines import is_asyncio_reactor
from ..handover_interface import Carrier
from ..http.handover import HandoverQueue
from ..http.io.transport_factory import TransportFactory
from ..http.log.access_log import RequestLog
from ..http.log.drain_report import CutRequest, DrainReport
from ..http.site import Site
from ..process.host.process_status import Status
from ..reactors import IServerReactor


class ServedApp:
    """An application from its load to its stop. It can be loaded again after a stop.

    Args:
        app: anything that `twisted_graceful.app.as_resource` takes.
        wsgi: whether to take it for a WSGI callable, whatever it looks like.
        settings: timeouts and limits.
        reactor: runs it.
        transport: of its connections.
        is_secure: whether requests of the warm-up seem to come by https.
        is_multiprocess: whether other processes run it too; asked for each WSGI request.
        has_clients_waiting: whether clients wait to be accepted.

    Attributes:
        site: what serves it; None before the load and after the stop. In the warm-up it is another
            site, which no client can reach.
    """

    def __init__(
        self,
        app: object,
        *,
        wsgi: bool,
        settings: ServerSettings,
        reactor: IServerReactor,
        transport: TransportFactory,
        is_secure: bool,
        is_multiprocess: Callable[[], bool],
        has_clients_waiting: Callable[[], bool],
    ) -> None:
        self._app = app
        self._wsgi = wsgi
        self._settings = settings
        self._reactor = reactor
        self._transport = transport
        self._is_secure = is_secure
        self._is_multiprocess = is_multiprocess
        self._has_clients_waiting = has_clients_waiting
        self.site: Site | None = None
        self._before = Status()  # the counters of sites that were stopped

    async def load(
        self,
        access_log: RequestLog | None,
        on_warm_up: Callable[[str], None] = lambda target: None,
    ) -> None:
        """Make the resource, and the site that serves it.

        Args:
            access_log: gets each request of a client; None if nothing does.
            on_warm_up: called with the target of each request of the warm-up.

        Raises:
            AppError: the application cannot be loaded.
            WarmUpError: it does not respond to a request of the warm-up.
        """
        self._threads = Threads(
            self._reactor, self._settings.wsgi_threads, self._environ(), self._is_multiprocess
        )
        if is_asyncio_reactor(self._reactor):
            await deferLater(self._reactor, 0)
        made = as_resource(self._app, self._threads.resource, wsgi=self._wsgi)
        resource = await made if isinstance(made, Deferred) else made
        if self._settings.warm_up:
            await self._warm_up(resource, on_warm_up)
        self.site = Site(
            resource,
            settings=self._settings,
            reactor=self._reactor,
            access_log=access_log,
            has_clients_waiting=self._has_clients_waiting,
        )
        # The site must outlive its last port: it still responds in a drain.
        self.site.doStart()

    async def _warm_up(self, resource: IResource, begins: Callable[[str], None]) -> None:
        from ..http.warm_up import warm_up  # Twisted's client, which most servers do not need

        # These requests are not a client's: they are neither logged nor counted.
        self.site = site = Site(resource, settings=self._settings, reactor=self._reactor)
        site.doStart()
        await warm_up(
            site,
            self._settings.warm_up,
            transport=self._transport,
            secure=self._is_secure,
            timeout=self._settings.warm_up_timeout,
            reactor=self._reactor,
            begins=begins,
        )
        site.doStop()

    def _environ(self) -> dict[str, Callable[[], bool]]:
        """What a WSGI application, which sees no request, asks instead; from any thread."""

        def is_draining() -> bool:
            return self.site is None or self.site.connections.draining

        return {
            "twisted_graceful.is_ready": lambda: self.is_ready,
            "twisted_graceful.is_draining": is_draining,
        }

    @property
    def is_ready(self) -> bool:
        """Whether it is loaded, and no stop has been announced."""
        return self.site is not None and not self.site.stopping

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return 0 if self.site is None else len(self.site.connections)

    @property
    def answered(self) -> int:
        """How many requests have had a response since the load."""
        return 0 if self.site is None else self.site.connections.answered

    @property
    def requests_in_flight(self) -> list[CutRequest]:
        """The requests that are being read or answered, as they would be reported if cut now."""
        return [] if self.site is None else list(self.site.connections.requests_in_flight())

    @property
    def status(self) -> Status:
        """What it has done and does, in numbers."""
        if self.site is None:
            return self._before
        connections = self.site.connections
        phases = Counter(f"connections,{each.phase.name.lower()}" for each in connections)
        in_flight = sum(1 for _ in connections.requests_in_flight())
        return self._before + Status(connections.counters, {"in_flight": in_flight, **phases})

    def announce(self) -> None:
        """Announce that a drain will begin: it is not ready any more."""
        if self.site is not None:
            self.site.stopping = True
            self.site.connections.announce()

    def drain(self, carrier: Carrier | None) -> Deferred[DrainReport]:
        """Let requests in flight end, and cut the rest at the deadline.

        Args:
            carrier: brings connections to the process that takes over the listeners; None if there
                is none.

        Returns:
            A Deferred of the report; of the same one if a drain is under way.
        """
        if self.site is None:
            return succeed(DrainReport())
        handover = None if carrier is None else HandoverQueue(self._reactor, carrier)
        return self.site.connections.drain(handover)

    async def finish_threads(self, seconds: float) -> int:
        """Let WSGI applications finish requests that have no connection any more.

        Args:
            seconds: how long to wait for them.

        Returns:
            How many have not finished.
        """
        if self.site is None:
            return 0
        await self._threads.finished(max(0, seconds))
        return self._threads.busy

    def cut(self) -> None:
        """End the drain that is under way, and stop waiting for threads."""
        if self.site is not None:
            self.site.connections.cut()
            self._threads.abandon()

    def stop(self) -> None:
        """Give up the site and its threads; `status` goes on counting from here."""
        site, self.site = self.site, None
        if site is not None:
            self._before += Status(site.connections.counters)
            site.doStop()
            self._threads.stop()
