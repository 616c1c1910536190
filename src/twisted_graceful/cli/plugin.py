"""``twistd graceful``: the options, and the service that they describe."""

from __future__ import annotations

import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from io import TextIOWrapper
from typing import Any

from twisted.application.service import IService
from twisted.internet import defer
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.usage import UsageError

from ..app.loading import load
from ..app.welcome import Welcome
from ..config import options as option_table
from ..config import toml_file
from ..config.option_types import FilePath, Flag, Text
from ..config.options import CONFIG, OPTIONS, Chosen, Option, option_name
from ..config.settings import Settings
from ..errors import AppError, ConfigError, GracefulError, SettingsError
from ..process.host.log_file import check_writable
from ..process.host.pid_file import require_free, require_writable
from ..process.host.streams import canonical, number_of, open_missing
from ..process.twistd import locate_log, log_file, only_look, skip_what_is_done
from ..process.upgrade.inheritance import is_successor, is_worker
from ..process.upgrade.launch import Launch, working_directory
from ..process.upgrade.output import keep_words
from ..services.server import Server, global_reactor, located
from ..services.service import GracefulService, serving
from .autoreload import Reload, watch_source
from .check import Check

_log = Logger()

_LOADERS = re.compile(
    "|".join(
        map(re.escape, ("importlib", defer.__file__, os.path.dirname(os.path.dirname(__file__))))
    )
)
"""File names of the code that imports an application, or waits for it."""


def _coerce(option: Option) -> Callable[[str], Any]:
    """What makes a value of a text, for `optParameters`."""

    def coerce(text: str) -> Any:
        try:
            return option.read(text, f"--{option.name}")
        except ConfigError as error:
            raise UsageError(str(error)) from None

    return coerce


def _parameter(option: Option) -> list[Any]:
    """A row of `optParameters`."""
    return [option.name, None, option.default, option.description, _coerce(option)]


def _method(option: Option) -> Callable[[Options, str], None]:
    """A method ``opt_...`` for what is repeatable."""
    coerce = _coerce(option)

    def opt(self: Options, text: str) -> None:
        self[option.name] = (*self.get(option.name, ()), coerce(text))

    opt.__doc__ = f"{option.help} Repeatable. [default: {option.otherwise}]"
    return opt


def _is_flag(option: Option) -> bool:
    return isinstance(option.kind, Flag)


def _completer(option: Option) -> usage.Completer:
    """How a shell completes its value."""
    kind = option.kind
    if isinstance(kind, FilePath):
        return usage.CompleteFiles()
    if isinstance(kind, Text) and kind.choices:
        return usage.CompleteList(kind.choices)
    return usage.Completer(descr=kind.unit)  # which only says what is to be typed


