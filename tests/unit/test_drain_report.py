"""What is told of a drain."""

from __future__ import annotations

import io
import json

from twisted.logger import Logger, jsonFileLogObserver

from twisted_graceful import CutRequest, DrainReport

from ..case import SynchronousTestCase

SLOW = CutRequest(method="GET", path="/slow", age=30.04, doing="being answered")
UPLOAD = CutRequest(method="PUT", path="/files", age=31.0, doing="sending its request")


class TextTests(SynchronousTestCase):
    """The line of the log."""

    def test_nothing_cut(self) -> None:
        """A drain that cut nothing is told in numbers."""
        report = DrainReport(answered=12, closed_idle=3, seconds=1.26)
        self.assertEqual(str(report), "12 answered, 3 idle closed, 0 cut, in 1.3 s")

    def test_nothing(self) -> None:
        """Of what there was none, only answers and cuts are told."""
        self.assertEqual(str(DrainReport(seconds=0.01)), "0 answered, 0 cut, in 0.0 s")

    def test_all(self) -> None:
        """Every way in which a connection can have ended is counted, where there was any."""
        report = DrainReport(
            answered=1, handed_over=2, told_to_close=3, closed_idle=4, sent_away=5, seconds=28
        )
        self.assertEqual(
            str(report),
            "1 answered, 2 handed over, 3 told to close, 4 idle closed, 5 WebSockets sent away, "
            "0 cut, in 28.0 s",
        )

    def test_delay(self) -> None:
        """The shutdown delay is told beside the time that the drain itself took, if there was one.

        The turn of the reactor between the announcement and the drain is none.
        """
        report = DrainReport(seconds=1.5, delay=10.01)
        self.assertEqual(str(report), "0 answered, 0 cut, in 1.5 s after a delay of 10.0 s")
        self.assertNotIn("delay", str(DrainReport(delay=0.01)))

    def test_cut(self) -> None:
        """Every request that was cut is named: method, path, what it did and its age."""
        report = DrainReport(cut=(SLOW, UPLOAD), seconds=30)
        self.assertEqual(
            str(report),
            "0 answered, 2 cut, in 30.0 s; cut: "
            "GET /slow (being answered, 30.0 s), PUT /files (sending its request, 31.0 s)",
        )


class SumTests(SynchronousTestCase):
    """Drains that ran side by side."""

    def test_sum(self) -> None:
        """Counts add up, what was cut is joined, and the longest says how long it took."""
        first = DrainReport(1, 2, (SLOW,), 5, 3, 4, 5, delay=1)
        second = DrainReport(10, 20, (UPLOAD,), 3, 30, 40, 50, delay=2)
        self.assertEqual(
            first + second, DrainReport(11, 22, (SLOW, UPLOAD), 5, 33, 44, 55, delay=2)
        )

    def test_nothing(self) -> None:
        """A report and an empty one make that report, so that any number can be summed."""
        report = DrainReport(answered=1, cut=(SLOW,), seconds=2)
        self.assertEqual(sum([report], DrainReport()), report)


class FieldsTests(SynchronousTestCase):
    """What observers of the log get."""

    def test_json(self) -> None:
        """Every count is a field of its own, and each cut has its parts, in a log in JSON too."""
        output = io.StringIO()
        log = Logger(observer=jsonFileLogObserver(output, recordSeparator=""))
        report = DrainReport(answered=3, cut=(SLOW,), seconds=2)
        log.info("Drained: {report}", report=report, **report.fields)
        event = json.loads(output.getvalue())
        told = {name: event[name] for name in report.fields}
        self.assertEqual((told["answered"], told["seconds"], told["handed_over"]), (3, 2, 0))
        self.assertEqual(
            told["cut"],
            [{"method": "GET", "path": "/slow", "age": 30.04, "doing": "being answered"}],
        )

    def test_the_other_end_reads_it(self) -> None:
        """Another process makes the same report of them."""
        report = DrainReport(answered=3, cut=(CutRequest("GET", "/", 1.5, "body"),), seconds=2.0)
        self.assertEqual(DrainReport.of(json.loads(json.dumps(report.fields))), report)

    def test_another_version(self) -> None:
        """What a newer worker says on top does not keep an older master from its end."""
        cut = {"method": "GET", "path": "/", "age": 1.5, "doing": "body", "since": "noon"}
        self.assertEqual(
            DrainReport.of({"answered": 3, "novel": 4, "cut": [cut]}),
            DrainReport(answered=3, cut=(CutRequest("GET", "/", 1.5, "body"),)),
        )
        self.assertEqual(DrainReport.of({}), DrainReport())


class ExitStatusTests(SynchronousTestCase):
    """What a process that stopped tells its parent."""

    def test_statuses(self) -> None:
        """It is 0 when everything was answered, and 1 when something was cut."""
        self.assertEqual(DrainReport(answered=5, closed_idle=5).exit_status, 0)
        self.assertEqual(DrainReport(answered=5, cut=(SLOW,)).exit_status, 1)
