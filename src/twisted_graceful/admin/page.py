"""The status page. It is rendered here as a whole; its script only fetches it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ..json_object import JsonObject
from .chart import chart
from .history import SECONDS, History

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<noscript><meta http-equiv="refresh" content="2"></noscript>
<link rel="stylesheet" href="page.css">
<script src="page.js" defer></script>
</head>
<body>
<p id="away" role="status" hidden></p>
<main>
<header><h1>twisted-graceful <small>{version}</small></h1>{ready}</header>
<section class="charts" aria-label="The last {minutes} minutes">
<figure><figcaption>Requests per second <b>{rate}</b></figcaption>{rates}{axis}</figure>
<figure><figcaption>Latency <span class="key0">median</span> <b>{median}</b>
<span class="key1">99 %</span> <b>{high}</b></figcaption>{latencies}{axis}</figure>
</section>
<section aria-labelledby="generations"><h2 id="generations">Generations</h2>{lanes}</section>
<section aria-labelledby="flight"><h2 id="flight">Requests in flight <small>{in_flight}</small></h2>
{requests}</section>
<section aria-labelledby="upgrade"><h2 id="upgrade">Last upgrade or reload <small>UTC</small></h2>
{upgrade}</section>
<section aria-labelledby="listeners"><h2 id="listeners">Listeners</h2>
<ul>{listeners}</ul></section>
<section aria-labelledby="totals"><h2 id="totals">Totals</h2>
<dl class="totals">{totals}</dl></section>
</main>
</body>
</html>
"""

_AXIS = (
    f'<p class="axis" aria-hidden="true"><span>{SECONDS // 60} min ago</span>'
    "{key}<span>now</span></p>"
)

_KEY = '<span class="done">▲ generation that took over</span><span class="failed">✕ failed</span>'

_SIGNS = {
    **dict.fromkeys(("ready", "serving", "taking over", "upgrading"), "●"),
    **dict.fromkeys(("handing over", "standing by", "draining", "leaving", "stopping"), "◐"),
}
"""Of states, which are not told apart by colour alone; of any other it is an empty circle."""

_NONE = "\N{EN DASH}"

_NAMES = {
    "seconds": "seconds spent on requests",
    "sent": "bytes of answers sent",
    "drain_seconds": "seconds of drains",
    "rss": "bytes of memory",
}


def page(
    status: JsonObject,
    history: History | None = None,
    upgrade: Sequence[JsonObject] = (),
) -> str:
    """The page.

    Args:
        status: what ``/status`` says; of its texts none is trusted.
        history: of the last minutes.
        upgrade: what happened in the last one.
    """
    generations = sorted(status["generations"], key=lambda each: -_number(each.get("generation")))
    requests = [
        (generation, each) for generation in generations for each in generation.get("requests", ())
    ]
    in_flight = sum(int(_number(each.get("in_flight"))) for each in generations)
    ready = "ready" if status["ready"] else "not ready"
    serving = status["generations"][0].get("generation")
    return _PAGE.format(
        title=escape(f"{'' if status['ready'] else 'Not ready: '}Generation {serving}: graceful"),
        version=escape(str(status["version"])),
        ready=f'<p id="ready" class="{ready}">{_SIGNS.get(ready, "✕")} {ready}</p>',
        **_charts(history or History()),
        lanes="".join(map(_lane, generations)),
        in_flight=f"{in_flight:,}",
        requests=_requests(requests, in_flight),
        upgrade=_upgrade(upgrade),
        listeners="".join(
            f"<li><code>{escape(', '.join(each['bound']))}</code></li>"
            for each in status["listeners"]
        ),
        totals=_totals({**status["counters"], **status["gauges"]}),
    )


def _charts(history: History) -> dict[str, object]:
    """What the page shows of the last minutes, by its place there."""
    samples, marks = history.samples, history.marks
    newest = samples[-1] if samples else None
    rate = f"{newest.rate:,.0f}" if newest else _NONE
    median = _milliseconds(newest and newest.median)
    high = _milliseconds(newest and newest.high)
    told = "".join(f"; {ago} s ago: {mark}" for ago, mark in marks)
    latencies = [[each.median for each in samples], [each.high for each in samples]]
    return {
        "minutes": SECONDS // 60,
        "axis": _AXIS.format(key=_KEY if marks else ""),
        "rate": rate,
        "rates": chart(
            f"Requests per second, now {rate}{told}", "/s", [[each.rate for each in samples]], marks
        ),
        "median": median,
        "high": high,
        "latencies": chart(
            f"Latency, now median {median}, 99 % {high}{told}", "ms", latencies, marks
        ),
    }


def _totals(numbers: Mapping[str, object]) -> str:
    return "".join(
        f"<div><dt>{_text(_NAMES.get(name, name.replace(',', ' ').replace('_', ' ')))}</dt>"
        f"<dd>{_short(_number(number))}</dd></div>"
        for name, number in sorted(numbers.items())
        if not name.startswith("bucket")
    )


