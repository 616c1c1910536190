"""``twistd graceful``: the options, and the service that they describe."""

from __future__ import annotations

import difflib
import os
import re
import sys
import traceback
from collections.abc import MutableMapping, Sequence
from dataclasses import Field
from typing import Any

from twisted.application.service import IService
from twisted.python import usage
from twisted.python.usage import UsageError

from . import address
from .app import load
from .errors import AddressError, AppError, GracefulError, SettingsError
from .process.inheritance import is_successor
from .process.launch import Launch
from .process.log_file import STANDARD, resolve
from .process.ownership import GivenFiles
from .process.twistd import log_file, skip_what_is_done
from .server import Server
from .service import GracefulService
from .settings import Flag, Settings, kind_of
from .welcome import Welcome


def _option(setting: Field[Any]) -> list[Any]:
    """A row of `optParameters`, from a setting."""
    name = _option_name(setting)

    def coerce(text: str) -> Any:
        try:
            return Settings.parse(setting.name, text)
        except SettingsError as error:
            raise UsageError(
                f"--{name}: {text!r} is not accepted; it must be {error.accepted}"
            ) from None

    help = f"{kind_of(setting).unit}: {setting.metadata['help']}"
    return [name, None, setting.default, help, coerce]


def _is_flag(setting: Field[Any]) -> bool:
    return isinstance(kind_of(setting), Flag)


def _flag(setting: Field[Any]) -> list[Any]:
    """A row of `optFlags`, from a setting."""
    return [_option_name(setting), None, setting.metadata["help"]]


_IMPORTS = re.compile("importlib|" + re.escape(os.path.dirname(__file__)))
"""File names of the code that imports an application."""


def _option_name(setting: Field[Any]) -> str:
    return setting.name.replace("_", "-")


