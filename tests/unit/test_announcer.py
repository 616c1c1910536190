"""What is said of upgrades, and to whom."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, capturedLogs, formatEvent

from twisted_graceful.event_names import EventName
from twisted_graceful.process.upgrade.announcer import Announcer
from twisted_graceful.process.upgrade.upgrade_events import (
    RollingRestartProgress,
    UpgradeProgress,
    Watcher,
)

from ..case import SynchronousTestCase


class FakeSupervisor:
    """Notes what the service manager is told, and in which way."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        def tell(*arguments: Any) -> None:
            [status] = [each for each in arguments if isinstance(each, str)]
            self.told.append((name, status))

        return tell


class FakeWatcher(Watcher):
    """Notes the steps of upgrades and rolls."""

    def __init__(self) -> None:
        self.steps: list[UpgradeProgress | RollingRestartProgress] = []

    def progress(self, progress: UpgradeProgress) -> None:
        """A step of an upgrade."""
        self.steps.append(progress)

    def rolling_restart_progress(self, roll: RollingRestartProgress) -> None:
        """A step of a roll."""
        self.steps.append(roll)


class FakeRecord:
    """Notes what is recorded."""

    def __init__(self) -> None:
        self.noted: list[object] = []

    def begin(self) -> None:
        """Begin anew."""
        self.noted.clear()

    def note(self, step: object) -> None:
        """A step."""
        self.noted.append(step)


class ChronicleTests(SynchronousTestCase):
    """Generation 4, of the pid 40, and its successor of the pid 50."""

    def setUp(self) -> None:
        """Nothing has been said."""
        self.supervisor, self.watcher = FakeSupervisor(), FakeWatcher()
        self.chronicle = Announcer(4, 40, self.supervisor, self.watcher)  # type: ignore[arg-type]

    def test_a_roll(self) -> None:
        """Its steps are watched and recorded, and those of the next in the place of the last."""
        record: Any = FakeRecord()
        supervisor: Any = self.supervisor
        chronicle = Announcer(4, 40, supervisor, self.watcher, record)
        steps = [
            RollingRestartProgress(1, EventName.REPLACING, 0, 1),
            RollingRestartProgress(1, EventName.DONE, 1, 1),
            RollingRestartProgress(2, EventName.REPLACING, 0, 1),
            RollingRestartProgress(2, EventName.FAILED, 0, 1, "it fell"),
        ]
        for step in steps:
            chronicle.rolling_restart_progress(step)
        self.assertEqual(self.watcher.steps, steps)
        self.assertEqual(record.noted, steps[2:])

    def test_an_upgrade(self) -> None:
        """Its steps are watched, and the service manager hears who serves."""
        with capturedLogs() as events:
            self.chronicle.begins(60)
            self.chronicle.started(50)
            self.chronicle.queued()
            self.chronicle.hands_over(50)
            self.chronicle.drained()
            self.chronicle.stands_by(10)
            self.chronicle.done(50)
            self.chronicle.ended()
        self.assertEqual(
            self.watcher.steps,
            [
                UpgradeProgress(EventName.STARTED, 5, 50),
                UpgradeProgress(EventName.QUEUED, 5),
                UpgradeProgress(EventName.READY, 5, 50),
                UpgradeProgress(EventName.DRAINED, 5),
                UpgradeProgress(EventName.DONE, 5, 50),
            ],
        )
        self.assertEqual(
            self.supervisor.told,
            [
                ("reloads", "Upgrade: generation 5 starts; generation 4 serves (pid 40)"),
                ("hands_over", "Generation 5 serves (pid 50); generation 4 (pid 40) drains"),
            ],
        )
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "Upgrade: generation 5 starts (pid 50)",
                "Upgrade: one is under way; another one follows it",
                "Upgrade: generation 5 is ready; generation 4 drains",
                "Upgrade: generation 4 has drained; it accepts again should generation 5 die "
                "within 10 seconds of ready (the probation)",
                "Upgrade: generation 4 (pid 40) ends; generation 5 serves",
            ],
        )

    def test_the_end_of_a_process_that_was_stopped(self) -> None:
        """The log does not say that a successor serves which may have been stopped, too."""
        was_told = "was told to stop, and ends; generation 5 had taken over"
        for told, successor_stops, expected in (
            (True, False, was_told),
            (False, True, "ends; generation 5 is stopping too"),
            (True, True, "ends; generation 5 is stopping too"),
        ):
            with self.subTest(told=told, successor_stops=successor_stops):
                with capturedLogs() as events:
                    self.chronicle.ended(told=told, successor_stops=successor_stops)
                [text] = map(formatEvent, events)
                self.assertEqual(text, f"Upgrade: generation 4 (pid 40) {expected}")

    def test_who_serves(self) -> None:
        """A successor serves, and then it is alone."""
        with capturedLogs() as events:
            self.chronicle.serves(predecessor_drains=True)
            self.chronicle.predecessor_ended()
        self.assertEqual(
            self.supervisor.told,
            [
                ("serves", "Generation 4 serves (pid 40); generation 3 drains"),
                ("notify_status", "Generation 4 serves (pid 40)"),
            ],
        )
        self.assertEqual([formatEvent(event) for event in events], ["Generation 4 serves (pid 40)"])

    def test_a_failure(self) -> None:
        """The log has what the successor wrote, and whether clients have met other code."""
        for serves_on, says in (
            (True, "Generation 4 serves on."),
            (False, "Generation 4 (pid 40) accepts again, with the code from before the upgrade."),
        ):
            with self.subTest(serves_on=serves_on, says=says):
                with capturedLogs() as events:
                    self.chronicle.failed("it fell", "Traceback", serves_on=serves_on)
                [event] = events
                self.assertEqual(event["log_level"], LogLevel.error)
                self.assertEqual(
                    formatEvent(event),
                    f"Upgrade failed: generation 5: it fell. {says} The last it wrote:\nTraceback",
                )
                self.assertEqual(
                    self.supervisor.told.pop(),
                    (
                        "serves",
                        "Upgrade failed: generation 5: it fell. Generation 4 serves (pid 40)",
                    ),
                )
                self.assertEqual(
                    self.watcher.steps.pop(),
                    UpgradeProgress(EventName.FAILED, 5, reason="it fell", output="Traceback"),
                )

    def test_given_up(self) -> None:
        """An upgrade that a stop ends has failed; the service manager hears of the stop only."""
        self.chronicle.given_up("this process was told to stop")
        self.assertEqual(
            self.watcher.steps,
            [UpgradeProgress(EventName.FAILED, 5, reason="this process was told to stop")],
        )
        self.assertEqual(self.supervisor.told, [])
