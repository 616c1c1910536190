"""The test cases of the other modules: a failed row must not hide another one."""

from __future__ import annotations

import unittest

from .. import case


class Rows(case.SynchronousTestCase):
    """A test with rows, of which two are wrong."""

    __test__ = False

    def runTest(self) -> None:
        """The rows 1 and 3 fail."""
        for number in range(4):
            with self.subTest("number", number=number):
                self.assertEqual(number % 2, 0)
        self.reached_the_end = True


class Skipped(case.SynchronousTestCase):
    """A test that finds out in a row that it cannot run."""

    __test__ = False

    def runTest(self) -> None:
        """The row is skipped, and so is the test."""
        with self.subTest():
            raise unittest.SkipTest("not here")


class Asynchronous(case.TestCase):
    """A test whose rows end later."""

    __test__ = False

    async def runTest(self) -> None:
        """The only row fails."""
        with self.subTest(name="only"):
            self.fail("as it should")


class SubTestTests(case.SynchronousTestCase):
    """`subTest`."""

    def result(self, test: case.SynchronousTestCase | case.TestCase) -> unittest.TestResult:
        """What comes of a test."""
        result = unittest.TestResult()
        test.run(result)
        return result

    def test_all_failed_rows_are_reported(self) -> None:
        """A test goes on after a failed row, fails in the end, and names each failed row."""
        test = Rows()
        ((_, report),) = self.result(test).errors
        self.assertTrue(test.reached_the_end)
        self.assertEqual(report.count("Row number"), 2)
        for number in (1, 3):
            self.assertIn(f"Row number, number={number}:\n", report)
        self.assertIn("in runTest", report)

    def test_deferred(self) -> None:
        """A row of an asynchronous test fails that test."""
        ((_, report),) = self.result(Asynchronous()).errors
        self.assertIn("Row name='only':\n", report)
        self.assertIn("as it should", report)

    def test_skip(self) -> None:
        """A row that raises SkipTest skips the test."""
        result = self.result(Skipped())
        self.assertEqual((len(result.skipped), result.errors), (1, []))
