"""The benchmarks of upgrades, in short runs: they complete, and see what is lost."""

from __future__ import annotations

import sys
from functools import partial

from benchmarking import benchmark
from twisted.trial.unittest import SkipTest, SynchronousTestCase

PLAIN = (
    "twistd -n --pidfile {pidfile} graceful --port 127.0.0.1:{port} --app upgrade_app.resource"
    " --probation 0"
)
HASTY = f"{PLAIN} --drain-timeout 0.1"
FAILURES = ("refused", "reset", "lost", "truncated", "wrong", "racing")
CLOSES = ("announced", "fin", "rst", "broken")
TIMEOUT = 90

upgrade = partial(benchmark, "upgrade.py", timeout=TIMEOUT)
handover = partial(benchmark, "handover.py", timeout=TIMEOUT)


class UpgradeBenchmarkTests(SynchronousTestCase):
    """Short runs of the benchmark."""

    def test_nothing_is_lost(self) -> None:
        """Over two upgrades every request is answered as it must be, and no connection closed."""
        status, report, errors = upgrade(
            *("--upgrades", "2", "--warm-up", "1", "--cool-down", "1", "--closes-fail"),
            *("--event-stream", "2", "--resting", "50"),
        )
        self.assertEqual(status, 0, f"{errors}{report.get('failures')}")
        self.assertEqual(
            {each: report["total"][each] for each in FAILURES}, dict.fromkeys(FAILURES, 0)
        )
        self.assertEqual(report["total"]["answered"], report["total"]["requests"])
        self.assertEqual(
            [name for name, kind in report["kinds"].items() if not kind["answered"]], []
        )
        self.assertEqual((len(report["upgrades"]), report["generations"]), (2, 3))
        self.assertEqual(report["exit_statuses"], [0, 0, 0])
        self.assertEqual(report["newest"], report["kept"])
        kept = [kind for name, kind in report["kinds"].items() if "one-request" not in name]
        self.assertEqual(report["kept"], sum(kind["clients"] for kind in kept))
        self.assertEqual(report["closes"], 0)
        self.assertEqual([kind["connections"] for kind in kept], [kind["clients"] for kind in kept])

    def test_workers_and_tls(self) -> None:
        """Workers are replaced below their master; only TLS connections are closed."""
        status, report, errors = upgrade(
            *("--upgrades", "1", "--warm-up", "1", "--cool-down", "0", "--closes-fail"),
            *("--workers", "2", "--tls", "--signal", "HUP", "--resting", "10"),
        )
        self.assertEqual(status, 0, f"{errors}{report.get('failures')}")
        self.assertEqual(report["total"]["answered"], report["total"]["requests"])
        self.assertGreater(report["kinds"]["keep-alive tls"]["answered"], 0)
        self.assertNotIn("resting tls", report["kinds"])
        self.assertEqual(report["closes"], report["tls_closes"])
        self.assertEqual(report["generations"], 4)

    def test_what_is_lost_is_seen(self) -> None:
        """A server that cuts requests at an upgrade makes the benchmark fail, and count them."""
        status, report, errors = upgrade(
            *("--upgrades", "1", "--warm-up", "1", "--cool-down", "0", "--command", HASTY),
            *("--resting", "0"),
        )
        self.assertEqual(status, 1, errors)
        failed = sum(report["total"][each] for each in FAILURES)
        self.assertGreater(failed, 0)
        self.assertEqual(report["total"]["answered"] + failed, report["total"]["requests"])
        self.assertEqual(report["exit_statuses"][0], 1)
        self.assertGreater(report["total"]["broken"], 0)
        self.assertEqual(report["closes"], sum(report["total"][way] for way in CLOSES))

    def test_closes_can_be_failures(self) -> None:
        """With --closes-fail a server that ends connections, if with notice, makes it fail."""
        status, report, errors = upgrade(
            *("--upgrades", "1", "--warm-up", "1", "--cool-down", "0", "--closes-fail"),
            *("--command", f"{PLAIN} --max-requests-per-connection 100", "--resting", "0"),
        )
        self.assertEqual(status, 1, errors)
        # Each close makes one client connect anew, but for the last one: two ways to count.
        kept = [kind for name, kind in report["kinds"].items() if "one-request" not in name]
        anew = sum(kind["connections"] - kind["clients"] for kind in kept)
        self.assertLessEqual(anew, report["closes"])
        self.assertGreaterEqual(anew + sum(kind["clients"] for kind in kept), report["closes"])
        self.assertGreater(report["total"]["announced"], 0)
        self.assertEqual([report["total"][each] for each in FAILURES], [0] * len(FAILURES))


class HandoverBenchmarkTests(SynchronousTestCase):
    """A short run of the benchmark of the handover."""

    def test_it_measures(self) -> None:
        """It upgrades without connections and with some, which the new process has then."""
        if sys.platform != "linux":
            raise SkipTest("it runs on Linux only")
        status, report, errors = handover("--connections", "50")
        self.assertEqual(status, 0, errors)
        self.assertEqual([each["connections"] for each in report], [0, 50])
        for each in report:
            self.assertEqual(each["newest"], each["connections"])
            self.assertGreater(each["new"], 0)
            self.assertGreaterEqual(each["gone"], each["ready"])