class Options(usage.Options):
    """What ``twistd graceful`` understands."""

    synopsis = "[--port ADDRESS --app NAME]... [options]"
    longdesc = (
        "Serves Twisted web resources, Klein and WSGI applications. TERM and INT answer what was "
        "begun, then end the process; a second one ends it at once. USR2 and HUP replace the "
        "process by one that runs the code on disk, without closing the port; with --workers HUP "
        "replaces the workers in turns, and the master stays. Bytes may be written with KiB, MiB "
        "or GiB. Each option may also be in the environment "
        "(GRACEFUL_READ_TIMEOUT) or in a TOML file; the command line counts first, then the "
        "environment, then the file."
    )
    optFlags = [
        *([each.name, None, each.help] for each in OPTIONS if _is_flag(each)),
        ["print-config", None, "Print the configuration and where it comes from, and exit."],
        ["check", None, "Load everything, bind nothing, say what is wrong, and exit with 0 or 1."],
    ]
    optParameters = [
        ["config", None, "", f"path: a TOML file with options; also {CONFIG}"],
        *(_parameter(each) for each in OPTIONS if not (_is_flag(each) or each.repeatable)),
    ]
    compData = usage.Completions(
        optActions={
            "config": usage.CompleteFiles("*.toml"),
            **{each.name: _completer(each) for each in OPTIONS if not _is_flag(each)},
        },
        multiUse=[each.name for each in OPTIONS if each.repeatable],
    )

    def __init__(self) -> None:
        super().__init__()
        # The indentation of a docstring is not for the reader of --help.
        self.docs = {name: " ".join((text or "").split()) for name, text in self.docs.items()}
        # Of these only --help speaks.
        self.defaults = {name: "none" if it == "" else it for name, it in self.defaults.items()}
        self.clear()  # what is in here when it has been parsed was given

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
        except (UsageError, GracefulError) as error:
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

    def _effective(self, environ: Mapping[str, str]) -> dict[str, Chosen]:
        """What all sources say together; our own items become that.

        Raises:
            ConfigError: something in one of them is wrong.
        """
        given = {
            each.name: bool(self[each.name]) if _is_flag(each) else self[each.name]
            for each in OPTIONS
            if each.name in self
        }
        where = "--config" if "config" in self else f"the environment variable {CONFIG}"
        path = self.setdefault("config", environ.get(CONFIG, ""))
        self["config"] = path and os.path.abspath(path)
        sources = [
            option_table.from_command_line(given),
            option_table.from_environment(environ),
            option_table.from_file(toml_file.read(path, where), path) if path else {},
        ]
        if option_table.effective(*sources)["reload"].value:
            sources.append(option_table.for_development())
        chosen = option_table.effective(*sources)
        self.update((name, each.value) for name, each in chosen.items())
        self.sources = {name: each.source for name, each in chosen.items()}
        return chosen

    def postOptions(self) -> None:
        """Add what other sources say, and check what only makes sense together."""
        open_missing()  # before anything else is opened
        working_directory(os.environ)  # an error says which one has been removed
        chosen = self._effective(os.environ)
        ports, apps = chosen["port"], chosen["app"]
        if len(apps.value) not in (0, 1, len(ports.value)):
            raise UsageError(
                f"--app was given {len(apps.value)} times (by {apps.source}) and "
                f"--port {len(ports.value)} times (by {ports.source}): "
                "give one --app for all ports, or as many as there are ports"
            )
        names = [port.name for port in ports.value]
        taken = [port for port in ports.value if port.is_one_place and names.count(port.name) > 1]
        if taken:
            raise UsageError(
                f"--port: {str(taken[0])!r} was given more than once (by {ports.source})"
            )
        if self["admin"]:
            from ..admin.admin_server import require_usable  # which most servers do not need

            require_usable(self["admin"], self["admin-allow"])
        if self.pop("print-config", False):
            _settings(self)  # which checks it
            if isinstance(sys.stdout, TextIOWrapper):  # it is TOML in any locale
                sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
            sys.stdout.write(option_table.to_toml(chosen))
            raise SystemExit(0)
        parent: MutableMapping[str, Any] = getattr(self, "parent", None) or {}
        self["pid_file"] = parent.get("pidfile") and os.path.abspath(parent["pidfile"])
        self._refuse_streams_of_a_daemon(parent)
        if is_successor():
            skip_what_is_done(parent)
        elif "pidfile" in parent:
            parent["pidfile"] = ""  # it is looked at and written by us
        locate_log(parent)
        self["log_file"] = log_file(parent)
        self["is_jailed"] = bool(parent.get("chroot"))
        self["detaches"] = not parent.get("nodaemon", True)
        if self.get("check"):
            only_look(parent)

    def _refuse_streams_of_a_daemon(self, parent: Mapping[str, Any]) -> None:
        if is_successor() or parent.get("nodaemon", True):
            return
        named = {"--access-log": self["access-log"], "--logfile": parent.get("logfile") or ""}
        for option, path in named.items():
            if number_of(canonical(path, os.getcwd())) in (0, 1, 2):
                raise UsageError(f"{option}: a daemon has no standard output; name a file")


