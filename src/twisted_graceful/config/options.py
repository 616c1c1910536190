"""The table of options, and their values from the command line, the environment and a file.

The command line, its help and completion, the names of variables and TOML keys, and the output of
``--print-config`` are all made from `OPTIONS`. Nothing here reads the environment or a file: both
are passed in.
"""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from .. import address
from ..errors import ConfigError, GracefulError, SettingsError
from . import toml_file
from .option_types import (
    BindAddress,
    FileMode,
    Flag,
    HostName,
    ListOf,
    NetworkList,
    OptionType,
    Permissions,
    Text,
    parse,
)
from .process_settings import ProcessSettings
from .server_settings import ServerSettings
from .setting_fields import kind_of
from .settings import Settings

PREFIX = "GRACEFUL_"
CONFIG = f"{PREFIX}CONFIG"
"""The environment variable that names the TOML file."""


@dataclass(frozen=True)
class Option:
    """An option: a row of the table of all that can be configured.

    Args:
        key: its name in Python; that of the setting if it is one.
        kind: the type of its value; of each value if it is repeatable.
        default: its value when it is given nowhere.
        help: a sentence.
        repeatable: whether it can be given several times; its value is a tuple then.
        otherwise: the default in words, for a repeatable option.
    """

    key: str
    kind: OptionType
    default: object
    help: str
    repeatable: bool = False
    otherwise: str = ""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return option_name(self.key)

    @property
    def description(self) -> str:
        """The help; it begins with the unit if the option takes a value."""
        said_already = self.repeatable or isinstance(self.kind, Flag)
        return self.help if said_already else f"{self.kind.unit}: {self.help}"

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return PREFIX + self.key.upper()

    def read(self, given: object, where: str) -> object:
        """Parse one value.

        Args:
            given: the text, or, from TOML, a number or bool.
            where: where it was given, for the error.

        Raises:
            ConfigError: the value is not accepted; the text says where it was given, and what is.
        """
        try:
            # A number is not a name, and does not show whether it was written in octal.
            is_text = isinstance(self.kind, (FileMode, Text))
            if not isinstance(given, str if is_text else (str, int, float)):
                raise SettingsError(self.name, given, str(self.kind))
            return parse(self.name, self.kind, str(given))
        except SettingsError as error:
            raise ConfigError(
                f"{where}: {given!r} is not accepted; it must be {error.accepted}"
            ) from None
        except GracefulError as error:
            raise ConfigError(f"{where}: {error}") from None

    def read_all(self, given: object, where: str) -> object:
        """Parse the value, or, if the option is repeatable, a list of values.

        Raises:
            ConfigError: as for `read`.
        """
        if not self.repeatable:
            return self.read(given, where)
        each = given if isinstance(given, list) else [given]
        return tuple(self.read(one, where) for one in each) or self.default


def option_name(key: str) -> str:
    """The name that a setting has on the command line, in the TOML file and in errors."""
    return key.replace("_", "-")


def _of_setting(setting: Field[object]) -> Option:
    name, kind, help = setting.name, kind_of(setting), setting.metadata["help"]
    if isinstance(kind, ListOf):
        help = f"{kind.unit}: {help}."
        return Option(name, kind.each, setting.default, help, repeatable=True, otherwise="none")
    return Option(name, kind, setting.default, help)


def _of_settings() -> Iterator[Option]:
    """An option for each setting; those of the process stand before the warm-up."""
    for each in fields(ServerSettings):
        if each.name == "warm_up":
            yield from map(_of_setting, fields(ProcessSettings))
        yield _of_setting(each)


OPTIONS = (
    Option(
        "port",
        BindAddress(),
        (address.parse(8080),),
        "Where to listen: 8080, :8080, 127.0.0.1:8080, localhost:3000, [::1]:8080; port 0 "
        "for any free port; unix:/run/app.sock, or unix:@name for an abstract socket. With https: "
        "before it it speaks TLS, with http: it does not, with neither it does if there is a "
        "--tls-cert.",
        repeatable=True,
        otherwise="8080",
    ),
    Option(
        "app",
        Text("name"),
        (),
        "What to serve: package.module.attribute or package.module:attribute. It names an "
        "IResource, a Klein app, a WSGI callable, or a function or class that returns one. "
        "The n-th is served on the n-th port, a single one on all.",
        repeatable=True,
        otherwise="a welcome page",
    ),
    Option("wsgi", Flag(), False, "The applications are WSGI callables, whatever they look like."),
    Option(
        "reload",
        Flag(),
        False,
        "For development: upgrade when a Python file changes, or the --config. Needs the "
        "extra `reload`.",
    ),
    Option(
        "admin",
        BindAddress(),
        (),
        "Where health, readiness, metrics and status are served: 127.0.0.1:9000, or "
        "unix:/run/admin.sock, which is its owner's only and also takes actions.",
        repeatable=True,
        otherwise="nowhere",
    ),
    Option(
        "admin_allow",
        NetworkList("addresses"),
        "",
        "which other machines may ask there: addresses and networks, separated by commas; *: any",
    ),
    Option(
        "admin_host",
        HostName("name"),
        (),
        "A name under which they may ask, as in http://NAME:9000/metrics, beside addresses and "
        "localhost; .example.com for all names of that domain.",
        repeatable=True,
        otherwise="none",
    ),
    *_of_settings(),
)
"""Every option that configures something; not those that only print, such as --help."""


