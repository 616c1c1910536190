"""How many workers ``auto`` is."""

from __future__ import annotations

import math
import os
from pathlib import Path
from unittest import mock

from twisted_graceful.config.option_types import AUTO
from twisted_graceful.process.host.cpu_count import quota, usable
from twisted_graceful.services.service import count

from ..case import SynchronousTestCase
from .support import temporary_directory


class QuotaTests(SynchronousTestCase):
    """Control groups as files."""

    def setUp(self) -> None:
        """There are none."""
        self.root = Path(temporary_directory(self))
        self.membership = self.root / "membership"

    def groups(self, membership: str, **files: str) -> None:
        """This process is in some groups, which have some files."""
        self.membership.write_text(membership)
        for path, text in files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)

    def quota(self) -> float:
        """What they let it have."""
        return quota(self.root, self.membership)

    def test_none(self) -> None:
        """Where there are no control groups there is no limit."""
        self.assertEqual(self.quota(), math.inf)

    def test_version_2(self) -> None:
        """The quota in a period is what a container has."""
        self.groups("0::/\n", **{"cpu.max": "150000 100000\n"})
        self.assertEqual(self.quota(), 1.5)

    def test_version_2_without_a_limit(self) -> None:
        """`max` is none."""
        self.groups("0::/\n", **{"cpu.max": "max 100000\n"})
        self.assertEqual(self.quota(), math.inf)

    def test_the_groups_above(self) -> None:
        """The least of a group and of those that it is in counts; the root has no such file."""
        self.groups(
            "0::/pod/container\n",
            **{"pod/cpu.max": "50000 100000\n", "pod/container/cpu.max": "400000 100000\n"},
        )
        self.assertEqual(self.quota(), 0.5)

    def test_version_1(self) -> None:
        """Quota and period are two files, in the hierarchy of that controller."""
        self.groups(
            "5:memory:/x\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/x\n0::/x\n",
            **{
                "cpu/docker/1/cpu.cfs_quota_us": "250000\n",
                "cpu/docker/1/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
        )
        self.assertEqual(self.quota(), 2.5)

    def test_a_path_that_is_not_seen(self) -> None:
        """A container that sees its own group as the root, but the path from outside."""
        self.groups(
            "4:cpu,cpuacct:/docker/1\n",
            **{"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"},
        )
        self.assertEqual(self.quota(), 2)

    def test_what_is_no_number(self) -> None:
        """Nonsense in a file is no limit, and no error."""
        self.groups("0::/\n", **{"cpu.max": "many\n"})
        self.assertEqual(self.quota(), math.inf)

    def test_usable(self) -> None:
        """A quota is rounded up, to one at least, and never more than there are processors."""
        with mock.patch.object(os, "sched_getaffinity", return_value={0, 1, 2, 3}):
            for limit, expected in (("max", 4), ("250000", 3), ("1000", 1), ("900000", 4)):
                with self.subTest(limit=limit, expected=expected):
                    self.groups("0::/\n", **{"cpu.max": f"{limit} 100000\n"})
                    self.assertEqual(usable(self.root, self.membership), expected)

    def test_auto(self) -> None:
        """So many workers are `auto`, and a number is itself."""
        self.assertEqual(count(AUTO), usable())
        self.assertEqual(count("3"), 3)
