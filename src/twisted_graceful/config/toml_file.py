"""Read the TOML file. Imports little, since gracefulctl, which must start fast, uses it too."""

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
    """Split a list that is separated by commas or white space."""
    return text.replace(",", " ").split()


def read(path: str, where: str = "") -> str:
    """The text of a file, without a byte order mark.

    Args:
        path: the path of the file.
        where: where the path was given, for errors.

    Raises:
        ConfigError: the file cannot be read, or is not UTF-8.
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
"""The tables that may have our keys: in a file of our own, and in pyproject.toml."""


def table(text: str, path: str) -> tuple[str, Mapping[str, object]]:
    """The table that has our keys: its name and its contents.

    Args:
        text: TOML.
        path: the path of the file, for errors.

    Raises:
        ConfigError: the text is not TOML, or does not have exactly one such table.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from None
    found: list[tuple[str, Any]] = []
    for keys in _TABLES:
        inner: object = document
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if inner is not None:
            found.append((".".join(keys), inner))
    names = " or ".join(f"[{'.'.join(keys)}]" for keys in _TABLES)
    if len(found) != 1 or not isinstance(found[0][1], dict):
        raise ConfigError(f"{path}: it must have one table, {names}")
    return found[0]
