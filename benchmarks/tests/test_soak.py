"""The soak, in short runs: it completes, and it sees what fails."""

from __future__ import annotations

import os
import sys
from functools import partial

from benchmarking import benchmark
from twisted.trial.unittest import SkipTest, SynchronousTestCase

TIMEOUT = 90

soak = partial(benchmark, "soak.py", timeout=TIMEOUT)


class SoakTests(SynchronousTestCase):
    """Short runs."""

    def setUp(self) -> None:
        """Look for what it needs."""
        if sys.platform != "linux":
            raise SkipTest("it runs on Linux only")

    def test_nothing_fails(self) -> None:
        """Bad deploys and killed processes cost requests in flight, and nothing else."""
        kinds = ["no-import", "kill-successor", "kill-predecessor"]
        status, report, errors = soak(
            *("--seconds", "8", "--seed", "4", "--plot", os.devnull),
            *("--deploys", *kinds),
        )
        self.assertEqual(status, 0, f"{errors}{report.get('failures')}{report.get('problems')}")
        self.assertGreater(len(report["deploys"]), 1)
        self.assertGreater(report["total"]["answered"], 1000)
        self.assertEqual(
            report["total"]["requests"] - report["total"]["answered"], report["in_flight"]
        )
        self.assertGreater(sum(report["killed"].values()), 0)
        self.assertEqual(len(set(report["idle_descriptors"])), 1)

    def test_failures_are_seen(self) -> None:
        """Requests that an upgrade cuts are failures, since nobody has killed a process."""
        status, report, errors = soak(
            *("--seconds", "5", "--seed", "1", "--plot", os.devnull),
            *("--deploys", "good", "--options", "--drain-timeout 0.1"),
        )
        self.assertEqual(status, 1, errors)
        self.assertNotEqual(report["failures"], [])
        self.assertEqual((report["deaths"], report["in_flight"]), ([], 0))
