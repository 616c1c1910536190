"""The benchmark that kills workers, in short runs: it completes, and it sees what fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

KILLS = Path(__file__).resolve().parents[2] / "benchmarks" / "kills.py"
TIMEOUT = 60


def kills(*options: str) -> tuple[int, dict[str, Any], str]:
    """Run it: its exit status, its report, and what it says on standard error."""
    done = subprocess.run(
        [
            *(sys.executable, str(KILLS), "--json", "-", "--timeout", str(TIMEOUT)),
            *("--warm-up", "0.5", "--cool-down", "0.5", *options),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 15,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


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
