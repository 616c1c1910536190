"""The benchmark that kills workers, in short runs: it completes, and it sees what fails."""

from __future__ import annotations

import sys
from functools import partial

from benchmarking import benchmark
from twisted.trial.unittest import SkipTest, SynchronousTestCase

TIMEOUT = 60

kills = partial(benchmark, "kills.py", "--warm-up", "0.5", "--cool-down", "0.5", timeout=TIMEOUT)


class KillsTests(SynchronousTestCase):
    """Short runs."""

    def setUp(self) -> None:
        """Look for what it needs."""
        if sys.platform != "linux":
            raise SkipTest("it runs on Linux only")

    def test_only_the_clients_of_the_killed_notice(self) -> None:
        """Kills cost requests on connections that the killed had accepted, and nothing else."""
        status, report, errors = kills("--seconds", "2", "--seed", "4")
        self.assertEqual(status, 0, f"{errors}{report.get('failures')}{report.get('problems')}")
        self.assertGreater(len(report["deaths"]), 0)
        self.assertGreater(sum(len(each["clients"]) for each in report["deaths"]), 0)
        self.assertGreater(report["of_victims"], 0)
        self.assertEqual(
            report["total"]["requests"] - report["total"]["answered"], report["of_victims"]
        )
        had = report["master"]["descriptors"]
        self.assertLessEqual(had[-1], had[0])

    def test_other_failures_are_seen(self) -> None:
        """Requests that fail on connections of workers that live are failures: pipelined ones
        here, behind an answer that says that it is the last."""
        status, report, errors = kills(
            *("--seconds", "1", "--seed", "4", "--options", "--max-requests-per-connection 7"),
        )
        self.assertEqual(status, 1, errors)
        self.assertGreater(len(report["failures"]), 0)
        killed = {port for death in report["deaths"] for port in death["clients"]}
        self.assertTrue(any(each["port"] not in killed for each in report["failures"]))
