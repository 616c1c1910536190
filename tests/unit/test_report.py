"""What is told of a drain."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_graceful import Cut, DrainReport

SLOW = Cut(method="GET", path="/slow", age=30.04, doing="being answered")
UPLOAD = Cut(method="PUT", path="/files", age=31.0, doing="sending its request")


class TextTests(SynchronousTestCase):
    """The line of the log."""

    def test_nothing_cut(self) -> None:
        """A drain that cut nothing is told in numbers."""
        report = DrainReport(answered=12, closed_idle=3, seconds=1.26)
        self.assertEqual(str(report), "12 answered, 3 idle closed, 0 cut, in 1.3 s")

    def test_sent_away(self) -> None:
        """WebSockets that were told to go are counted, where there were any."""
        report = DrainReport(sent_away=5, seconds=28)
        self.assertEqual(
            str(report), "0 answered, 0 idle closed, 5 WebSockets sent away, 0 cut, in 28.0 s"
        )

    def test_cut(self) -> None:
        """Every request that was cut is named: method, path, what it did and its age."""
        report = DrainReport(cut=(SLOW, UPLOAD), seconds=30)
        self.assertEqual(
            str(report),
            "0 answered, 0 idle closed, 2 cut, in 30.0 s; cut: "
            "GET /slow (being answered, 30.0 s), PUT /files (sending its request, 31.0 s)",
        )


class SumTests(SynchronousTestCase):
    """Drains that ran side by side."""

    def test_sum(self) -> None:
        """Counts add up, what was cut is joined, and the longest says how long it took."""
        first = DrainReport(answered=1, closed_idle=2, cut=(SLOW,), seconds=5, sent_away=3)
        second = DrainReport(answered=10, closed_idle=20, cut=(UPLOAD,), seconds=3, sent_away=30)
        self.assertEqual(first + second, DrainReport(11, 22, (SLOW, UPLOAD), 5, 33))

    def test_nothing(self) -> None:
        """A report and an empty one make that report, so that any number can be summed."""
        report = DrainReport(answered=1, cut=(SLOW,), seconds=2)
        self.assertEqual(sum([report], DrainReport()), report)


class ExitStatusTests(SynchronousTestCase):
    """What a process that stopped tells its parent."""

    def test_statuses(self) -> None:
        """It is 0 when everything was answered, and 1 when something was cut."""
        self.assertEqual(DrainReport(answered=5, closed_idle=5).exit_status, 0)
        self.assertEqual(DrainReport(answered=5, cut=(SLOW,)).exit_status, 1)
