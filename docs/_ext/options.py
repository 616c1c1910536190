"""``.. options::``, every option of ``twistd graceful``, from the table that all is made of."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from twisted_graceful.config import options, process_settings, server_settings
from twisted_graceful.config.option_types import Flag
from twisted_graceful.config.options import OPTIONS, Option
from twisted_graceful.config.settings import Settings


def reasons() -> dict[str, str]:
    """The comment above each setting, which says why its default is what it is."""
    found = {}
    for module in (server_settings, process_settings):
        source = inspect.getsource(module)
        lines = source.splitlines()
        for each in ast.walk(ast.parse(source)):
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                found[each.target.id] = " ".join(_comment_of(lines, each))
    return found


def _comment_of(lines: list[str], field: ast.AnnAssign) -> list[str]:
    """The comment above a field, or the one where its default is written."""
    above = []
    for line in reversed(lines[: field.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.append(line)
    within = [each for each in lines[field.lineno : field.end_lineno] if each.strip()[:1] == "#"]
    return [each.strip().lstrip("# ") for each in [*reversed(above), *within]]


def described(option: Option, reason: str) -> Iterator[str]:
    """The lines of an option, as reStructuredText."""
    is_flag = isinstance(option.kind, Flag)
    value = "" if is_flag else f" <{option.kind.unit}>"
    yield f".. option:: --{option.name}{value}"
    yield ""
    yield f"   {_sentence(option)}"
    yield ""
    yield f"   | Default: {_default(option)}.{f' {_plain(reason)}' if reason else ''}"
    yield f"   | Accepts {_plain(str(option.kind))}{_each(option)}."
    names = [f"Variable ``{option.variable}``", f"TOML key ``{option.name}``"]
    if option.key in {each.name for each in fields(Settings)}:
        names.append(f"in programs ``new(..., {option.key}=...)``")
    yield f"   | {', '.join(names)}."
    yield ""


def _sentence(option: Option) -> str:
    text = option.help
    if option.repeatable:  # of those that are settings too, the help begins with the unit
        text = text.removeprefix(f"{option.kind.unit}: ")
    text = text[0].upper() + text[1:]
    return _plain(text if text.endswith(".") else f"{text}.")


def _each(option: Option) -> str:
    return "; can be repeated, and is a list in TOML" if option.repeatable else ""


def _default(option: Option) -> str:
    if option.otherwise:
        return option.otherwise
    if isinstance(option.kind, Flag):
        return "off"
    return f"``{option.default}``" if option.default != "" else "none"


def _plain(text: str) -> str:
    """Text that has no markup; names of options in it become links."""
    text = re.sub(r"([*`|\\])", r"\\\1", text).replace("\\`", "``")
    return re.sub(r"(?<![-\w])--([a-z][a-z-]*[a-z])", r":option:`--\1`", text)


class Options(SphinxDirective):
    """All options, in the order of the table."""

    def run(self) -> list[nodes.Node]:
        """Make them."""
        for module in (server_settings, process_settings, options):
            self.env.note_dependency(module.__file__)
        why = reasons()
        lines = [line for each in OPTIONS for line in described(each, why.get(each.key, ""))]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("options", Options)
    return {"parallel_read_safe": True}
