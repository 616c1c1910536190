"""Somebody sets the system's clock while a server runs (with libfaketime)."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from unittest import SkipTest

from ..case import SynchronousTestCase
from .harness import Server
from .waiting import until

LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
FOUND = [each for place in LIBRARIES for each in Path(place).glob("**/libfaketime.so.1")]
CLOCK = "clock"
HOUR = 3600
FORWARD, BACK = 5 * HOUR, -5 * HOUR
LONG = ("--probation", "60", "--drain-timeout", "60", "--idle-timeout", "60")


class ClockTests(SynchronousTestCase):
    """A server whose clock is five hours off, from one moment to the next."""

    def server(self, *options: str) -> Server:
        """A server whose clock the test can set."""
        if not FOUND:
            raise SkipTest("libfaketime is not installed")
        server = Server("--app", "app.resource", *options)
        server.environment |= {
            "LD_PRELOAD": str(FOUND[0]),
            "FAKETIME_TIMESTAMP_FILE": str(server.directory / CLOCK),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.set_clock(server, 0)
        return server

    def set_clock(self, server: Server, by: int) -> None:
        """Set its clock."""
        server.write(CLOCK, f"{by:+d}\n")

    def off_by(self, server: Server) -> float:
        """Hours by which the Date of its answers is off."""
        date = parsedate_to_datetime(server.get().headers["date"])
        return round((date - datetime.now(timezone.utc)).total_seconds() / HOUR, 1)

    def survives(self, by: int) -> None:
        """Nothing is over too early or too late; what is shown to people is the time of day."""
        with self.server(*LONG, "--access-log", "access.log", "--access-log-format", "json") as it:
            idle = it.connect()
            idle.ask("/")
            held = it.hold()
            it.deploy("2")
            it.kill(signal.SIGUSR2)
            it.hand_over()
            self.set_clock(it, by)
            until(lambda: self.off_by(it) == by / HOUR, "the clock is off")
            self.assertEqual(len(it.family()), 2)  # neither the drain nor the probation is over
            it.open("held")
            self.assertEqual(held.answer().body, "1")
            held.close()
            idle.close()
            it.kill(signal.SIGKILL)
            it.said("accepts again")
            self.assertEqual(it.get().body, "1")
            pid = it.serving(0)
            it.kill(signal.SIGTERM, pid)
            self.assertEqual(it.ended(pid), 0)
            last = json.loads((it.directory / "access.log").read_text().splitlines()[-1])
            logged = datetime.fromisoformat(last["time"].replace("Z", "+00:00")).timestamp()
            self.assertLess(abs(logged - time.time() - by), 60)
            self.assertLess(last["duration"], 60)

    def test_set_forward(self) -> None:
        """A clock that is set forward ends no drain, no probation and no connection."""
        self.survives(FORWARD)

    def test_set_back(self) -> None:
        """A clock that is set back ends nothing either."""
        self.survives(BACK)

    def test_a_deadline_is_kept(self) -> None:
        """A deadline that began before the clock was set back ends in its time."""
        with self.server("--drain-timeout", "1") as server:
            server.begin_drain()
            self.set_clock(server, BACK)
            self.assertEqual(server.exit_status(), 1)
            self.assertIn("1 cut", server.log)
