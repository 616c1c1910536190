"""Diagrams and tables of what processes and connections do, from the modules that do it.

``.. machine::`` is a state machine with its table, ``.. transitions::`` one that has no outputs,
``.. messages::`` the commands of the control channel, and ``.. exchange::`` how some of them follow
each other; a name there that is no command is an error.

The content says where the states are drawn: a row of names for each row of the
diagram, ``.`` for an empty place. Arrows and their labels come from the table, so a diagram
cannot be out of date: a state that has no place, or a place that has no state, is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from twisted.protocols.amp import Command

COLUMN, ROW = 250, 120
WIDTH, HEIGHT = 136, 34
LINE, TOP = 13, 30
"""Pixels: from place to place, of a state, from line to line of a label, and above all."""

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


def drawing(places: Mapping[str, Point], lines: Arrows, title: str) -> str:
    """The diagram as SVG, in the colours of the page."""
    width = max(x for x, _ in places.values()) + WIDTH / 2 + 4
    height = max(y for _, y in places.values()) + HEIGHT / 2 + 4
    parts = [_arrow(places, pair, labels, lines) for pair, labels in lines.items()]
    parts += [_state(name, place) for name, place in places.items()]
    return _svg(width, height, parts, title)


def _svg(width: float, height: float, parts: list[str], title: str) -> str:
    # On a narrow screen it is scrolled, as a table is: smaller, nobody could read it.
    return (
        f'<div style="overflow-x: auto"><svg class="machine" role="img" '
        f'aria-label="{escape(title)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="width: 100%; min-width: {width * 0.8:g}px; max-width: {width:g}px; '
        'font: 11px monospace" fill="none" stroke="currentColor">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor" '
        'stroke="none"/></marker></defs>' + "".join(parts) + "</svg></div>"
    )


def _state(name: str, place: Point) -> str:
    x, y = place
    box = f'x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<rect {box} rx="6" stroke-width="1.5"/>{_text(name, x, y + 4)}'


def _mask(text: str, x: float, y: float) -> str:
    """What is behind a text is not to be seen."""
    wide = len(text.strip()) * 6.8
    return (
        f'<rect x="{x - wide / 2:g}" y="{y - LINE / 2 - 2:g}" width="{wide:g}" height="{LINE + 4}" '
        'stroke="none" fill="var(--color-background-primary, white)"/>'
    )


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
    level = abs(y2 - y1) < 1
    # Half-way; of a pair not, where the labels would meet.
    way = 0.35 if aside and not level else 0.5
    x = begin[0] + (end[0] - begin[0]) * way
    y = begin[1] + (end[1] - begin[1]) * way - (len(labels) - 1) * LINE / (1 if level else 2)
    # A label lies on its arrow, which is interrupted for it where the arrow is steep.
    above = -5 if level else 4
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


def _places(directive: SphinxDirective, states: set[str]) -> dict[str, Point]:
    """Where each state is drawn, as the content of a directive says."""
    places = {
        name: (column * COLUMN + WIDTH / 2 + 4, row * ROW + HEIGHT / 2 + TOP)
        for row, line in enumerate(directive.content)
        for column, name in enumerate(line.split())
        if name != "."
    }
    if different := states.symmetric_difference(places):
        raise directive.error(f"the states of the table are others: {', '.join(sorted(different))}")
    return places


def _table(widths: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (header, *rows):
        lines += [f"   {'-' if number else '* -'} {cell}" for number, cell in enumerate(row)]
    return [each.replace("   - ", "     - ", 1) for each in lines] + [""]


class Transitions(SphinxDirective):
    """The diagram of a table from states to what happens and where that leads, and the table."""

    required_arguments = 2  # the module, and the table in it
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"to-everywhere": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Make them."""
        module = import_module(self.arguments[0])
        self.env.note_dependency(module.__file__)
        table = getattr(module, self.arguments[1])
        hidden = self.options.get("to-everywhere", "")
        lines: dict[tuple[str, str], list[str]] = {}
        rows = []
        for state, row in table.items():
            for event, target in row.items():
                name = event if isinstance(event, str) else event.name
                if target.name != hidden:
                    lines.setdefault((state.name, target.name), []).append(name)
                what = event if isinstance(event, str) else f"``{name}``: {event.value}"
                rows.append((f"``{state.name}``", what, f"``{target.name}``"))
        places = _places(self, {each.name for each in table} - {hidden})
        svg = drawing(
            places, lines, f"{self.arguments[1]} of {module.__name__}, as the table below"
        )
        states = [(f"``{each.name}``", each.value) for each in table]
        text = _table("25 75", ("State", "Meaning"), states)
        text += _table("25 50 25", ("In", "when", "goes to"), rows)
        return [nodes.raw("", svg, format="html"), *self.parse_text_to_nodes("\n".join(text))]


