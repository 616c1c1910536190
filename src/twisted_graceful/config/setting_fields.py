"""How a setting is declared: a dataclass field with a type, a default and a help text."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, TypeVar

from ..errors import SettingsError
from .option_types import ListOf, Number, OptionType, Size, check

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


def setting(kind: OptionType, default: T, help: str) -> T:
    """A field that the command line, the documentation and the checks are all made from."""
    return field(default=default, metadata={"kind": kind, "help": help})


def seconds(default: float, help: str, *, minimum: float = 0) -> float:
    """A field that holds a duration."""
    return setting(Number("seconds", minimum, whole=False), default, help)


def count(default: int, unit: str, help: str, *, minimum: int = 0) -> int:
    """A field that holds a whole number of something."""
    return setting(Number(unit, minimum), default, help)


def size(default: int, help: str, *, minimum: int = 0) -> int:
    """A field that holds a number of bytes."""
    return setting(Size("bytes", minimum), default, help)


def kind_of(setting: Field[object]) -> OptionType:
    """What values a setting takes."""
    kind: OptionType = setting.metadata["kind"]
    return kind


@dataclass(frozen=True, kw_only=True)
class CheckedSettings:
    """The base of dataclasses whose fields are settings: each value is checked."""

    def __post_init__(self) -> None:
        for each in fields(self):
            kind = kind_of(each)
            if isinstance(kind, ListOf):
                object.__setattr__(self, each.name, kind.gather(getattr(self, each.name)))
            check(each.name, kind, getattr(self, each.name))

    @classmethod
    def of(cls, chosen: Mapping[str, object]) -> Self:
        """Settings from names and values.

        Raises:
            SettingsError: there is no such setting, or its value is out of range.
        """
        names = [each.name for each in fields(cls)]
        for name, value in chosen.items():
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                raise SettingsError(
                    name,
                    value,
                    f"a setting; did you mean {close[0]}?"
                    if close
                    else "one of " + ", ".join(names),
                )
        return cls(**chosen)
