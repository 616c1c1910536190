"""Trial's test cases, with a `subTest` that works: trial's own stops at the first failure."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import SkipTest

from twisted.trial import unittest


class _SubTestMixin:
    """Rows of a table as subtests."""

    _failed_rows: list[str] | None = None

    @contextmanager
    def subTest(self, message: object = "", **row: Any) -> Iterator[None]:
        """One row: if it fails the rest of the test runs, and all failed rows are reported.

        Args:
            message: what the row is called.
            row: its values, or some by which it is recognized; long ones are shortened.
        """
        try:
            yield
        except SkipTest:
            raise
        except Exception as error:
            if self._failed_rows is None:
                self._failed_rows = []
                self.addCleanup(self._report)
            names = [str(message)] if message else []
            names += [f"{name}={value!r:.200}" for name, value in row.items()]
            title = f"Row {', '.join(names)}:\n"
            self._failed_rows.append(title + "".join(traceback.format_exception(error)))

    def _report(self) -> None:
        count = f"{len(self._failed_rows)} rows failed"
        raise AssertionError("\n\n".join([count, *self._failed_rows]))


class SynchronousTestCase(_SubTestMixin, unittest.SynchronousTestCase):
    """A test that returns when it is done."""


class TestCase(_SubTestMixin, unittest.TestCase):
    """A test that may return a Deferred."""
