"""Functions that serve an application with one call, for programs of your own."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any, TextIO

from . import twisted_internals
from .config.settings import Settings
from .http.log.drain_report import DrainReport
from .process.host.server_log import never_wait
from .services.server import Server, global_reactor
from .services.service import serving


class RequestsCut(SystemExit):
    """A stop cut requests at the drain deadline; if nobody catches it, the exit status is 1.

    Attributes:
        report: what the drain did.
    """

    def __init__(self, report: DrainReport) -> None:
        super().__init__(report.exit_status)
        self.report = report


def new(
    address: str | int | Sequence[str | int],
    app: object,
    *,
    wsgi: bool = False,
    reactor: Any = None,
    **settings: object,
) -> Server:
    """A server with production defaults, as a service.

    Args:
        address: where to listen: ``8080``, ``":8080"``, ``"127.0.0.1:8080"``,
            ``"localhost:3000"``, ``"[::1]:8080"``; port 0 for any free port;
            ``"unix:/run/app.sock"``, or ``"unix:@name"`` for an abstract socket. With ``http:``
            before it it is plain, with ``https:``, or with neither and a ``tls_cert``, it speaks
            TLS. A sequence of these serves the application on each.
        app: an `IResource`; a Klein app; a WSGI callable; a class or function without
            arguments that returns one of these, at once, as a Deferred or coroutine.
        wsgi: take ``app`` for a WSGI callable, whatever it looks like.
        reactor: None for the global one.
        settings: the fields of `Settings`, by name.

    Returns:
        A service. It binds and serves when it is started, and drains when it is stopped.

    Raises:
        AddressError: the address is none.
        SettingsError: there is no such setting, or its value is out of range.
    """
    return Server(address, app, settings=Settings.of(settings), wsgi=wsgi, reactor=reactor)


def listen_and_serve(
    address: str | int | Sequence[str | int], app: object, **options: Any
) -> DrainReport:
    """Serve until TERM or INT, then drain.

    Args:
        address: as for `new`.
        app: as for `new`.
        options: as for `new`; and ``admin``, ``admin_allow``, ``admin_hosts`` and ``log_to``, as
            for `wait_group`.

    Returns:
        What the drain did; the reactor has stopped.

    Raises:
        BindError: the system refused the address.
        CertificateError: there is no certificate that can be used.
        RequestsCut: the drain deadline cut a request.
    """
    return _serve(address, app, upgrade=False, **options)


def listen_and_serve_forever(
    address: str | int | Sequence[str | int], app: object, **options: Any
) -> DrainReport:
    """Serve as `listen_and_serve` does; USR2 or HUP replaces the process by a new one.

    The new process runs the program that is on disk then, from its begin, and inherits the
    listening sockets. When it serves, this function drains and returns in the old process.

    Args:
        address: as for `new`.
        app: as for `new`.
        options: as for `new`; and ``admin``, ``admin_allow``, ``admin_hosts`` and ``log_to``, as
            for `wait_group`.

    Returns:
        What the drain did; the reactor has stopped.

    Raises:
        BindError: the system refused the address.
        CertificateError: there is no certificate that can be used.
        RequestsCut: the drain deadline cut a request.
    """
    return _serve(address, app, upgrade=True, **options)


def wait_group(
    *servers: Server,
    upgrade: bool = False,
    admin: str | Sequence[str] = (),
    admin_allow: str = "",
    admin_hosts: Collection[str] = (),
    log_to: TextIO | None = sys.stderr,
    reactor: Any = None,
    **settings: Any,
) -> DrainReport:
    """Run several servers, and stop all of them gracefully at TERM or INT.

    Args:
        servers: what `new` returned.
        upgrade: whether USR2 or HUP replaces the process by a new one.
        admin: where to serve health, metrics, status and actions: an address, or several.
        admin_allow: networks whose clients may ask there, beside this machine.
        admin_hosts: names under which they may ask, beside addresses and ``localhost``.
        log_to: where to log to if the program has not begun to log; None for nowhere.
        reactor: None for the global one.
        settings: settings of the process, by name, such as ``workers=4`` and ``probation=60``.
            What is not given is taken from the servers. With workers each of them runs this
            program, and the first process only looks after them.

    Returns:
        What the drains did, together; the reactor has stopped.

    Raises:
        AdminError: an address of ``admin`` can be reached by others, and nobody is allowed there.
        BindError: the system refused an address.
        CertificateError: there is no certificate that can be used.
        RequestsCut: the drain deadline cut a request.
        SettingsError: there is no such setting, or its value is out of range.
        TypeError: what was passed is no server.
    """
    if not servers or not all(isinstance(each, Server) for each in servers):
        raise TypeError("wait_group takes servers, one or more, as `new` returns them")
    reactor = global_reactor() if reactor is None else reactor
    if log_to is not None and not twisted_internals.logging_has_begun():
        from twisted.logger import globalLogBeginner, textFileLogObserver

        observer = textFileLogObserver(log_to)
        never_wait(reactor, observer)
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    status: list[int] = []
    service = serving(
        *servers,
        signals=True,
        upgradable=upgrade,
        exit_with=status.append,
        reactor=reactor,
        **settings,
    )
    if admin:
        from .admin.admin_server import add_admin  # which most programs do not need

        add_admin(service, admin, allow=admin_allow, hosts=admin_hosts)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    service.restore_signals()
    report = service.report or DrainReport()
    if report.cut:
        raise RequestsCut(report)
    if status:
        raise SystemExit(status[0])  # the application could not be loaded, as the log says
    return report


def _serve(
    address: str | int | Sequence[str | int],
    app: object,
    *,
    upgrade: bool,
    admin: str | Sequence[str] = (),
    admin_allow: str = "",
    admin_hosts: Collection[str] = (),
    log_to: TextIO | None = sys.stderr,
    reactor: Any = None,
    **options: Any,
) -> DrainReport:
    server = new(address, app, reactor=reactor, **options)
    return wait_group(
        server,
        upgrade=upgrade,
        admin=admin,
        admin_allow=admin_allow,
        admin_hosts=admin_hosts,
        log_to=log_to,
        reactor=reactor,
    )
