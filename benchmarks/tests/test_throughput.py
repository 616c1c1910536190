"""The throughput benchmark, in short runs: it measures us, and it sees a wrong answer."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial

from benchmarking import benchmark
from twisted.trial.unittest import SkipTest, SynchronousTestCase

SHORT = ("--rounds", "1", "--seconds", "1", "--connections", "4", "--idle-connections", "1000")
TIMEOUT = 90

throughput = partial(benchmark, "throughput.py", *SHORT, timeout=TIMEOUT)


class ThroughputBenchmarkTests(SynchronousTestCase):
    """Short runs of the benchmark."""

    def setUp(self) -> None:
        """Look for what it needs."""
        if shutil.which("wrk") is None:
            raise SkipTest("wrk is not installed")
        if sys.platform != "linux":
            raise SkipTest("it runs on Linux only")
        if len(os.sched_getaffinity(0)) < 2:
            raise SkipTest("it needs two processors")

    def test_measures_us(self) -> None:
        """Without any other server it tells rate, processor time and memory of our own."""
        status, report, errors = throughput(
            *("--servers", "graceful", "--scenarios", "plain", "post", "idle")
        )
        self.assertEqual(status, 0, errors)
        self.assertEqual(list(report["scenarios"]), ["plain", "post"])
        for scenario in report["scenarios"].values():
            summary = scenario["servers"]["graceful"]["summary"]
            self.assertGreater(summary["rate"], 0)
            self.assertGreater(summary["cpu"], 0)
            self.assertEqual(summary["errors"], 0)
            self.assertIsNone(summary["ratio"])
        self.assertGreater(report["idle"]["memory"]["graceful"], 0)

    def test_sees_a_wrong_answer(self) -> None:
        """A server that answers something else is named, and the exit status is 2."""
        status, report, errors = throughput(
            *("--servers", "bare", "--scenarios", "plain", "--command"),
            "wrong={python} -m http.server --bind 127.0.0.1 {port}",
        )
        self.assertEqual(status, 2, errors)
        servers = report["scenarios"]["plain"]["servers"]
        self.assertIn("wrong answer: status 200", servers["wrong"]["trouble"])
        self.assertIsNone(servers["wrong"]["summary"])
        self.assertGreater(servers["bare"]["summary"]["rate"], 0)

    def test_measures_workers(self) -> None:
        """With --workers it tells what one worker and several do, and what each process used."""
        status, report, errors = throughput("--servers", "graceful", "--workers", "2")
        self.assertEqual(status, 0, errors)
        measured = report["scaling"]["plain"]["servers"]["graceful"]
        self.assertEqual([len(measured["one"]), len(measured["several"])], [1, 1])
        # A master beside its workers.
        self.assertEqual(len(measured["one"][0]["processes"]), 2)
        self.assertEqual(len(measured["several"][0]["processes"]), 3)
        self.assertGreater(measured["summary"]["scaling"], 0)
        self.assertLessEqual(measured["summary"]["even"], 1)
        self.assertEqual(measured["summary"]["errors"], 0)
