"""Charts of the last minutes, as SVG. Lines scale with the page, and text does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import floor, log10

from .history import FAILED, SECONDS

Series = Sequence["float | None"]

_TOP = 18
"""Pixels above the lines, for what the marks are called."""

_APART = 25
"""Seconds between two marks that are both called by their name; on a phone that is 25 pixels."""

_STEPS = 100
"""Units from the lowest to the highest value."""


def chart(label: str, unit: str, lines: Sequence[Series], marks: Sequence[tuple[int, str]]) -> str:
    """A chart of some lines over the same seconds.

    Args:
        label: what it shows, for those who do not see it.
        unit: of the values.
        lines: values, the newest last; None where there was none.
        marks: how many seconds ago something was, and what.
    """
    known = [value for line in lines for value in line if value is not None]
    highest = _round(max(known, default=0))
    drawn = "".join(
        f'<polyline class="line{number}" points="{points}"/>'
        for number, line in enumerate(lines)
        for points in _runs(line, highest)
    )
    empty = "" if any(known) else '<text class="empty" x="50%" y="55%">No requests yet</text>'
    return (
        f'<svg class="chart" role="img" aria-label="{escape(label)}">'
        f'<svg y="{_TOP}" width="100%" height="82%" viewBox="0 0 {SECONDS - 1} {_STEPS}" '
        f'preserveAspectRatio="none">'
        f'<path class="grid" d="M0 0H{SECONDS}M0 50H{SECONDS}M0 100H{SECONDS}"/>{drawn}</svg>'
        f'<text class="scale" x="4" y="{_TOP + 12}">{highest:,g} {escape(unit)}</text>'
        f"{''.join(_marks(marks))}{empty}</svg>"
    )


def _marks(marks: Sequence[tuple[int, str]]) -> Iterator[str]:
    """A line for each; what failed has its sign below, so that it hides no number."""
    next_one = {"done": -SECONDS, "failed": -SECONDS}
    for ago, text in reversed(marks):
        kind = "failed" if text == FAILED else "done"
        at = f"{_x(ago) / (SECONDS - 1) * 100:.2f}%"
        sign = ""
        if ago - next_one[kind] > _APART:
            next_one[kind] = ago
            place = f'x="{at}" text-anchor="{"end" if ago < SECONDS / 2 else "start"}"'
            sign = (
                f'<text {place} y="97%" dx="-3">✕</text>'
                if kind == "failed"
                else f'<text {place} y="12">▲ {escape(text.rpartition(" ")[2])}</text>'
            )
        yield (
            f'<g class="mark {kind}"><title>{escape(text)}, {ago} s ago</title>'
            f'<line x1="{at}" x2="{at}" y1="{_TOP - 4}" y2="100%"/>{sign}</g>'
        )


def _x(ago: int) -> int:
    return SECONDS - 1 - ago


def _runs(line: Series, highest: float) -> Iterator[str]:
    """The points of each part of a line that has no gap."""
    run: list[str] = []
    for ago, value in zip(range(len(line) - 1, -1, -1), line, strict=True):
        if value is None:
            if run:
                yield " ".join(run)
            run = []
        else:
            run.append(f"{_x(ago)},{_STEPS - value / highest * _STEPS:.1f}")
    if run:
        yield " ".join(run)


def _round(value: float) -> float:
    """The next 1, 2 or 5 of any power of ten, so that the scale seldom changes."""
    if value <= 0:
        return 1
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9))
