"""The types of options: how their values are parsed, checked and printed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from .. import address
from ..address import ListenAddress
from ..errors import GracefulError, SettingsError
from ..networks import Networks

MAXIMUM = 2**31 - 1
"""The largest value of any number: what fits a C ``int``."""

AUTO = "auto"
"""The number of workers that means one for each processor that this process may use."""


class OptionType(Protocol):
    """The values that a setting takes; ``str()`` of it describes them to users."""

    @property
    def unit(self) -> str:
        """The unit of the value, or a noun for it, for the help."""

    def parse(self, text: str) -> object:
        """Parse a value.

        Raises:
            ValueError: the text is not one.
        """

    def accepts(self, value: object) -> bool:
        """Whether this is a value of this type, in range.

        Raises:
            ValueError: it is not; the text says which part of it is wrong, and how.
        """


@dataclass(frozen=True)
class Number:
    """A number, with its unit and its bounds.

    Args:
        unit: what is counted.
        minimum: the smallest value.
        whole: whether only integers are accepted.
        maximum: the largest value.
    """

    unit: str
    minimum: float = 0
    whole: bool = True
    maximum: float = MAXIMUM

    def parse(self, text: str) -> float:
        """Parse a number."""
        return int(text) if self.whole else float(text)

    def accepts(self, value: object) -> bool:
        """Whether it is a number in range."""
        # A bool is an int to Python and a mistake here; NaN fails the comparison.
        return (
            isinstance(value, int if self.whole else (int, float))
            and not isinstance(value, bool)
            and self.minimum <= value <= self.maximum
        )

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} of {self.unit}, {self.minimum:g} or more, and {self.maximum} at most"


class Size(Number):
    """A number of bytes, which may be written with a binary prefix (IEC 80000-13)."""

    _TEXT = re.compile(r"([0-9]+) ?(?:([KMG])(?:i?B)?)?", re.IGNORECASE)
    _PREFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

    def parse(self, text: str) -> int:
        """Parse ``1048576``, ``1024KiB``, ``1 MiB`` or ``1M``."""
        match = self._TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(text)
        return int(match[1]) * self._PREFIXES[(match[2] or "").upper()]

    def __str__(self) -> str:
        return f"{super().__str__()}; KiB, MiB and GiB are understood"


@dataclass(frozen=True)
class WorkerCount(Number):
    """A number of processes, or as many as there are processors."""

    unit: str = "processes"

    def parse(self, text: str) -> Any:
        """Parse a number or ``auto``."""
        return AUTO if text == AUTO else super().parse(text)

    def accepts(self, value: object) -> bool:
        """Whether it is a number in range, or ``auto``."""
        return value == AUTO or super().accepts(value)

    def __str__(self) -> str:
        return f"{super().__str__()}, or {AUTO}"


class Permissions(int):
    """File permissions, written in octal."""

    def __str__(self) -> str:
        return f"{self:o}"

    __repr__ = __str__


@dataclass(frozen=True)
class FileMode:
    """The permissions of a file (chmod(1))."""

    unit: str = "octal"

    def parse(self, text: str) -> int:
        """Parse ``660`` or ``0o660``."""
        return Permissions(text, 8)

    def accepts(self, value: object) -> bool:
        """Whether these are permissions; 660 in decimal is not."""
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o777

    def __str__(self) -> str:
        return 'permissions in octal, such as 660; in a program 0o660, in a TOML file "660"'


@dataclass(frozen=True)
class Flag:
    """On or off; off by default."""

    unit: str = "flag"

    def parse(self, text: str) -> bool:
        """Parse a word for on or off."""
        return _WORDS[text.lower()]

    def accepts(self, value: object) -> bool:
        """Whether it is a bool."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false, on or off, yes or no, 1 or 0"


_WORDS = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}


@dataclass(frozen=True)
class Text:
    """A text.

    Args:
        unit: what it is.
        choices: the accepted texts; empty for any text.
    """

    unit: str
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> str:
        """Return the text itself."""
        return text

    def accepts(self, value: object) -> bool:
        """Whether it is a text, and one of the choices."""
        return isinstance(value, str) and (not self.choices or value in self.choices)

    def __str__(self) -> str:
        return " or ".join(self.choices) or f"a text, {self.unit}"