for _option in OPTIONS:
    if _option.repeatable:
        setattr(Options, f"opt_{_option.key}", _method(_option))


def makeService(options: Options) -> IService:
    """The service that the options describe, with its sockets bound; with ``--check`` a `Check`.

    Raises:
        SystemExit: something cannot be loaded or bound; the text says what.
    """
    sys.path.insert(0, os.getcwd())
    if options["reload"]:
        # Python takes a .pyc for current if the source has its size and second of modification.
        sys.dont_write_bytecode = True
    if is_successor() and options["log_file"]:
        keep_words()
    for sentence in option_table.unknown_variables(os.environ):
        _log.warn("{sentence}; it is ignored", sentence=sentence)
    try:
        # Before an application is imported, which may change the directory.
        launch = Launch.of_this_process(
            os.environ, twistd_is_told=True, detaches=options["detaches"]
        )
        chosen = located(_settings(options), launch.directory)
        is_master = chosen.workers and not (is_worker() or options.get("check"))
        servers = _servers(options, chosen, launch.directory, _name if is_master else load)
        if not is_successor():
            check_writable(options["log_file"])
            if options["pid_file"] and not options.get("check"):
                if not options["is_jailed"]:  # else it is another path that is written
                    require_writable(options["pid_file"])
                require_free(options["pid_file"])
        if options.get("check"):
            return _check(options, chosen, servers)
        service = _service(options, servers, launch)
        service.open()
    except GracefulError as error:
        raise SystemExit(_said(error)) from None
    return service


def _settings(options: Options) -> Settings:
    try:
        return Settings(**{each.name: options[option_name(each)] for each in fields(Settings)})
    except SettingsError as error:  # each is accepted, but not with the others
        name = error.name.replace("_", "-")
        raise ConfigError(
            f"--{name}: {error.given!r} (from {options.sources[name]}) is not accepted; "
            f"it must be {error.accepted}"
        ) from None


def _said(error: BaseException) -> str:
    """What is wrong; if it is in the application's own code, its traceback has been printed."""
    if isinstance(error, SettingsError):  # by the name that it has on the command line
        return f"twistd graceful: --{error.name.replace('_', '-')}{str(error)[len(error.name) :]}"
    if not isinstance(error, AppError):
        return f"twistd graceful: {error}"
    if error.inside:
        traceback.print_exception(_of_the_application(error))
    return f"twistd graceful: --app {error}"


def _name(name: str) -> str:
    """A name, in the place of an application that this process does not load."""
    return name


def _servers(
    options: Options, settings: Settings, directory: str, load: Callable[[str], Any]
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


def _check(options: Options, settings: Settings, servers: list[Server]) -> Check:
    out, err = sys.stdout, sys.stderr  # twistd puts its log in their place

    def report(error: BaseException | None) -> None:
        if error is None:
            names = ", ".join(options["app"]) or "a welcome page"
            out.write(f"twistd graceful: {names}: can be served\n")
        else:
            with redirect_stderr(err):
                err.write(f"{_said(error)}\n")

    for path in (options["log_file"], settings.access_log):
        check_writable(path)
    check = Check(*servers, timeout=settings.upgrade_timeout, report=report)
    check.open()
    for server in servers:
        for warning in server.listening.certificate_warnings:
            err.write(f"twistd graceful: warning: {warning}\n")
    return check


def _service(options: Options, servers: list[Server], launch: Launch) -> GracefulService:
    service = serving(
        *servers,
        signals=True,
        pid_file=options["pid_file"],
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
        return service  # the master does for all what follows
    if options["reload"]:
        watch = watch_source(options["app"], options["config"])
        Reload(global_reactor(), watch, service.upgrade, service.is_accepting).setServiceParent(
            service
        )
    return service


def _of_the_application(error: AppError) -> BaseException:
    """The application's own exception, without the frames of how we came to import it."""
    cause = error.__cause__ or error
    frames = cause.__traceback__
    while frames is not None and _LOADERS.search(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return cause.with_traceback(frames)
