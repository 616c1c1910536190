"""The page of the admin endpoints, as it is without JavaScript."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Generation {serving}: twisted-graceful</title>
<noscript><meta http-equiv="refresh" content="2"></noscript>
<link rel="stylesheet" href="page.css">
<script src="page.js" defer></script>
</head>
<body>
<h1>twisted-graceful <small>{version}</small> <span id="ready" class="{ready}">{ready}</span></h1>
<section id="charts" hidden>
<figure><figcaption>Requests per second <b id="rate"></b></figcaption>
<svg id="rates"></svg></figure>
<figure><figcaption>Latency, ms: median and 99 % <b id="latency"></b></figcaption>
<svg id="latencies"></svg></figure>
</section>
<h2>Generations</h2>
<div id="lanes">{lanes}</div>
<h2>Requests in flight</h2>
<table><thead><tr><th>Generation<th>Method<th>Path<th>Age, s<th>Doing</tr></thead>
<tbody id="requests">{requests}</tbody></table>
<h2>Listeners</h2>
<ul id="listeners">{listeners}</ul>
<h2>Totals</h2>
<table><tbody id="totals">{totals}</tbody></table>
</body>
</html>
"""


def page(status: Mapping[str, Any]) -> str:
    """The page.

    Args:
        status: what ``/status`` says; of its texts none is trusted.
    """
    generations = status["generations"]
    return _PAGE.format(
        version=escape(str(status["version"])),
        ready="ready" if status["ready"] else "not ready",
        serving=escape(str(generations[0].get("generation"))),
        lanes="".join(map(_lane, generations)),
        requests="".join(
            _row(each.get("generation"), *(request.get(name) for name in _COLUMNS))
            for each in generations
            for request in each.get("requests", ())
        ),
        listeners="".join(
            f"<li>{escape(', '.join(each['bound']))}</li>" for each in status["listeners"]
        ),
        totals="".join(
            _row(name.replace(",", " "), f"{number:g}")
            for name, number in sorted({**status["counters"], **status["gauges"]}.items())
            if not name.startswith("bucket")
        ),
    )


_COLUMNS = ("method", "path", "age", "doing")


def _lane(generation: Mapping[str, Any]) -> str:
    facts = [
        f"generation {generation.get('generation')}",
        f"pid {generation.get('pid')}",
        f"{generation.get('state')}",
        f"up {_number(generation.get('uptime')):.0f} s",
        f"{generation.get('connections')} connections",
        f"{generation.get('in_flight')} requests in flight",
        f"{generation.get('handed_over')} connections handed over",
    ]
    if generation.get("draining"):
        facts.append(f"drains for {_number(generation['draining']):.0f} s")
    return f"<p class=lane>{escape(' · '.join(facts))}</p>"


def _number(value: object) -> float:
    return value if isinstance(value, (int, float)) else 0.0


def _row(*cells: object) -> str:
    return "<tr>" + "".join(f"<td>{_cell(each)}" for each in cells) + "</tr>"


def _cell(value: object) -> str:
    return escape(str(value))