def _commands(module: Any) -> dict[str, tuple[str, str]]:
    """Of each command who says it to whom, and what it says: the two parts of its docstring."""
    found = {}
    for name, command in vars(module).items():
        if isinstance(command, type) and issubclass(command, Command) and command is not Command:
            text = " ".join((command.__doc__ or "").split())
            direction, separator, meaning = text.partition(": ")
            if not separator:
                raise ValueError(f"{name} does not say who says it to whom")
            found[name] = direction, meaning
    return found


class Messages(SphinxDirective):
    """The table of all commands of a module."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make it."""
        module = import_module(self.arguments[0])
        self.env.note_dependency(module.__file__)
        rows = [
            (f"``{name}``", direction.lower(), meaning[0].upper() + meaning[1:])
            for name, (direction, meaning) in _commands(module).items()
        ]
        table = _table("15 20 65", ("Message", "Direction", "What it says"), rows)
        return list(self.parse_text_to_nodes("\n".join(table)))


class Exchange(SphinxDirective):
    """A diagram of messages between two, from the top to the bottom.

    A line of the content is ``> Command: what comes with it``, ``< answer: ...``, or
    ``| what the left does | what the right does``.
    """

    required_arguments = 3  # the module of the commands, the left one, the right one
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        commands = _commands(import_module(self.arguments[0]))
        left, right, y = 150.0, 550.0, 30.0
        parts = [
            _state(name, (x, 22)) for name, x in zip(self.arguments[1:], (left, right), strict=True)
        ]
        for line in self.content:
            y += 30
            way, _, text = line.partition(" ")
            if way == "|":
                for x, words in zip((left, right), text.split("|"), strict=True):
                    parts.append(_mask(words, x, y) + _text(words.strip(), x, y + 4))
                continue
            name = text.partition(":")[0]
            if way not in "<>" or name not in (*commands, "answer"):
                raise self.error(f"no command is called {name}")
            begin, end = (left, right) if way == ">" else (right, left)
            parts.append(f'<path d="M{begin} {y + 4}H{end}" marker-end="url(#tip)"/>')
            parts.append(_text(text, (left + right) / 2, y - 1))
        lines = [f'<path d="M{x} 39V{y + 20}" stroke-dasharray="3 4"/>' for x in (left, right)]
        title = f"What {self.arguments[1]} and {self.arguments[2]} say to each other, in turn"
        svg = _svg(right + 150, y + 24, lines + parts, title)
        return [nodes.raw("", svg, format="html")]


class Machine(SphinxDirective):
    """The diagram, and the table below it."""

    required_arguments = 1  # the module
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"everywhere": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Make them."""
        module = import_module(self.arguments[0])
        self.env.note_dependency(module.__file__)
        places = _places(self, {each.name for each in module.TABLE})
        lines = arrows(module.TABLE, self.options.get("everywhere", ""))
        svg = drawing(places, lines, f"The states of {module.__name__}; the table below has all")
        diagram = nodes.raw("", svg, format="html")
        return [diagram, *self.parse_text_to_nodes("\n".join(self._tables(module)))]

    @staticmethod
    def _tables(module: Any) -> list[str]:
        lines = []
        inputs = {event for row in module.TABLE.values() for event in row}
        outputs = {
            each for row in module.TABLE.values() for t in row.values() for each in t.outputs
        }
        for used, title in ((module.TABLE, "States"), (inputs, "Inputs"), (outputs, "Outputs")):
            lines += [".. list-table::", "   :header-rows: 1", "   :widths: 25 75", ""]
            lines += [f"   * - {title}", "     - Meaning"]
            for each in type(next(iter(used))):
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
    app.add_directive("transitions", Transitions)
    app.add_directive("messages", Messages)
    app.add_directive("exchange", Exchange)
    return {"parallel_read_safe": True}
