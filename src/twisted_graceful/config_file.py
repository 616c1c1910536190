"""What a file and a variable say, as text. Light, for programs that must start fast."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def listed(text: str) -> list[str]:
    """The values of a variable that has several, separated by commas or white space."""
    return text.replace(",", " ").split()


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