@dataclass(frozen=True)
class Chosen:
    """The value of an option, and where it comes from, in words."""

    value: Any
    source: str


def from_command_line(given: Mapping[str, object]) -> dict[str, Chosen]:
    """The options on the command line, whose values have been parsed."""
    return {name: Chosen(value, "the command line") for name, value in given.items()}


def from_environment(environ: Mapping[str, str]) -> dict[str, Chosen]:
    """The options in the environment.

    An empty variable counts as unset: compose files and unit files make it so when they pass on a
    variable that their own environment does not have.

    Args:
        environ: the environment. Several values are separated by commas or white space.

    Raises:
        ConfigError: a value is not accepted; the text names the variable.
    """
    chosen = {}
    for option in OPTIONS:
        given = environ.get(option.variable, "").strip()
        if given:
            source = f"the environment variable {option.variable}"
            texts = toml_file.listed(given) if option.repeatable else given
            chosen[option.name] = Chosen(option.read_all(texts, source), source)
    return chosen


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that has our prefix but is not an option."""
    known = [each.removeprefix(PREFIX) for each in (*(o.variable for o in OPTIONS), CONFIG)]
    ours = (name.removeprefix(PREFIX) for name in sorted(environ) if name.startswith(PREFIX))
    return [
        f"the environment variable {PREFIX}{name} is no option of ours"
        f"{_suggestion(name, known, PREFIX)}"
        for name in ours
        if name not in known
    ]


def from_file(text: str, path: str) -> dict[str, Chosen]:
    """The options in a TOML file.

    Args:
        text: TOML with a table ``[graceful]`` or ``[tool.graceful]``. Its keys are names of
            options, with hyphens or underscores; a repeatable one has a list.
        path: the path of the file, for errors.

    Raises:
        ConfigError: it is not TOML, does not have exactly one such table, or has an unknown key or
            a value that is not accepted.
    """
    name, table = toml_file.table(text, path)
    options = {option.name: option for option in OPTIONS}
    chosen: dict[str, Chosen] = {}
    for key, given in table.items():
        where = f"{path}: [{name}] {key}"
        option = options.get(option_name(key))
        if option is None:
            raise ConfigError(f"{where}: there is no such option{_suggestion(key, options)}")
        if option.name in chosen:
            raise ConfigError(f"{where}: it is there twice, with - and with _")
        chosen[option.name] = Chosen(option.read_all(given, where), path)
    return chosen


def _suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def for_development() -> dict[str, Chosen]:
    """Other defaults for ``--reload``, so that the next change does not have to wait.

    Requests in flight still have a few seconds. An event stream in a browser never ends by itself,
    and in development new code often dies just after it was ready.
    """
    defaults = {"drain-timeout": 5, "probation": 0}
    return {name: Chosen(value, "--reload") for name, value in defaults.items()}


def effective(*sources: Mapping[str, Chosen]) -> dict[str, Chosen]:
    """The value of every option, in the order of the table.

    Args:
        sources: in order of precedence, highest first.
    """
    chosen = {option.name: Chosen(option.default, "the default") for option in OPTIONS}
    for source in reversed(sources):
        chosen.update(source)
    return chosen


def settings_of(chosen: Mapping[str, Chosen]) -> Settings:
    """The settings among the options.

    Raises:
        ConfigError: the settings contradict each other; the text names the source of one of them.
    """
    try:
        return Settings(
            **{each.name: chosen[option_name(each.name)].value for each in fields(Settings)}
        )
    except SettingsError as error:
        name = option_name(error.name)
        raise ConfigError(
            f"--{name}: {error.given!r} (from {chosen[name].source}) is not accepted; "
            f"it must be {error.accepted}"
        ) from None


def to_toml(chosen: Mapping[str, Chosen]) -> str:
    """The options as a TOML file: each value with its source and the help of the option."""
    entries = [
        "\n".join(
            [
                *textwrap.wrap(option.description, 94, initial_indent="# ", subsequent_indent="# "),
                f"# From {chosen[option.name].source}.",
                f"{option.name} = {_toml(chosen[option.name].value)}",
            ]
        )
        for option in OPTIONS
    ]
    return "\n\n".join(["[graceful]", *entries]) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)) and not isinstance(value, Permissions):
        # 5 and 5.0 print alike, so that printing a printed file changes nothing.
        return repr(int(value) if value == int(value) else value)
    # A TOML basic string is a JSON string, except that it must not contain DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
