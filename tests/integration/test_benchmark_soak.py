"""The soak, in short runs: it completes, and it sees what fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"
TIMEOUT = 90


def soak(*options: str) -> tuple[int, dict[str, Any], str]:
    """Run it: its exit status, its report, and what it says on standard error."""
    done = subprocess.run(
        [sys.executable, str(SOAK), "--json", "-", "--timeout", str(TIMEOUT), *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 15,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


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
            *("--seconds", "1", "--seed", "1", "--plot", os.devnull),
            *("--deploys", "good", "--options", "--drain-timeout 0.1"),
        )
        self.assertEqual(status, 1, errors)
        self.assertNotEqual(report["failures"], [])
        self.assertEqual((report["deaths"], report["in_flight"]), ([], 0))
