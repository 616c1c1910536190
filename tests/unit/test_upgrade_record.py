"""What a process leaves for ``gracefulctl``, and how that reads it."""

from __future__ import annotations

import os

from twisted_graceful.ctl import record as reader
from twisted_graceful.event_names import EventName
from twisted_graceful.process.upgrade.launch import Launch
from twisted_graceful.process.upgrade.upgrade_events import (
    RollingRestartProgress,
    UpgradeProgress,
)
from twisted_graceful.process.upgrade.upgrade_record import UpgradeRecord

from ..case import SynchronousTestCase
from .support import leaves_nothing_open

LAUNCH = Launch("/bin/python", ("twistd", "graceful"), "/srv", {"NAME": "\udcff"})
STARTED, READY = (
    UpgradeProgress(EventName.STARTED, 1, 11),
    UpgradeProgress(EventName.READY, 1, 11),
)
FAILED = UpgradeProgress(
    EventName.FAILED, 2, reason="it fell", output="Traceback", another_follows=True
)


class RecordTests(SynchronousTestCase):
    """The record of this process."""

    if not hasattr(os, "memfd_create"):
        skip = "this system has no files in memory"

    def setUp(self) -> None:
        """Begin one."""
        self.record = UpgradeRecord(LAUNCH, pid_file="/run/app.pid")
        self.addCleanup(self.record.close)

    def read(self) -> reader.RecordReader:
        """What another process sees."""
        found = reader.RecordReader(os.getpid())
        self.addCleanup(found.__exit__)  # before that it looks like a record of this process itself
        return found

    def last_upgrade(self) -> list[reader.Event]:
        """What who comes now sees of the last upgrade."""
        with reader.RecordReader(os.getpid()) as found:
            return found.last_upgrade

    def names(self, found: reader.RecordReader) -> list[str]:
        """The events since one has looked the last time."""
        return [str(each["event"]) for each in found.new_events()]

    def test_launch(self) -> None:
        """How the process was started is there from the begin, whatever bytes that has."""
        found = self.read()
        self.assertEqual(found.last_upgrade, [])
        self.assertEqual(
            found.launch,
            {
                "executable": "/bin/python",
                "arguments": ["twistd", "graceful"],
                "directory": "/srv",
                "environment": {"NAME": "\udcff"},
                "pid_file": "/run/app.pid",
            },
        )

    def test_news(self) -> None:
        """Who reads sees each step once, those of the next upgrade too, and none that is lost."""
        found = self.read()
        self.record.begin()
        self.record.note(STARTED)
        self.assertEqual(self.names(found), ["started"])
        self.assertEqual(self.names(found), [])
        self.record.note(READY)
        self.assertEqual(self.names(found), ["ready"])
        self.record.begin()
        self.record.note(FAILED)
        [event] = found.new_events()
        self.assertEqual(
            {**event, "time": ""},
            {
                "time": "",
                "event": "failed",
                "generation": 2,
                "reason": "it fell",
                "output": "Traceback",
                "another_follows": True,
            },
        )
        [last] = self.last_upgrade()
        self.assertEqual(last, event)

    def test_a_stop(self) -> None:
        """A stop is recorded from its begin to its report, and is no step of an upgrade."""
        self.record.note(STARTED)
        self.assertFalse(self.read().is_stopping(11))
        self.record.add(EventName.STOPPING, pid=11)
        found = self.read()
        self.assertEqual([found.is_stopping(pid) for pid in (11, 12)], [True, False])
        self.record.add(EventName.STOPPED, pid=11, report="1 cut", cut=1, clean=True)
        [event] = found.new_events()
        self.assertEqual((event["event"], event["cut"]), ("stopped", 1))
        self.assertEqual([each["event"] for each in self.last_upgrade()], ["started"])

    def test_a_roll(self) -> None:
        """The steps of a roll are recorded in the same way."""
        found = self.read()
        self.record.note(RollingRestartProgress(1, EventName.FAILED, 1, 2, "it fell", "Traceback"))
        [event] = found.new_events()
        self.assertEqual(
            {name: it for name, it in event.items() if name != "time"},
            {
                "event": "failed",
                "rolling_restart": 1,
                "replaced": 1,
                "wanted": 2,
                "reason": "it fell",
                "output": "Traceback",
            },
        )

    def test_after_its_end(self) -> None:
        """What was recorded can be read by who has opened it, when the process is gone."""
        found = self.read()
        self.record.begin()
        self.record.note(STARTED)
        self.assertEqual(self.names(found), ["started"])
        self.record.note(READY)
        self.record.close()
        self.assertEqual(self.names(found), ["ready"])
        self.assertEqual(self.names(found), [])

    def test_of_another_program(self) -> None:
        """A process that is none of ours has no record."""
        self.record.close()
        self.assertRaises(reader.RecordMissing, reader.RecordReader, os.getpid())

    def test_inherited(self) -> None:
        """A successor goes on with the record of how it came about."""
        self.record.begin()
        self.record.note(STARTED)
        descriptor = self.record.descriptor
        successor = UpgradeRecord(LAUNCH, os.dup(descriptor))
        self.record.note(READY)
        self.record.close()
        self.addCleanup(successor.close)
        [first, _] = self.last_upgrade()
        self.assertEqual(first["pid"], 11)
        successor.begin()
        self.assertEqual(self.last_upgrade(), [])

    def test_nothing_is_left_open(self) -> None:
        """No other program inherits the file, and `close` leaves none open."""
        with leaves_nothing_open(self):
            record = UpgradeRecord(LAUNCH)
            record.begin()
            self.assertFalse(os.get_inheritable(record.descriptor))
            record.close()

    def test_without_memfd_create(self) -> None:
        """Where no such file can be made nothing is recorded, and all else goes on."""

        def fails(*_: object) -> int:
            raise OSError

        self.patch(os, "memfd_create", fails)
        record = UpgradeRecord(LAUNCH)
        record.begin()
        record.note(STARTED)
        self.assertLess(record.descriptor, 0)
        record.close()
        # One that there is goes on.
        self.record.begin()
        self.record.note(STARTED)
        self.assertEqual(len(self.last_upgrade()), 1)
