"""``.. machine::``, a diagram of a state machine and its table, from the module that runs it.

The directive's content says where the states are drawn: a row of names for each row of the
diagram, ``.`` for an empty place. Arrows and their labels come from the table, so a diagram
cannot be out of date: a state that has no place, or a place that has no state, is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COLUMN, ROW = 250, 120
WIDTH, HEIGHT = 136, 34
LINE = 13
"""Pixels: from place to place, of a state, and from line to line of a label."""

Point = tuple[float, float]
Arrows = Mapping[tuple[str, str], list[str]]


def arrows(table: Any, everywhere: str) -> Arrows:
    """What leads from one state to another, without the input that is told of in words."""
    found: dict[tuple[str, str], list[str]] = {}
    for state, row in table.items():
        for event, transition in row.items():
            if transition.state is not state and event.name != everywhere:
                found.setdefault((state.name, transition.state.name), []).append(event.name)
    return found


def drawing(places: Mapping[str, Point], lines: Arrows) -> str:
    """The diagram as SVG, in the colours of the page."""
    width = max(x for x, _ in places.values()) + WIDTH / 2 + 4
    height = max(y for _, y in places.values()) + HEIGHT / 2 + 4
    parts = [_arrow(places, pair, labels, lines) for pair, labels in lines.items()]
    parts += [_state(name, place) for name, place in places.items()]
    return (
        f'<svg class="machine" role="img" viewBox="0 0 {width:g} {height:g}" '
        f'style="width: 100%; max-width: {width:g}px; font: 11px monospace" '
        'fill="none" stroke="currentColor">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor" '
        'stroke="none"/></marker></defs>' + "".join(parts) + "</svg>"
    )


def _state(name: str, place: Point) -> str:
    x, y = place
    box = f'x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<rect {box} rx="6" stroke-width="1.5"/>{_text(name, x, y + 4)}'


def _text(text: str, x: float, y: float) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="currentColor" '
        f'stroke="none">{escape(text)}</text>'
    )


def _arrow(
    places: Mapping[str, Point], pair: tuple[str, str], labels: list[str], lines: Arrows
) -> str:
    (x1, y1), (x2, y2) = places[pair[0]], places[pair[1]]
    length = math.hypot(x2 - x1, y2 - y1)
    # One of each direction: they go side by side.
    aside = 12 if pair[::-1] in lines else 0
    right, down = (y1 - y2) / length * aside, (x2 - x1) / length * aside
    begin = _border((x1, y1), (right, down), (x2 - x1, y2 - y1))
    end = _border((x2, y2), (right, down), (x1 - x2, y1 - y2))
    # Half-way; of a pair not, where the labels would meet.
    way = 0.35 if aside else 0.5
    x = begin[0] + (end[0] - begin[0]) * way
    y = begin[1] + (end[1] - begin[1]) * way - (len(labels) - 1) * LINE / 2
    # A label lies on its arrow, which is interrupted for it where the arrow is steep.
    above = -5 if abs(y2 - y1) < 1 else 4
    wide = max(map(len, labels)) * 6.8
    mask = (
        f'<rect x="{x - wide / 2:g}" y="{y - LINE / 2 - 1:g}" width="{wide:g}" '
        f'height="{len(labels) * LINE + 2:g}" stroke="none" '
        'fill="var(--color-background-primary, white)"/>'
    )
    texts = [_text(each, x, y + above + number * LINE) for number, each in enumerate(labels)]
    path = f'<path d="M{begin[0]:g} {begin[1]:g}L{end[0]:g} {end[1]:g}" marker-end="url(#tip)"/>'
    return path + ("" if above < 0 else mask) + "".join(texts)


def _border(middle: Point, start: Point, direction: Point) -> Point:
    """Where a line leaves the box of a state; it starts in the box, so far from its middle."""
    reach = min(
        (half - math.copysign(1, along) * aside) / abs(along) if along else math.inf
        for half, aside, along in zip((WIDTH / 2, HEIGHT / 2), start, direction, strict=True)
    )
    return (
        middle[0] + start[0] + direction[0] * reach,
        middle[1] + start[1] + direction[1] * reach,
    )


class Machine(SphinxDirective):
    """The diagram, and the table below it."""

    required_arguments = 1  # the module
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"everywhere": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Make them."""
        module = import_module(self.arguments[0])
        self.env.note_dependency(module.__file__)
        places = {
            name: (column * COLUMN + WIDTH / 2 + 4, row * ROW + HEIGHT / 2 + 4)
            for row, line in enumerate(self.content)
            for column, name in enumerate(line.split())
            if name != "."
        }
        states = {each.name for each in module.State}
        if different := states.symmetric_difference(places):
            raise self.error(f"the states of the table are others: {', '.join(sorted(different))}")
        svg = drawing(places, arrows(module.TABLE, self.options.get("everywhere", "")))
        diagram = nodes.raw("", svg, format="html")
        return [diagram, *self.parse_text_to_nodes("\n".join(self._tables(module)))]

    @staticmethod
    def _tables(module: Any) -> list[str]:
        lines = []
        for kind, title in (("State", "States"), ("Input", "Inputs"), ("Output", "Outputs")):
            lines += [".. list-table::", "   :header-rows: 1", "   :widths: 25 75", ""]
            lines += [f"   * - {title}", "     - Meaning"]
            for each in getattr(module, kind):
                lines += [f"   * - ``{each.name}``", f"     - {each.value}"]
            lines.append("")
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 20 25 20 35", ""]
        lines += ["   * - In", "     - when", "     - goes to", "     - and does"]
        for state, row in module.TABLE.items():
            for event, transition in row.items():
                outputs = ", ".join(f"``{each.name}``" for each in transition.outputs)
                stays = transition.state is state
                lines += [
                    f"   * - ``{state.name}``",
                    f"     - ``{event.name}``",
                    f"     - {'stays' if stays else f'``{transition.state.name}``'}",
                    f"     - {outputs or 'nothing'}",
                ]
        return [*lines, ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("machine", Machine)
    return {"parallel_read_safe": True}