@dataclass(frozen=True)
class BindAddress:
    """An address to listen on."""

    unit: str = "address"

    def parse(self, text: str) -> ListenAddress:
        """Parse an address.

        Raises:
            AddressError: the text is not one.
        """
        return address.parse(text)

    def accepts(self, value: object) -> bool:
        """Whether it is an address."""
        return isinstance(value, ListenAddress)

    def __str__(self) -> str:
        return address.ACCEPTED


@dataclass(frozen=True)
class FilePath(Text):
    """A text that is the path of a file."""


@dataclass(frozen=True)
class NetworkList(Text):
    """A list of networks, as `Networks` parses it."""

    def accepts(self, value: object) -> bool:
        """Whether each part of the text is an address or a network."""
        if not isinstance(value, str):
            return False
        Networks.parse(value)
        return True

    def __str__(self) -> str:
        return "addresses and networks such as 10.0.0.0/8, separated by commas, or * for any"


@dataclass(frozen=True)
class HostName(Text):
    """A host name; with a leading dot, a domain."""

    _FORM = re.compile(r"\.?(?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?", re.IGNORECASE)

    def accepts(self, value: object) -> bool:
        """Whether it is a bare name, without scheme, port or wildcard."""
        return isinstance(value, str) and self._FORM.fullmatch(value) is not None

    def __str__(self) -> str:
        return "a host name without port, such as app or app.example.com; .example.com for a domain"


@dataclass(frozen=True)
class RequestTarget(Text):
    """A path with its query, or a URL with a path, percent-encoded (RFC 9110 section 4)."""

    # A fragment is never sent (RFC 9110 section 4.2.5).
    _FORM = re.compile(r"""(?:https?://[!-"$-.0-~]+)?/[!-"$-~]*""")

    def accepts(self, value: object) -> bool:
        """Whether it is a text of this form."""
        return isinstance(value, str) and self._FORM.fullmatch(value) is not None

    def __str__(self) -> str:
        return "a path such as /health, or a URL such as http://example.com/health, percent-encoded"


@dataclass(frozen=True)
class ListOf:
    """Several values of one type, in order; the value is a tuple.

    Args:
        each: the type of each value.
    """

    each: OptionType

    @property
    def unit(self) -> str:
        """The unit of each value."""
        return self.each.unit

    def parse(self, text: str) -> tuple[object, ...]:
        """Parse values separated by white space."""
        return tuple(map(self.each.parse, text.split()))

    def gather(self, value: object) -> object:
        """Make a tuple of one value or a sequence of them."""
        return tuple(value) if isinstance(value, (list, tuple)) else (value,)

    def accepts(self, value: object) -> bool:
        """Whether it is a tuple of accepted values.

        Raises:
            ValueError: one value is not accepted; the text names it.
        """
        for each in value if isinstance(value, tuple) else ():
            if not self.each.accepts(each):
                raise ValueError(f"not {each!r}")
        return isinstance(value, tuple)

    def __str__(self) -> str:
        return f"one or several, each {self.each}"


def parse(name: str, kind: OptionType, text: str) -> object:
    """Parse a value of some type.

    Args:
        name: the name of the setting, for the error.
        kind: the type.
        text: what a user wrote.

    Raises:
        SettingsError: the text is not a value of the type, or out of range.
        GracefulError: the same, from a type whose own error says more.
    """
    try:
        value = kind.parse(text)
    except GracefulError:
        raise
    except (ValueError, LookupError):
        raise SettingsError(name, text, str(kind)) from None
    check(name, kind, value)
    return value


def check(name: str, kind: OptionType, value: object) -> None:
    """Require that a value is of some type.

    Args:
        name: the name of the setting, for the error.
        kind: the type.
        value: the value.

    Raises:
        SettingsError: the value has another type, or is out of range.
    """
    accepted = str(kind)
    try:
        if kind.accepts(value):
            return
    except ValueError as error:
        accepted += f": {error}"
    raise SettingsError(name, value, accepted)
