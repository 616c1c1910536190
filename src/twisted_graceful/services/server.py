"""One application on its addresses, as a Twisted service."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    ensureDeferred,
    succeed,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..address import UnixAddress, parse
from ..app.loading import log_not_served
from ..config.settings import Settings
from ..errors import BindError, SettingsError
from ..handover_interface import Carrier, HandedConnection
from ..http.io.connection_limit import ConnectionLimit
from ..http.io.poller import transport_for
from ..http.log.access_log import RequestLog
from ..http.log.drain_report import CutRequest, DrainReport
from ..http.log.request_metrics import RequestMetrics, TeeRequestLog
from ..process.host.log_file import LogFiles
from ..process.host.process_status import Status
from ..process.listeners.listener import Listener
from ..process.listeners.listener_registry import ListenerRegistry
from ..process.upgrade.launch import working_directory
from ..reactors import IServerReactor
from .absolute_paths import with_absolute_paths
from .access_log_writer import AccessLogWriter
from .listening import Admission, Listening
from .served_app import ServedApp
from .server_certificate import ServerCertificate
from .shared_resources import SharedResources
from .shutdown_delay import ShutdownDelay

T = TypeVar("T")


class Server(Service):
    """Serves one application, on one address or several.

    As a service of its own, or in any `MultiService`, it accepts when its application is
    loaded, and drains when it is stopped. In a `GracefulService` it also takes part in
    upgrades. It can be started again after a stop.

    Args:
        address: where to listen; `twisted_graceful.address.parse` says how it is written.
            A sequence of addresses serves the application on each.
        app: anything that `new` takes.
        settings: timeouts and limits. Those of a process are for the `GracefulService` that the
            server is in.
        wsgi: take ``app`` for a WSGI callable, whatever it looks like.
        reactor: None for the global one.
        admission: decides which clients may connect; None if all may.

    Attributes:
        listening: its addresses, listeners and ports.
        certificate: what it speaks TLS with.
        meter: counts its requests; None if they are not counted.

    Raises:
        AddressError: the address is none.
    """

    _log = Logger()

    def __init__(
        self,
        address: str | int | Sequence[str | int],
        app: object,
        *,
        settings: Settings | None = None,
        wsgi: bool = False,
        reactor: Any = None,
        admission: Admission | None = None,
    ) -> None:
        several = [address] if isinstance(address, (str, int)) else address
        # Whatever directory the application changes to.
        here = working_directory(os.environ)
        self.addresses = [parse(each).within(here) for each in several]
        self.settings = with_absolute_paths(settings or Settings(), here)
        self._reactor: IServerReactor = global_reactor() if reactor is None else reactor
        self._transport, self._poller = transport_for(self._reactor)
        self.certificate = ServerCertificate(
            self.settings, self.addresses, self._reactor, self._log
        )
        self._served = ServedApp(
            app,
            wsgi=wsgi,
            settings=self.settings,
            reactor=self._reactor,
            transport=self._transport,
            is_secure=all(map(self.certificate.is_needed_at, self.addresses)),
            is_multiprocess=self._is_multiprocess,
            has_clients_waiting=lambda: self.listening.limit.is_waited_for,
        )
        self._admission = admission
        self._is_coordinated = False
        self._use(
            SharedResources(
                ListenerRegistry(), LogFiles(self._reactor), ConnectionLimit(self._reactor)
            )
        )
        self.meter: RequestMetrics | None = None
        self._on_warm_up: Callable[[str], None] = lambda target: None
        self._accepted = False
        self._loading: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._fault: Failure | None = None
        self._delay = ShutdownDelay(self._reactor)

    def join(self, shared: SharedResources) -> None:
        """Become one of several servers of a process.

        From then on its owner says when to load the application, and when to accept.

        Args:
            shared: what the servers of the process share.
        """
        self._is_coordinated = True
        self._use(shared)

    def _use(self, shared: SharedResources) -> None:
        self._access_log = AccessLogWriter(shared.logs, self.settings, self._reactor)
        self.listening = Listening(
            self.addresses,
            self.settings,
            self.certificate,
            self._reactor,
            self._transport,
            self._log,
            shared,
            self._admission,
        )

    def observe(self, meter: RequestMetrics, on_warm_up: Callable[[str], None]) -> None:
        """Count requests, and tell of the warm-up; before the load.

        Args:
            meter: counts the requests. Without one they are not counted, which is cheaper.
            on_warm_up: called with the target of each request of the warm-up.
        """
        self.meter = meter
        self._on_warm_up = on_warm_up

    @property
    def is_ready(self) -> bool:
        """Whether who connects now is served for the time being.

        From the first `accept` to the first moment of a stop; in an upgrade the successor serves.
        """
        return self._accepted and self._served.is_ready

    @property
    def bound(self) -> list[tuple[str, int]]:
        """Host and port of every socket that listens for this server; empty when stopped.

        UNIX sockets have neither; `urls` has them too.
        """
        families = (socket.AF_INET, socket.AF_INET6)
        return [
            each.getsockname()[:2] for each in self.listening.sockets if each.family in families
        ]

    @property
    def unix_addresses(self) -> list[UnixAddress]:
        """Those of its addresses that are UNIX sockets with a file."""
        return [each for each in self.addresses if isinstance(each, UnixAddress) and each.file]

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return self._served.connected

    @property
    def answered(self) -> int:
        """How many requests it has answered since its start."""
        return self._served.answered

    @property
    def requests_in_flight(self) -> list[CutRequest]:
        """The requests that are being read or answered, as they would be reported if cut now."""
        return self._served.requests_in_flight

    @property
    def status(self) -> Status:
        """What it has done and does, in numbers; of its requests if they are counted."""
        counted = {} if self.meter is None else self.meter.counters
        return self._served.status + Status(counted)

    @property
    def urls(self) -> list[str]:
        """The root of each, such as ``https://127.0.0.1:8443``.

        There are no URLs for UNIX sockets: ``unix:/run/app.sock``, or ``https:unix:/run/app.sock``.
        """
        return self.listening.urls

    def ready(self) -> Deferred[None]:
        """A Deferred that fires when this server accepts; it fails if that never happens."""
        waiting: Deferred[None] = Deferred()
        if self.listening.is_accepting or self._fault is not None:
            waiting.callback(self._fault)
        else:
            self._waiting.append(waiting)
        return waiting

    # IService

    def privilegedStartService(self) -> None:
        """Bind the address, which may need privileges that are dropped later.

        Raises:
            BindError: the system refused the address.
            CertificateError: there is no certificate that can be used.
            LogFileError: the access log cannot be opened.
        """
        self.open()

    def startService(self) -> None:
        """Bind if that is not done, load the application, and then accept.

        Raises:
            BindError: the system refused the address.
            CertificateError: there is no certificate that can be used.
            LogFileError: the access log cannot be opened.
            SettingsError: workers are configured, but this server runs on its own.
        """
        if self.settings.workers and not self._is_coordinated:
            raise workers_not_started(self.settings.workers)
        super().startService()
        self.open()
        if not self._is_coordinated:
            self.load().addCallbacks(lambda _: self.accept(), self._not_loaded)

    def stopService(self) -> Deferred[DrainReport]:
        """Stop accepting, after ``shutdown_delay``, and drain.

        Returns:
            A Deferred that fires with the report when the drain is over.
        """
        super().stopService()
        if self._loading is not None:
            self._loading.cancel()
        return ensureDeferred(self._stop())

    async def _stop(self) -> DrainReport:
        self._fault = None
        if not self._is_coordinated:
            await self.lame_duck(self.settings.shutdown_delay)
        accepted = self.listening.is_accepting
        report = await self.drain()
        busy = await self._served.finish_threads(self.settings.drain_timeout - report.seconds)
        if busy:
            self._log.warn(
                "{count} requests without a client are still in the WSGI application of {address}; "
                "they end with the process",
                count=busy,
                address=self.listening,
            )
        if accepted:  # the last connection closes its descriptor in this turn
            await deferLater(self._reactor, 0)
        if self._poller is not None:
            self._poller.close()
        self._accepted = False
        self._served.stop()
        self._access_log.close()
        if not self._is_coordinated:
            self._log.info(
                "Drained {address}: {report}",
                address=self.listening,
                report=report,
                **report.fields,
            )
        return report

    def _not_loaded(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            log_not_served(self._log, str(self.listening), failure)

    # The steps, which a GracefulService takes one by one

    def open(self) -> None:
        """Get the listening sockets, and the log; connections queue in the kernel until `accept`.

        Raises:
            BindError: the system refused the address.
            CertificateError: there is no certificate that can be used.
            LogFileError: the access log cannot be opened.
        """
        if self.listening.is_bound:
            return
        self.certificate.read()
        if not self.listening.is_shared:  # else the master warns, once for all
            self.certificate.log_warnings()
        self._access_log.open()
        try:
            self.listening.bind()
        except BindError:
            self.close()
            raise

    def close(self) -> None:
        """Give up what `open` got; other processes that share it go on."""
        self.listening.close()
        self._access_log.close()

    def reopen_logs(self) -> None:
        """Go on in new log files, after somebody has moved the present ones away."""
        self._access_log.reopen()

    def flush_log(self) -> None:
        """Write what is still to be written to the access log."""
        self._access_log.flush()

    def load(self) -> Deferred[None]:
        """Load the application, and warm it up.

        No address has to be bound for that. `stopService` gives it up, also while it loads.

        Returns:
            A Deferred that fires when this server can serve; it fails with `AppError`
            or `WarmUpError`.
        """
        log: RequestLog | None = self._access_log.start()
        if self.meter is not None:
            log = self.meter if log is None else TeeRequestLog(log, self.meter)
        if self._poller is not None and self.settings.warm_up:
            self._poller.open()
        self._loading = ensureDeferred(self._served.load(log, self._on_warm_up))
        return self._loading.addBoth(self._load_over)

    def _is_multiprocess(self) -> bool:
        balance = self.listening.limit.balance
        return balance is not None and balance.workers != 1

    def _load_over(self, result: T) -> T:
        self._loading = None
        self._fault = result if isinstance(result, Failure) else None
        if self._fault is not None:
            self._tell_waiting(self._fault)
        return result

    def _tell_waiting(self, result: Failure | None) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(result)

    def accept(self) -> None:
        """Accept connections, and give up a drain that may be in progress.

        Addresses that were closed in that drain are bound again; those that cannot be are logged.

        Raises:
            OSError: the system refuses; it can be asked again.
        """
        site = self._served.site
        assert site is not None
        if self._poller is not None:
            self._poller.open()
        site.connections.resume()
        self.listening.accept(site)
        self._accepted = True
        self._tell_waiting(None)

    def listens_on(self, handed: HandedConnection) -> bool:
        """Whether one of our listeners accepted a connection that another process hands over."""
        return self.listening.port_of(handed) is not None

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a connection that another process hands over would be served here."""
        port = self.listening.port_of(handed)
        return port is not None and port.can_take_up(handed)

    def take_up(self, handed: HandedConnection) -> None:
        """Serve a connection that another process has handed over; its descriptor is ours."""
        port, site = self.listening.port_of(handed), self._served.site
        assert port is not None
        assert site is not None
        port.take_up(handed, site)

    def announce(self) -> None:
        """Announce a stop to applications and clients, and be no longer ready; nothing is closed.

        A server that does not accept has nothing to announce.
        """
        if self.listening.is_accepting:
            self._served.announce()

    def lame_duck(self, seconds: float) -> Deferred[None]:
        """Announce the stop, and go on serving until load balancers have noticed.

        Args:
            seconds: how long; asked again meanwhile, the first word counts.

        Returns:
            A Deferred that fires when a drain may begin: at once if nothing is accepted
            anyway, and with `cut`.
        """
        self.announce()
        if not self.listening.is_accepting or not seconds:
            return succeed(None)
        if not self._delay.has_begun:
            self._log.info(
                "Stopping: {address} is not ready any more; it accepts for another "
                "{seconds:g} seconds (the shutdown delay)",
                address=self.listening,
                seconds=seconds,
            )
        return self._delay.wait(seconds)

    def end_delay(self) -> None:
        """Let the drain begin that is being announced."""
        self._delay.end()

    def drain(
        self, carrier: Carrier | None = None, removed: Collection[Listener] = ()
    ) -> Deferred[DrainReport]:
        """Stop accepting, let what was begun end, and cut the rest at the deadline.

        Args:
            carrier: brings connections to the process that takes over the listeners; None if there
                is none.
            removed: the listeners that it does not take over. They are closed, as all are without
                such a process, and the connections in their backlogs are served here.

        Returns:
            A Deferred of the report; of the same one if a drain is under way.
        """
        self.listening.end(None if carrier is None else removed)
        return self._served.drain(carrier)

    def cut(self) -> None:
        """End the drain that is under way, or the delay before it, and all that waits."""
        self.end_delay()
        self._served.cut()


def workers_not_started(workers: int | str) -> SettingsError:
    """The error for workers that are configured where nothing starts them."""
    return SettingsError(
        "workers",
        workers,
        "0 here, where one process serves: give it to "
        f"`serving(..., workers={workers!r})` or `wait_group(..., workers={workers!r})` instead",
    )


def global_reactor() -> Any:
    """The reactor of this process; importing it installs it, so it is imported late."""
    from twisted.internet import reactor

    return reactor
