"""The progress of an upgrade or a reload on a terminal. Needs the extra ``ctl``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..event_names import EventName
from .events import Event, name_of, output_of, sentence

_MARKS: Mapping[str, tuple[str, str]] = {
    EventName.FAILED: ("x", "red"),
    EventName.READY: ("*", "green"),
    EventName.DONE: ("*", "green"),
    EventName.STOPPED: ("*", "green"),
}


class RichDisplay:
    """Steps that are done, with their times, and the one that is under way.

    A step that is told of again, such as a count of requests that are left, stays in its line.

    Args:
        out: a terminal.
    """

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out, highlight=False)
        self._steps: dict[str, tuple[float, Event]] = {}
        self._begun = time.monotonic()
        self._over = False
        self._most = 0
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=10)

    def __enter__(self) -> RichDisplay:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._live.__exit__(None, None, None)

    def show(self, event: Event) -> None:
        """Put it in its line."""
        name = name_of(event)
        begun, _ = self._steps.pop(name, (time.monotonic() - self._begun, event))
        self._steps[name] = (begun, event)
        self._most = max(self._most, _count(event, "connections"))
        if name == EventName.FAILED and output_of(event):
            # The terminal wraps it, so that what is copied from there is as it was written.
            self._console.print(Text(output_of(event)), soft_wrap=True)

    def _render(self) -> Group:
        grid = Table.grid(padding=(0, 1))
        for number, (name, (begun, event)) in enumerate(self._steps.items(), start=1):
            mark, style = _MARKS.get(name, ("+", "cyan"))
            is_last = number == len(self._steps) and not self._over
            grid.add_row(
                self._spinner if is_last else Text(mark, style),
                Text(f"{begun:5.1f} s", "dim"),
                Text(sentence(event), style if name == EventName.FAILED else ""),
                self._bar(event) if is_last else "",
            )
        return Group(grid)

    def _bar(self, event: Event) -> ProgressBar | str:
        """How many workers are new; in a drain, how many of its connections are gone."""
        if name_of(event) == EventName.REPLACING:
            return ProgressBar(_count(event, "wanted"), _count(event, "replaced"), width=12)
        if not self._most or name_of(event) != "draining":
            return ""
        return ProgressBar(self._most, self._most - _count(event, "connections"), width=12)


def _count(event: Event, name: str) -> int:
    """A number of the event, if it has that."""
    count = event.get(name)
    return count if isinstance(count, int) else 0
