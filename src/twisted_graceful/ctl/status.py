"""Formats any JSON object for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..json_object import JsonObject
from .events import printable

_LABELS = {
    "age": "age (s)",
    "bound": "bound to",
    "bucket": "requests by duration (s, up to)",
    "code": "code (reloads before its start)",
    "doing": "state",
    "drain_seconds": "duration of drains (s)",
    "draining": "draining for (s)",
    "handed_over": "connections handed over",
    "in_flight": "requests in flight",
    "is_over": "finished",
    "limits": "limits hit",
    "log_lines_lost": "lost log lines",
    "received": "request bodies (bytes)",
    "report_failures": "failed reports on connections",
    "rolling_restart": "rolling restart",
    "rolls": "rolling restarts",
    "rss": "memory (bytes)",
    "seconds": "duration of requests (s)",
    "sent": "response bodies (bytes)",
    "told_to_close": "connections told to close",
    "unanswered": "requests not answered by the application",
    "uptime": "uptime (s)",
    "wanted": "total",
    "warm_up": "warm-up request",
    "workers_wanted": "target workers",
}
"""What is shown instead of a name, with its unit; other names are shown as they are."""


def lines(status: JsonObject, indent: str = "") -> Iterator[str]:
    """A status in lines: what is simple first, tables of what there are several of below.

    Nothing here knows which numbers a server tells, so it shows those of any version.
    """
    status = _grouped(status)
    simple = {key: value for key, value in status.items() if not _is_nested(value)}
    width = max((len(_label(key)) for key in simple), default=0)
    for key, value in simple.items():
        yield f"{indent}{_label(key):{width}}  {text(value)}"
    for key, value in status.items():
        if isinstance(value, Mapping):
            if value:
                yield f"{indent}{_label(key)}"
                yield from lines(value, indent + "    ")
        elif _is_nested(value):
            yield f"{indent}{_label(key)}"
            yield from (f"{indent}    {line}" for line in table(value))


def table(rows: Sequence[JsonObject]) -> Iterator[str]:
    """Objects of one kind, below each other; what there are several of in one of them follows."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    nested = [each for each in names if any(_is_list_of_objects(row.get(each)) for row in rows)]
    columns = [each for each in names if each not in nested]
    cells = [[_label(each) for each in columns]]
    cells += [[text(row.get(each)) for each in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    for one in rows:
        for name in (each for each in nested if one.get(each)):
            whose = "".join(f" of {_label(each)} {text(one.get(each))}" for each in columns[:1])
            yield f"{_label(name)}{whose}"
            yield from (f"    {line}" for line in table(one[name]))


def text(value: object) -> str:
    """A value; of what is nested here, the simple parts."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(key)} {text(each)}" for key, each in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value)) or "-"
    return printable(str(value), spaces="") or "-"


def _grouped(status: JsonObject) -> JsonObject:
    """The same with one text for all numbers of one name, such as ``requests,GET,2xx``, but 0."""
    grouped: dict[str, object] = {}
    numbers: dict[str, list[str]] = {}
    for key, value in status.items():
        name, comma, kind = key.partition(",")
        if not comma:
            grouped[key] = value
            continue
        grouped.setdefault(name, None)
        if value:
            numbers.setdefault(name, []).append(f"{_label(kind.replace(',', ' '))} {text(value)}")
    return grouped | {name: ", ".join(texts) for name, texts in numbers.items()}


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) or _is_list_of_objects(value)


def _is_list_of_objects(value: object) -> bool:
    """Whether there are several objects of one kind."""
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(each, Mapping) for each in value)
    )


def _label(key: str) -> str:
    return _LABELS.get(key, key.replace("_", " "))
