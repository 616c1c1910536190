"""Short runs of the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]

SLACK = 15
"""Seconds that a run may take beyond its own timeout."""


def benchmark(script: str, *options: str, timeout: int) -> tuple[int, Any, str]:
    """Run a benchmark to its end.

    Args:
        script: the name of its file.
        options: of its command line.
        timeout: seconds that it may take.

    Returns:
        Its exit status, its report, and what it says on standard error.
    """
    report = ("--json", "-", "--timeout", str(timeout))
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *report, *options],
        capture_output=True,
        text=True,
        timeout=timeout + SLACK,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr
