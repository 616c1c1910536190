"""What a file and a variable say, as text. Light, for programs that must start fast."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def listed(text: str) -> list[str]:
    """The values of a variable that has several, separated by commas or white space."""
    return text.replace(",", " ").split()


def read(path: str, where: str = "") -> str:
    """The text of a file, without the byte order mark that it may start with.

    Args:
        path: of the file.
        where: where the path was given, for errors.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8, as TOML is.
    """
    named = f"{where}: {path!r}" if where else repr(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"{named} cannot be read: {error.strerror}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise ConfigError(
            f"{named} is not UTF-8 but probably UTF-16, which PowerShell writes: save it as UTF-8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{named} is not UTF-8: save it as UTF-8. The first byte that is not is "
            f"0x{data[error.start]:02x}, in line {line}"
        ) from None


_TABLES = (("graceful",), ("tool", "graceful"))
"""Where the file has our keys: a file of our own, and pyproject.toml."""


def table(text: str, path: str) -> tuple[str, Mapping[str, Any]]:
    """Our table, and its name.

    Args:
        text: TOML.
        path: of the file, for errors.

    Raises:
        ConfigError: it is no TOML, or has no such table or two.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from None
    found: list[tuple[str, Any]] = []
    for keys in _TABLES:
        inner: Any = document
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if inner is not None:
            found.append((".".join(keys), inner))
    names = " or ".join(f"[{'.'.join(keys)}]" for keys in _TABLES)
    if len(found) != 1 or not isinstance(found[0][1], dict):
        raise ConfigError(f"{path}: it must have one table, {names}")
    return found[0]
