"""Measures the processor time of client input, also on a slow or busy machine.

A row of a table makes, of a number of bytes, something to measure. It is measured at two sizes,
beside a loop whose cost is known. So two kinds of faults show: cost that grows faster than the
bytes do, and bytes that are dear from the first on.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .checked_phase import check_no_phases

Feed = Callable[[], object]
"""Feeds the bytes; this is what is measured. What it returns is what the stranger got for them."""

Row = Callable[[int], Feed]
"""Makes a feed of about this many bytes, which the measurement does not count."""

GROWTH = 4
"""How many times as many bytes the larger size has."""

STEEPEST = 9.0
"""How many times as much the larger size may cost: 4 if the cost is linear, 16 if it is quadratic.

Between the two, so that neither noise nor what is linear with a large constant decides.
"""

SIZE = 64 * 1024
"""Bytes that may cost `BUDGET`."""

BUDGET = 0.050
"""Seconds of the machine on which `_TURNS` turns of the loop take as long."""

_TURNS = 100_000

_SHORTEST = 0.002
"""Seconds that the loop takes, at least; as many as what it is compared with, if that is more."""

ATTEMPTS = 6
"""How often a row that fails is measured again; the least that was seen of each size counts."""

NEGLIGIBLE = 0.0015
"""Seconds below which growth is not judged, since it would be noise."""

_VALUES = {b"name-%d" % each: b"value %d" % each for each in range(5000)}
_NAMES = [*_VALUES]


def _loop(turns: int) -> None:
    # Does what parsers do, in as much memory: then a processor that is shared with others, which
    # empties its caches, is as much slower for it as for them.
    for each in range(turns):
        line = _NAMES[each * 7919 % 5000]
        name, _, value = (line + b": " + _VALUES[line]).partition(b": ")
        _VALUES[name] = value


def _timed(feed: Feed) -> float:
    begun = time.process_time()
    feed()
    return time.process_time() - begun


def _measured(feed: Feed) -> float:
    """What a feed costs, in seconds of the machine of `BUDGET`.

    The loop runs right after it and for as long, so that both are interrupted as often.
    """
    taken = _timed(feed)
    turns, spent = 0, 0.0
    while spent < max(taken, _SHORTEST):
        turns += 1000
        spent += _timed(lambda: _loop(1000))
    return taken * BUDGET / (spent * _TURNS / turns)


@contextmanager
def _no_collector() -> Iterator[None]:
    # What is collected is what other tests have left behind.
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass
class Cost:
    """What a row costs, in seconds of the machine of `BUDGET`.

    Attributes:
        small: at a fourth of the size.
        large: at the size.
        size: the larger one, in bytes.
    """

    size: int
    small: float = float("inf")
    large: float = float("inf")

    @property
    def fault(self) -> str:
        """What is wrong with it; empty if nothing is."""
        allowed = BUDGET * self.size / SIZE
        if self.large > allowed:
            return f"{self.size} bytes cost {self.large * 1000:.0f} ms, over {allowed * 1000:.0f}"
        if self.large > NEGLIGIBLE and self.large > STEEPEST * self.small:
            times = self.large / self.small
            return f"{GROWTH} times the bytes cost {times:.1f} times as much: {self}"
        return ""


def cost_of(row: Row, size: int = SIZE) -> Cost:
    """Measure a row: once if that shows nothing wrong, else until it does or is right.

    Args:
        row: what is measured.
        size: the larger number of bytes.
    """
    cost = Cost(size)
    for _ in range(ATTEMPTS):
        # The smaller one is shorter, so it is the one that noise distorts.
        cost.small = min(cost.small, *(_measured(row(size // GROWTH)) for _ in range(2)))
        cost.large = min(cost.large, _measured(row(size)))
        if not cost.fault:
            break
    return cost


class CostTestCase(SynchronousTestCase):
    """Tests of tables of rows."""

    def setUp(self) -> None:
        """Measure connections as users have them."""
        check_no_phases(self)

    def assert_cheap(self, rows: Mapping[str, Row], size: int = SIZE) -> None:
        """Each row's cost grows with its bytes, and is within the budget for them.

        Args:
            rows: by a name that says what they feed.
            size: the larger number of bytes.
        """
        with _no_collector():
            costs = {name: cost_of(row, size) for name, row in rows.items()}
        faults = {name: cost.fault for name, cost in costs.items() if cost.fault}
        self.assertEqual(faults, {})


def sends(
    app: Callable[[], Any],
    data: Callable[[int], bytes],
    *,
    piece: int = SIZE,
    gets: bytes = b"",
    **settings: Any,
) -> Row:
    """A row of bytes that a client sends on one connection.

    Args:
        app: makes what is served.
        data: makes the bytes.
        piece: how many of them the server reads at once.
        gets: what the server must have answered with, so that it is known what was measured.
        settings: of the server.
    """

    def row(size: int) -> Feed:
        sent = data(size)
        client = MemoryServer(app(), **settings).connect()
        pieces = [sent[at : at + piece] for at in range(0, len(sent), piece)]

        def feed() -> bytes:
            for each in pieces:
                client.send(each)
            got = client.received
            assert gets in got[:2000], got[:2000]
            return got

        return feed

    return row
