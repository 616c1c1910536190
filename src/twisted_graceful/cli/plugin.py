"""``twistd graceful``: the service that the options describe."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr

from twisted.application.service import IService
from twisted.internet import defer
from twisted.logger import Logger

from ..app.loading import load
from ..app.welcome import Welcome
from ..config.options import option_name, settings_of, unknown_variables
from ..config.settings import Settings
from ..errors import AppError, GracefulError, SettingsError
from ..process.host.log_file import check_writable
from ..process.upgrade.handed_over import handed_over
from ..process.upgrade.launch import Launch
from ..process.upgrade.output import capture_warnings
from ..services.absolute_paths import with_absolute_paths
from ..services.server import Server, global_reactor
from ..services.service import GracefulService, serving
from .autoreload import AutoReload, watch_source
from .check import CheckService
from .command_line import Options

__all__ = ["Options", "makeService"]  # the names that twistd asks a plugin for

_log = Logger()

_LOADERS = re.compile(
    "|".join(
        map(re.escape, ("importlib", defer.__file__, os.path.dirname(os.path.dirname(__file__))))
    )
)
"""Matches the files of the code that imports an application or waits for it."""


def makeService(options: Options) -> IService:
    """The service that the options describe, with its sockets bound; a check with ``--check``.

    Raises:
        SystemExit: something cannot be loaded or bound; the text says what.
    """
    sys.path.insert(0, os.getcwd())
    if options["reload"]:
        # Python takes a .pyc for current if the source has its size and second of modification.
        sys.dont_write_bytecode = True
    if handed_over().is_successor and options.twistd.log_file:
        capture_warnings()
    for sentence in unknown_variables(os.environ):
        _log.warn("{sentence}; it is ignored", sentence=sentence)
    try:
        # Before an application is imported, which may change the directory.
        launch = options.twistd.launch()
        settings = with_absolute_paths(settings_of(options.chosen), launch.directory)
        is_master = settings.workers and not (handed_over().worker or options["check"])
        servers = _servers(options, settings, launch.directory, _not_loaded if is_master else load)
        options.twistd.require_log()
        if options["check"]:
            return _check(options, settings, servers)
        options.twistd.require_pid_file()
        service = _service(options, servers, launch)
        service.open()
    except GracefulError as error:
        raise SystemExit(_message(error)) from None
    return service


def _message(error: BaseException) -> str:
    """The message for an error; prints the traceback of one in the application's own code."""
    if isinstance(error, SettingsError):  # by the name that it has on the command line
        return f"twistd graceful: --{option_name(error.name)}{str(error)[len(error.name) :]}"
    if not isinstance(error, AppError):
        return f"twistd graceful: {error}"
    if error.inside:
        traceback.print_exception(_application_error(error))
    return f"twistd graceful: --app {error}"


def _not_loaded(name: str) -> str:
    """What a master has instead of an application, which it does not load: the name."""
    return name


def _servers(
    options: Options, settings: Settings, directory: str, load: Callable[[str], object]
) -> list[Server]:
    ports = [str(port.within(directory)) for port in options["port"]]
    apps = [load(name) for name in options["app"]]
    if len(apps) > 1:
        wsgi = bool(options["wsgi"])
        served = zip(ports, apps, strict=True)
        return [Server(port, app, settings=settings, wsgi=wsgi) for port, app in served]
    if apps:
        return [Server(ports, apps[0], settings=settings, wsgi=bool(options["wsgi"]))]
    return [Server(ports, Welcome, settings=settings)]


def _check(options: Options, settings: Settings, servers: list[Server]) -> CheckService:
    out, err = sys.stdout, sys.stderr  # twistd redirects them to its log

    def report(error: BaseException | None) -> None:
        if error is None:
            names = ", ".join(options["app"]) or "a welcome page"
            out.write(f"twistd graceful: {names}: can be served\n")
        else:
            with redirect_stderr(err):
                err.write(f"{_message(error)}\n")

    check_writable(settings.access_log)
    check = CheckService(*servers, timeout=settings.upgrade_timeout, report=report)
    check.open()
    for server in servers:
        for warning in server.certificate.warnings:
            err.write(f"twistd graceful: warning: {warning}\n")
    return check


def _service(options: Options, servers: list[Server], launch: Launch) -> GracefulService:
    service = serving(
        *servers,
        signals=True,
        pid_file=options.twistd.pid_file,
        launch=launch,
        title=", ".join(options["app"]),
    )
    if options["admin"]:
        from ..admin.admin_server import add_admin  # which most servers do not need

        add_admin(
            service,
            [str(each.within(launch.directory)) for each in options["admin"]],
            allow=options["admin-allow"],
            hosts=options["admin-host"],
        )
    if service.worker:
        return service  # the master watches the source
    if options["reload"]:
        watch = watch_source(options["app"], options["config"])
        AutoReload(global_reactor(), watch, service.upgrade, service.is_accepting).setServiceParent(
            service
        )
    return service


def _application_error(error: AppError) -> BaseException:
    """The application's own exception, without the frames of our code that imported it."""
    cause = error.__cause__ or error
    frames = cause.__traceback__
    while frames is not None and _LOADERS.search(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return cause.with_traceback(frames)
