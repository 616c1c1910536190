"""The server of the admin endpoints, and the jobs that run beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..address import Address, ListenAddress, parse
from ..config.settings import Settings
from ..errors import AdminError
from ..http.log.drain_report import DrainReport
from ..networks import Networks
from ..process.workers.heartbeat import Heartbeat
from ..services.server import Server
from ..services.service import GracefulService
from .admin_site import Root
from .admission import TOTAL, Admission
from .guard import LOCALHOST
from .metrics import MISSING
from .overview import Overview

INTERVAL = 1.0
"""Seconds between two reports to the other generation; what one that is killed has counted since
its last one is lost."""

_SLACK = 15.0
"""Seconds that an upgrade, of which somebody is told, may take beyond all its time-outs."""


def is_loopback(address: ListenAddress) -> bool:
    """Whether only this machine can connect there."""
    if not isinstance(address, Address):
        return True
    if address.host.lower() == LOCALHOST:
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:  # a name, or all interfaces
        return False


def require_usable(addresses: Iterable[ListenAddress], allow: str) -> None:
    """Refuse addresses where the admin endpoints must not be.

    Args:
        addresses: where they would listen.
        allow: networks whose clients may ask, beside this machine.

    Raises:
        AdminError: an address can be reached by other machines, and nobody is allowed there; or
            it speaks TLS.
    """
    for each in addresses:
        if each.scheme == "https":
            raise AdminError(f"{str(each)!r}: the admin endpoints speak plain HTTP")
        if not is_loopback(each) and not allow:
            raise AdminError(
                f"{str(each)!r} can be reached by other machines: name those that may ask "
                "with --admin-allow (10.0.0.0/8), or listen on 127.0.0.1 or a UNIX socket"
            )


class AdminServer(Server):
    """Health, readiness, metrics, status and actions of a service.

    It is upgraded with the service, and ends after it.

    Args:
        addresses: where to listen. The files of UNIX sockets are their owner's only.
        service: what is looked after; its servers count their requests from now on.
        allow: networks whose clients may ask, beside this machine.
        hosts: names under which they may ask, beside addresses, ``localhost`` and the names in
            ``addresses``; ``.example.com`` is that domain and all below it.
        reactor: None for the global one.

    Raises:
        AddressError: an address is none.
        AdminError: an address can be reached by other machines, and nobody is allowed there; or
            it speaks TLS.
    """

    _log = Logger()

    def __init__(
        self,
        addresses: Sequence[str],
        service: GracefulService,
        *,
        allow: str = "",
        hosts: Collection[str] = (),
        reactor: Any = None,
    ) -> None:
        allowed = Networks.parse(allow)
        parsed = [parse(each) for each in addresses]
        require_usable(parsed, allow)
        names = {each.host for each in parsed if isinstance(each, Address)} - {""} | {*hosts}
        overview = Overview(service, service.reactor if reactor is None else reactor)
        root = Root(overview, allowed=allowed, names=names)
        longest = max((each.settings.drain_timeout for each in service.servers), default=0.0)
        settings = Settings(
            unix_mode=0o600,
            max_connections=TOTAL,
            max_body_size=4096,
            # A probe sends its head at once.
            read_header_timeout=2,
            read_timeout=2,
            # From a hand-over on, while somebody may be told how the drain and the probation go.
            drain_timeout=longest + service.settings.probation + _SLACK,
            idle_grace=0,
            linger_timeout=0.5,
            max_concurrent_streams=0,
        )
        super().__init__(
            addresses, root, settings=settings, reactor=reactor, admission=Admission(allowed)
        )
        self.overview = overview
        self._allow = allow
        self._tick = Heartbeat(self._reactor, overview.tick, INTERVAL)
        service.watcher = overview
        service.add_auxiliary(self)

    def startService(self) -> None:
        """Begin to report, and warn of what is open."""
        super().startService()
        for each in self.addresses:
            if not is_loopback(each):
                self._log.warn(
                    "The admin endpoints are on {address}, which other machines can reach: clients "
                    "of {allow} see paths that are being served, and all numbers",
                    address=each,
                    allow=self._allow,
                )
        if find_spec("prometheus_client") is None:
            self._log.warn("/metrics cannot be served: {missing}", missing=MISSING)
        self._tick.start(now=False)

    def stopService(self) -> Deferred[DrainReport]:
        """Drain, as the last of all."""
        self._tick.stop()
        return super().stopService()


def add_admin(
    service: GracefulService,
    addresses: str | Sequence[str],
    *,
    allow: str = "",
    hosts: Collection[str] = (),
) -> AdminServer | None:
    """Let the admin endpoints of a service be served, if there are addresses for them.

    Args:
        service: what is looked after; it has not been started.
        addresses: where to listen, one or more. The files of UNIX sockets are their owner's only.
        allow: networks whose clients may ask, beside this machine, as for `AdminServer`.
        hosts: names under which they may ask, as for `AdminServer`.

    Returns:
        The server; None if there is no address, and in a worker, which tells its master instead.

    Raises:
        AddressError: an address is none.
        AdminError: an address cannot be used for that.
    """
    several = [addresses] if isinstance(addresses, str) else list(addresses)
    if not several:
        return None
    if service.worker:
        service.watcher = Overview(service, service.reactor)
        return None
    return AdminServer(several, service, allow=allow, hosts=hosts)