class Options(usage.Options):
    """What ``twistd graceful`` understands."""

    synopsis = "[--port ADDRESS --app NAME]... [options]"
    longdesc = (
        "Serves Twisted web resources, Klein and WSGI applications. TERM and INT answer what was "
        "begun, then end the process; a second one ends it at once. USR2 and HUP replace the "
        "process by one that runs the code on disk, without closing the port. Bytes may be "
        "written with KiB, MiB or GiB."
    )
    optFlags = [
        ["wsgi", None, "The applications are WSGI callables, whatever they look like."],
        *(_flag(each) for each in Settings.describe() if _is_flag(each)),
    ]
    optParameters = [_option(each) for each in Settings.describe() if not _is_flag(each)]

    def __init__(self) -> None:
        super().__init__()
        # The indentation of a docstring is not for the reader of --help.
        self.docs = {name: " ".join((text or "").split()) for name, text in self.docs.items()}
        # Of these only --help speaks.
        self.defaults = {name: "none" if it == "" else it for name, it in self.defaults.items()}
        self["ports"] = []
        self["apps"] = []

    def opt_port(self, text: str) -> None:
        """Where to listen: 8080, :8080, 127.0.0.1:8080, localhost:3000, [::1]:8080; port 0
        for any free port. With https: before it it speaks TLS, with http: it does not, with
        neither it does if there is a --tls-cert. Repeatable. [default: 8080]
        """
        try:
            self["ports"].append(address.parse(text))
        except AddressError as error:
            raise UsageError(f"--port: {error}") from None

    def opt_app(self, name: str) -> None:
        """What to serve: package.module.attribute or package.module:attribute. It names an
        IResource, a Klein app, a WSGI callable, or a function or class that returns one.
        Repeatable: the n-th --app is served on the n-th --port, a single one on all.
        [default: a welcome page]
        """
        self["apps"].append(name)

    def opt_version(self) -> None:
        """Print the versions of twisted-graceful and Twisted, and exit."""
        from importlib.metadata import version

        sys.stdout.write(f"twisted-graceful {version('twisted-graceful')}\n")
        super().opt_version()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read a command line.

        Raises:
            SystemExit: it is wrong, and how. (Of a UsageError Twisted shows the whole help, too,
                in which the one line that matters is lost.)
        """
        try:
            super().parseOptions(options)
        except UsageError as error:
            text = f"{error}{self._meant(str(error))}"
            raise SystemExit(
                f"twistd graceful: {text}\n`twistd graceful --help` lists the options"
            ) from None

    def _meant(self, error: str) -> str:
        """The option that is most like one that there is not."""
        unknown = re.fullmatch("option --(.*) not recognized", error)
        names = [name.rstrip("=") for name in self.longOpt]
        close = difflib.get_close_matches(unknown[1], names, n=1) if unknown else []
        return f"; did you mean --{close[0]}?" if close else ""

    def parseArgs(self, *names: str) -> None:
        """Refuse what is no option."""
        if names:
            [name, *_] = names
            hint = (
                f"did you mean --app {name}?"
                if "." in name or ":" in name
                else "a value with a space in it must be quoted"
            )
            raise UsageError(f"{name!r} is no option; {hint}")

    def postOptions(self) -> None:
        """Check what only makes sense together."""
        self["ports"] = self["ports"] or [address.parse(8080)]
        apps, ports = len(self["apps"]), len(self["ports"])
        if apps not in (0, 1, ports):
            raise UsageError(
                f"--app was given {apps} times and --port {ports} times: "
                "give one --app for all ports, or as many as there are ports"
            )
        names = [port.name for port in self["ports"]]
        taken = [port for port in self["ports"] if port.port and names.count(port.name) > 1]
        if taken:
            raise UsageError(f"--port: {str(taken[0])!r} was given more than once")
        parent: MutableMapping[str, Any] = getattr(self, "parent", None) or {}
        self["pid_file"] = parent.get("pidfile") and os.path.abspath(parent["pidfile"])
        if self["access-log"] in STANDARD and not (is_successor() or parent.get("nodaemon", True)):
            raise UsageError("--access-log: a daemon has no standard output; name a file")
        if is_successor():
            skip_what_is_done(parent)
        self["log_file"] = log_file(parent)
        self["uid"], self["gid"] = parent.get("uid"), parent.get("gid")


def makeService(options: Options) -> IService:
    """The service that the options describe, with its sockets bound.

    Raises:
        SystemExit: something cannot be loaded or bound; the text says what.
    """
    sys.path.insert(0, os.getcwd())
    try:
        service = _make(options)
        service.open()
    except AppError as error:
        if error.inside:
            traceback.print_exception(_of_the_application(error))
        raise SystemExit(f"twistd graceful: --app {error}") from None
    except GracefulError as error:
        raise SystemExit(f"twistd graceful: {error}") from None
    return service


def _make(options: Options) -> GracefulService:
    chosen = {each.name: options[_option_name(each)] for each in Settings.describe()}
    # usage.Options has 1 and 0 for its flags.
    flags = {each.name: bool(chosen[each.name]) for each in Settings.describe() if _is_flag(each)}
    settings = Settings(**{**chosen, **flags})
    ports = [str(port) for port in options["ports"]]
    apps = [load(name) for name in options["apps"]]
    if len(apps) > 1:
        wsgi = bool(options["wsgi"])
        served = zip(ports, apps, strict=True)
        servers = [Server(port, app, settings=settings, wsgi=wsgi) for port, app in served]
    elif apps:
        servers = [Server(ports, apps[0], settings=settings, wsgi=bool(options["wsgi"]))]
    else:
        servers = [Server(ports, Welcome, settings=settings)]
    service = GracefulService(
        *servers,
        upgrade_timeout=settings.upgrade_timeout,
        signals=True,
        pid_file=options["pid_file"],
        launch=Launch.of_this_process(os.environ, twistd_is_told=True),
    )
    if options["uid"] is not None or options["gid"] is not None:
        named = (options["log_file"], options["pid_file"], resolve(options["access-log"]))
        files = [path for path in named if path and path not in STANDARD]
        GivenFiles(files, options["uid"], options["gid"]).setServiceParent(service)
    return service


def _of_the_application(error: AppError) -> BaseException:
    """The application's own exception, without the frames of how we came to import it."""
    cause = error.__cause__ or error
    frames = cause.__traceback__
    while frames is not None and _IMPORTS.search(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return cause.with_traceback(frames)
