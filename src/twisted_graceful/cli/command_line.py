"""The command line of ``twistd graceful``."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper

from twisted.python import usage
from twisted.python.usage import UsageError

from ..config import options as option_table
from ..config import toml_file
from ..config.option_types import FilePath, Flag, Text
from ..config.options import CONFIG, OPTIONS, Chosen, Option
from ..errors import ConfigError, GracefulError
from ..process.host.streams import canonical, number_of, open_missing
from ..process.twistd import TwistdContext, TwistdOptions, prepare_check
from ..process.upgrade.launch import working_directory


def _coerce(option: Option) -> Callable[[str], object]:
    """The function that parses a value, for `optParameters`."""

    def coerce(text: str) -> object:
        try:
            return option.read(text, f"--{option.name}")
        except ConfigError as error:
            raise UsageError(str(error)) from None

    return coerce


def _parameter(option: Option) -> list[object]:
    """A row of `optParameters`."""
    return [option.name, None, option.default, option.description, _coerce(option)]


def _method(option: Option) -> Callable[[Options, str], None]:
    """The method ``opt_NAME`` of a repeatable option."""
    coerce = _coerce(option)

    def opt(self: Options, text: str) -> None:
        self[option.name] = (*self.get(option.name, ()), coerce(text))

    opt.__doc__ = f"{option.help} Repeatable. [default: {option.otherwise}]"
    return opt


def _is_flag(option: Option) -> bool:
    return isinstance(option.kind, Flag)


def _completer(option: Option) -> usage.Completer:
    """How a shell completes the value."""
    kind = option.kind
    if isinstance(kind, FilePath):
        return usage.CompleteFiles()
    if isinstance(kind, Text) and kind.choices:
        return usage.CompleteList(kind.choices)
    return usage.Completer(descr=kind.unit)  # which only describes what to type


class Options(usage.Options):
    """The options of ``twistd graceful``.

    When it has been parsed, it maps the name of each option to its value.

    Attributes:
        chosen: the same values with their sources.
        twistd: what twistd's own options say.
    """

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
        # --help shows docstrings; their indentation must not show.
        self.docs = {name: " ".join((text or "").split()) for name, text in self.docs.items()}
        # Only --help uses these.
        self.defaults = {name: "none" if it == "" else it for name, it in self.defaults.items()}
        self.clear()  # so that only what was given is in here after parsing

    def opt_version(self) -> None:
        """Print the versions of twisted-graceful and Twisted, and exit."""
        from importlib.metadata import version

        sys.stdout.write(f"twisted-graceful {version('twisted-graceful')}\n")
        super().opt_version()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse a command line.

        Raises:
            SystemExit: something is wrong. (For a UsageError Twisted prints the whole help, in
                which the one line that matters is lost.)
        """
        try:
            super().parseOptions(options)
        except (UsageError, GracefulError) as error:
            text = f"{error}{self._suggestion(str(error))}"
            raise SystemExit(
                f"twistd graceful: {text}\n`twistd graceful --help` lists the options"
            ) from None

    def _suggestion(self, error: str) -> str:
        """A hint at the option that an unknown one resembles most; empty if there is none."""
        unknown = re.fullmatch("option --(.*) not recognized", error)
        names = [name.rstrip("=") for name in self.longOpt]
        close = difflib.get_close_matches(unknown[1], names, n=1) if unknown else []
        return f"; did you mean --{close[0]}?" if close else ""

    def parseArgs(self, *names: str) -> None:
        """Refuse arguments that are not options."""
        if names:
            [name, *_] = names
            hint = (
                f"did you mean --app {name}?"
                if "." in name or ":" in name
                else "a value with a space in it must be quoted"
            )
            raise UsageError(f"{name!r} is no option; {hint}")

    def postOptions(self) -> None:
        """Add the options from other sources, check all, and change what twistd itself will do."""
        open_missing()  # before anything else is opened
        working_directory(os.environ)  # an error says which one has been removed
        self.chosen = self._read_sources(os.environ)
        self.update((name, each.value) for name, each in self.chosen.items())
        _require_one_app_for_each_port(self.chosen["port"], self.chosen["app"])
        if self["admin"]:
            from ..admin.admin_server import require_usable  # which most servers do not need

            require_usable(self["admin"], self["admin-allow"])
        if self.pop("print-config", False):
            _print(self.chosen)
            raise SystemExit(0)
        self["check"] = bool(self.get("check"))
        twistd: TwistdOptions = getattr(self, "parent", None) or {}
        self.twistd = TwistdContext.take_over(twistd)
        if self.twistd.detaches:
            for option, path in (
                ("--access-log", self["access-log"]),
                ("--logfile", twistd.get("logfile") or ""),
            ):
                if number_of(canonical(path, os.getcwd())) in (0, 1, 2):
                    raise UsageError(f"{option}: a daemon has no standard output; name a file")
        if self["check"]:
            prepare_check(twistd)

    def _read_sources(self, environ: Mapping[str, str]) -> dict[str, Chosen]:
        """The value of each option, with the source that it comes from.

        Raises:
            ConfigError: something in a source is wrong.
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
        return option_table.effective(*sources)


for _option in OPTIONS:
    if _option.repeatable:
        setattr(Options, f"opt_{_option.key}", _method(_option))


def _require_one_app_for_each_port(ports: Chosen, apps: Chosen) -> None:
    """Refuse ports and applications that do not go together.

    Raises:
        UsageError: the numbers do not match, or a port was given twice.
    """
    if len(apps.value) not in (0, 1, len(ports.value)):
        raise UsageError(
            f"--app was given {len(apps.value)} times (by {apps.source}) and "
            f"--port {len(ports.value)} times (by {ports.source}): "
            "give one --app for all ports, or as many as there are ports"
        )
    names = [port.name for port in ports.value]
    taken = [port for port in ports.value if port.is_one_place and names.count(port.name) > 1]
    if taken:
        raise UsageError(f"--port: {str(taken[0])!r} was given more than once (by {ports.source})")


def _print(chosen: Mapping[str, Chosen]) -> None:
    """Print the configuration as TOML.

    Raises:
        ConfigError: with these settings no server could start.
    """
    option_table.settings_of(chosen)
    if isinstance(sys.stdout, TextIOWrapper):  # it is TOML in any locale
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    sys.stdout.write(option_table.to_toml(chosen))
