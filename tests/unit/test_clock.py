"""The clock that nobody can set, in a real reactor."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from twisted_graceful.clock import SteadySeconds, keep_steady, time_of_day
from twisted_graceful.config.settings import Settings
from twisted_graceful.http.site import Site

from ..case import SynchronousTestCase
from .support import run_python
from .web import Echo

NOON = 1_000_000_000.0
DAY = 86400


class Times:
    """A time of day that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.set_by = 0.0
        self.passed = 0.0

    def wall(self) -> float:
        """The time of day."""
        return NOON + self.set_by + self.passed

    def monotonic(self) -> float:
        """Seconds."""
        return 17.0 + self.passed


class Reactor(SelectReactor):
    """A reactor without signals, sockets and threads, by such a clock."""

    seconds: Any

    def __init__(self, times: Times) -> None:
        self.seconds = self.wall = times.wall
        super().__init__()

    def installWaker(self) -> None:
        """Nobody wakes it."""


class SteadyTests(SynchronousTestCase):
    """What is due, when the system's clock is set."""

    def setUp(self) -> None:
        """A reactor that has something to do, from before and after its clock is made steady."""
        self.times = Times()
        self.reactor = Reactor(self.times)
        self.due: list[str] = []
        self.early = self.reactor.callLater(10, self.due.append, "early")
        keep_steady(self.reactor, self.reactor.wall, self.times.monotonic)
        self.reactor.callLater(20, self.due.append, "late")

    def run_until(self, passed: float) -> list[str]:
        """Let time pass; what was done."""
        self.times.passed = passed
        self.reactor.runUntilCurrent()
        return self.due

    def check(self, set_by: float) -> None:
        """All is done in its time though the clock is set."""
        self.times.set_by = set_by
        self.assertEqual(self.run_until(9.9), [])
        self.assertAlmostEqual(self.reactor.timeout(), 0.1)
        self.assertEqual(self.run_until(10), ["early"])
        self.assertEqual(self.run_until(19.9), ["early"])
        self.assertEqual(self.run_until(20), ["early", "late"])

    def test_set_forward(self) -> None:
        """Nothing is done too early when the clock is set forward."""
        self.check(DAY)

    def test_set_back(self) -> None:
        """Nothing is done too late when the clock is set back."""
        self.check(-DAY)

    def test_reset(self) -> None:
        """What was due before the clock was made steady can be put off by the same clock."""
        self.times.set_by = DAY
        self.early.reset(5)
        self.assertEqual(self.run_until(5), ["early"])

    def test_the_time_of_day(self) -> None:
        """What is shown to people follows the system's clock."""
        self.assertEqual(self.reactor.seconds(), NOON)
        self.times.set_by = DAY
        self.assertEqual(self.reactor.seconds(), NOON)
        self.assertEqual(time_of_day(self.reactor)(), NOON + DAY)
        self.assertEqual(time_of_day(Clock())(), 0)

    def test_dates(self) -> None:
        """The Date of an answer is the time of day."""
        site = Site(Echo(), settings=Settings(), reactor=self.reactor)
        self.assertEqual(site.date(), b"Sun, 09 Sep 2001 01:46:40 GMT")
        self.times.set_by = -DAY
        self.assertEqual(site.date(), b"Sat, 08 Sep 2001 01:46:40 GMT")

    def test_once(self) -> None:
        """Made steady twice, and of another kind, a clock stays as it is."""
        seconds = self.reactor.seconds
        keep_steady(self.reactor, self.reactor.wall, self.times.monotonic)
        self.assertIs(self.reactor.seconds, seconds)
        clock = Clock()
        keep_steady(clock)
        self.assertNotIsInstance(clock.seconds, SteadySeconds)


class RealReactorTests(SynchronousTestCase):
    """Twisted's own reactors."""

    def test_it_is_the_wall_clock(self) -> None:
        """A reactor of Twisted's keeps the time of day; should that end, we have nothing to do."""
        self.assertIs(ReactorBase.seconds, time.time)

    def test_whose_process_this_is(self) -> None:
        """A service that owns its process makes the clock steady; another one leaves it alone."""
        for signals in (True, False):
            with self.subTest(signals=signals):
                code = (
                    "from twisted.internet import reactor; from twisted_graceful import *; "
                    "from twisted.application.service import MultiService; "
                    f"service = GracefulService(signals={signals}, launch=object()); "
                    "print(type(reactor.seconds).__name__); "
                    "service.setServiceParent(MultiService()); "
                    "print(type(reactor.seconds).__name__)"
                )
                wall = "builtin_function_or_method"
                expected = f"{wall}\n{'SteadySeconds' if signals else wall}"
                self.assertEqual(run_python("-c", code).stdout.strip(), expected)