def _lane(generation: JsonObject) -> str:
    number, state = generation.get("generation"), str(generation.get("state"))
    drains = isinstance(generation.get("draining"), (int, float))
    moved, left = _number(generation.get("handed_over")), _number(generation.get("connections"))
    facts = {
        "pid": _text(generation.get("pid")),
        "up": duration(generation.get("uptime")),
        "connections": f"{left:,.0f}",
        "in flight": f"{_number(generation.get('in_flight')):,.0f}",
        "handed over": f"{moved:,.0f}",
    }
    if generation.get("warm_up"):
        facts["warm-up"] = f"<code>{_text(generation['warm_up'])}</code>"
    parts = []
    if drains:
        parts.append(
            _progress(
                f"drains for {duration(generation['draining'])}: "
                f"{moved:,.0f} connection{'' if moved == 1 else 's'} moved, {left:,.0f} left",
                moved,
                moved + left,
            )
        )
    restart = generation.get("rolling_restart")
    if isinstance(restart, Mapping):
        replaced, of = _number(restart.get("replaced")), _number(restart.get("wanted"))
        if restart.get("failure"):
            parts.append(f'<p class="failure">✕ not replaced: {_text(restart["failure"])}</p>')
        elif not restart.get("is_over"):
            parts.append(
                _progress(f"replacing the workers: {replaced:.0f} of {of:.0f}", replaced, of)
            )
    workers = generation.get("workers")
    if isinstance(workers, Sequence) and workers:
        parts.append(_workers(workers, generation.get("workers_wanted")))
    return (
        f'<article class="lane{" draining" if drains else ""}">'
        f"<h3>generation {_text(number)} {_state(state)}</h3>"
        f'<dl class="facts">{_facts(facts)}</dl>{"".join(parts)}</article>'
    )


def _workers(workers: Sequence[JsonObject], wanted: object) -> str:
    names = ("number", "pid", "state", "connections", "in_flight", "rss", "restarts", "uptime")
    heads = ("Worker", "PID", "State", "Connections", "In flight", "MiB", "Restarts", "Up")
    rows = []
    for each in workers:
        cells = {name: _text(each.get(name)) for name in names}
        cells["state"] = _state(str(each.get("state")))
        cells["uptime"] = duration(each.get("uptime"))
        cells["rss"] = f"{_number(each.get('rss')) / (1 << 20):,.0f}"
        rows.append(cells.values())
    serving = sum(1 for each in workers if each.get("state") == "serving")
    return _table(f"{serving} of {_text(wanted)} workers serve", heads, rows)


def _requests(requests: Sequence[tuple[JsonObject, JsonObject]], in_flight: int) -> str:
    if not requests:
        return '<p class="nothing">None at the moment.</p>'
    shown = f"The oldest {len(requests)} of {in_flight:,}"
    rows = [
        (
            _text(generation.get("generation"))
            + (f" · worker {_text(each['worker'])}" if "worker" in each else ""),
            f"<code>{_text(each.get('method'))}</code>",
            f"<code>{_text(each.get('path'))}</code>",
            f"{_number(each.get('age')):,.1f} s",
            _text(each.get("doing")),
        )
        for generation, each in requests
    ]
    return _table(
        shown if in_flight > len(requests) else "The oldest first",
        ("Generation", "Method", "Path", "Age", "Doing"),
        rows,
        "requests",
    )


def _upgrade(events: Sequence[JsonObject]) -> str:
    if not events:
        return '<p class="nothing">There was none.</p>'
    items = []
    for each in events:
        event = str(each.get("event"))
        sign = {"failed": "✕ ", "done": "✓ "}.get(event, "")
        facts = {
            "generation": "generation",
            "pid": "pid",
            "replaced": "new workers:",
            "wanted": "of",
            "request": "",
            "reason": "",
        }
        told = " · ".join(
            f"{name} {_text(each[key])}".strip() for key, name in facts.items() if each.get(key)
        )
        output = f"<pre>{_text(each['output'])}</pre>" if each.get("output") else ""
        items.append(
            f'<li class="{"failure" if sign == "✕ " else "event"}">'
            f"<time>{_text(str(each.get('time', ''))[11:19])}</time> "
            f"<b>{sign}{_text(event)}</b> {told}{output}</li>"
        )
    return f'<ol class="events">{"".join(items)}</ol>'


def _state(state: str) -> str:
    return f'<span class="state">{_SIGNS.get(state, "○")} {_text(state)}</span>'


def _progress(text: str, value: float, of: float) -> str:
    return f'<p><label>{text} <progress max="{of or 1:g}" value="{value:g}"></progress></label></p>'


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(f"<div><dt>{name}</dt><dd>{it}</dd></div>" for name, it in facts.items())


def _table(
    caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "wide"
) -> str:
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{it}</td>' for it in each)}</tr>" for each in rows)
    return (
        f'<div class="table {kind}" tabindex="0" role="region" aria-label="{caption}">'
        f"<table><caption>{caption}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def duration(seconds: object) -> str:
    """A duration as people say it, in at most two units."""
    left = int(_number(seconds))
    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    parts: list[str] = []
    for name, size in units.items():
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def _milliseconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.1f} ms"


def _short(value: float) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def _number(value: object) -> float:
    return value if isinstance(value, (int, float)) else 0.0


def _text(value: object) -> str:
    return escape(str(value))
