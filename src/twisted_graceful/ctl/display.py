"""The output of a command while it waits: plain lines, JSON, or more on a terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Protocol, TextIO

from ..event_names import EventName
from .events import Event, name_of, output_of, sentence


class Display(Protocol):
    """Shows events as they come."""

    def show(self, event: Event) -> None:
        """Something has happened."""


class JsonLines:
    """A line of JSON for each event, as the server sent it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        """Write it at once."""
        print(json.dumps(event), file=self._out, flush=True)

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class PlainLines:
    """A sentence for each event, with the seconds since the first."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = time.monotonic()

    def show(self, event: Event) -> None:
        """Write it at once."""
        seconds = time.monotonic() - self._begun
        print(f"{seconds:7.1f} s  {sentence(event)}", file=self._out, flush=True)
        if name_of(event) == EventName.FAILED and output_of(event):
            print(output_of(event), file=self._out, flush=True)

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def display(as_json: bool, out: TextIO | None = None) -> AbstractContextManager[Display]:
    """What fits where the output goes.

    Args:
        as_json: whether a program reads it.
        out: where it goes; None for standard output.
    """
    out = sys.stdout if out is None else out
    if as_json:
        return JsonLines(out)
    # One that cannot move its cursor shows what a pipe does, each line as it comes.
    is_dumb = os.environ.get("TERM", "") in ("", "dumb", "unknown")
    if out.isatty() and not is_dumb and find_spec("rich"):  # the extra `ctl`
        from .rich_display import RichDisplay

        return RichDisplay(out)
    return PlainLines(out)
