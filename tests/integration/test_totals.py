"""The totals that a master with workers shows, through all that replaces its processes."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from functools import partial

from ..case import SynchronousTestCase
from . import proc
from .admin import ADMIN, SOCKET, Admin
from .harness import Server
from .waiting import until
from .workers import PROGRAM, with_workers, workers

REQUESTS = "graceful_http_requests_total{method=GET,status_class=2xx}"
DURATIONS = "graceful_http_request_duration_seconds_count{}"
COUNTERS = ("_total", "_bucket", "_count", "_sum")


class Observed:
    """A server of which the metrics are asked again and again, while it answers requests.

    Attributes:
        made: how many requests were answered.
        fallen: the counters that were less than before, each with both values.
        last: the last samples.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.admin = Admin(server)
        self.made = 0
        self.fallen: list[tuple[str, float, float]] = []
        self.last: dict[str, float] = {}

    def scrape(self) -> None:
        """Ask for the metrics."""
        samples = self.admin.metrics()
        for name, before in self.last.items():
            is_counter = name.partition("{")[0].endswith(COUNTERS)
            if is_counter and samples.get(name, 0) < before:
                self.fallen.append((name, before, samples.get(name, 0)))
        self.last = samples

    def meanwhile(self, over: Callable[[], bool], what: str) -> None:
        """Make requests, and look at the metrics, until something is over."""

        def step() -> bool:
            for _ in range(3):
                assert self.server.get().status == 200
                self.made += 1
            self.scrape()
            return over()

        until(step, what, 30)

    def upgrade(self) -> None:
        """Let another process take over, with requests and looks until the old one has ended."""
        old = self.server.pid
        self.server.kill(signal.SIGUSR2)
        self.meanwhile(lambda: "Generation 1 serves" in self.server.log, "the new code serves")
        self.server.hand_over()
        self.meanwhile(lambda: not proc.alive(old), "the old process has ended")

    def settle(self) -> None:
        """Wait until all that was answered is counted."""

        def counted() -> bool:
            self.scrape()
            return self.last.get(REQUESTS, 0) >= self.made

        until(counted, "all requests are counted")


class TotalTests(SynchronousTestCase):
    """Counters, as Prometheus sees them."""

    def test_no_counter_falls_and_no_request_is_missed(self) -> None:
        """An upgrade of all, one of the workers, and one that is replaced, leave all counted."""
        with with_workers(*ADMIN, "--probation", "0") as server:
            seen = Observed(server)
            seen.upgrade()
            server.kill(signal.SIGHUP)
            done = "graceful_rolling_restarts_total{result=done}"
            seen.meanwhile(lambda: seen.last.get(done, 0) == 1, "the workers are replaced")
            [generation, *_] = seen.admin.status()["generations"]
            leaving = generation["workers"][0]["pid"]
            server.kill(signal.SIGTERM, leaving)

            def replaced() -> bool:
                [generation, *_] = seen.admin.status()["generations"]
                pids = [each["pid"] for each in generation["workers"]]
                states = [each["state"] for each in generation["workers"]]
                return leaving not in pids and states == ["serving", "serving"]

            seen.meanwhile(replaced, "another worker has taken its place")
            seen.settle()
            self.assertEqual(seen.fallen, [])
            self.assertEqual(seen.last[REQUESTS], seen.made)
            self.assertEqual(seen.last[DURATIONS], seen.made)
            self.assertEqual(seen.last["graceful_upgrades_total{result=done}"], 1)
            self.assertEqual(seen.last["graceful_generation{}"], 1)
            self.assertEqual(seen.last["graceful_workers_wanted{}"], 2)
            self.assertEqual(seen.last["graceful_workers_ready{}"], 2)
            # Two workers with the old master, two in the roll, and the one that was told to stop.
            self.assertEqual(seen.last["graceful_drain_duration_seconds_count{}"], 5)
            self.assertEqual(server.stop(), 0)

    def test_what_was_shown_of_a_killed_worker(self) -> None:
        """What it had told stays counted, and nothing that was shown is taken back."""
        with with_workers(*ADMIN) as server:
            seen = Observed(server)
            for pid in workers(server):
                seen.meanwhile(lambda: seen.last.get(REQUESTS, 0) > 0, "some are counted")
                server.kill(signal.SIGKILL, pid)
                restarts = seen.last["graceful_worker_restarts_total{}"]
                until(partial(lambda pid: not proc.alive(pid), pid), "it has ended")
                workers(server)  # no client is answered by the dead
                for _ in range(3):
                    seen.scrape()
                self.assertEqual(seen.last["graceful_worker_restarts_total{}"], restarts + 1)
            self.assertEqual(seen.fallen, [])
            self.assertGreater(seen.last[REQUESTS], 0)

    def test_connections_that_move_between_workers(self) -> None:
        """Each is counted once, by who lets it go, though it goes by way of the master."""
        with with_workers(*ADMIN) as server:
            seen = Observed(server)
            clients = [server.connect() for _ in range(4)]
            for client in clients:
                client.get("/")
                client.answer()
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced")
            moved = sum(map(int, re.findall(r"(\d+) handed over", server.log)))
            self.assertGreaterEqual(moved, 4)

            def counted() -> bool:
                seen.scrape()
                return seen.last["graceful_connections_handed_over_total{}"] == moved

            until(counted, "all are counted")

    def test_a_program(self) -> None:
        """A program of three lines has the same, for its workers too, through an upgrade."""
        for options in ("workers=2, probation=0", "probation=0"):
            with self.subTest(options=options):
                server = Server(command=[sys.executable, "program.py"])
                server.write(
                    "program.py",
                    PROGRAM.replace("workers=2, probation=0", f"{options}, admin='unix:{SOCKET}'"),
                )
                with server:
                    seen = Observed(server)
                    seen.upgrade()
                    seen.settle()
                    self.assertEqual(seen.fallen, [])
                    self.assertEqual(seen.last[REQUESTS], seen.made)
                    self.assertEqual(server.stop(), 0)
