"""Reports upgrades, rolling restarts and stops: log, service manager, watcher and record."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from ...event_names import EventName
from ..host.systemd import Supervisor
from .upgrade_events import RollingRestartProgress, UpgradeProgress, Watcher
from .upgrade_record import UpgradeRecord


class Announcer:
    """Reports the events of one generation and its successors to all of them.

    Args:
        number: of the generation.
        pid: of its process.
        supervisor: the service manager.
        watcher: is told each event.
        record: what `gracefulctl` reads; None if nothing is recorded.
    """

    _log = Logger()

    def __init__(
        self,
        number: int,
        pid: int,
        supervisor: Supervisor,
        watcher: Watcher,
        record: UpgradeRecord | None = None,
    ) -> None:
        self._number = number
        self._pid = pid
        self._supervisor = supervisor
        self._watcher = watcher
        self._record = record

    @property
    def _serving(self) -> str:
        return f"Generation {self._number} serves (pid {self._pid})"

    def _progress(self, event: EventName, pid: int = 0, **facts: Any) -> None:
        progress = UpgradeProgress(event, self._number + 1, pid, **facts)
        if self._record is not None:
            self._record.note(progress)
        self._watcher.progress(progress)

    # This process

    def serves(self, *, predecessor_drains: bool) -> None:
        """This process serves."""
        self._log.info("Generation {number} serves (pid {pid})", number=self._number, pid=self._pid)
        drains = f"; generation {self._number - 1} drains" if predecessor_drains else ""
        self._supervisor.serves(self._serving + drains)

    def predecessor_ended(self) -> None:
        """It still does, and the predecessor has ended."""
        self._supervisor.notify_status(self._serving)

    # A rolling restart

    def rolling_restart_progress(self, progress: RollingRestartProgress) -> None:
        """A rolling restart has made progress; the pool logs it."""
        if self._record is not None:
            if progress.begins:
                self._record.begin()
            self._record.note(progress)
        self._watcher.rolling_restart_progress(progress)
        if progress.is_over:
            status = (
                f"The workers are not replaced: {progress.reason}"
                if progress.reason
                else ("All workers serve")
            )
            self._supervisor.serves(f"{status} (master: pid {self._pid})")

    # An upgrade

    def queued(self) -> None:
        """Another one was asked for."""
        self._log.info("Upgrade: one is under way; another one follows it")
        self._progress(EventName.QUEUED)

    def not_upgradable(self) -> None:
        """One was asked for, in a program that was started without upgrades."""
        self._log.warn(
            "An upgrade was asked for, and ignored: this program has been started without "
            "upgrades; `listen_and_serve_forever` has them"
        )
        self._supervisor.reloads("An upgrade was asked for, and ignored", 0)
        self._supervisor.serves("Serves on; it has been started without upgrades")

    def begins(self, within: float) -> None:
        """One was asked for.

        Args:
            within: seconds that the successor may take until it is ready.
        """
        if self._record is not None:
            self._record.begin()
        self._supervisor.reloads(
            f"Upgrade: generation {self._number + 1} starts; generation {self._number} serves "
            f"(pid {self._pid})",
            within,
        )

    def started(self, pid: int) -> None:
        """The successor's process runs."""
        self._log.info(
            "Upgrade: generation {number} starts (pid {pid})", number=self._number + 1, pid=pid
        )
        self._progress(EventName.STARTED, pid)

    def hands_over(self, pid: int) -> None:
        """The successor serves, and this process drains."""
        self._supervisor.hands_over(
            pid,
            f"Generation {self._number + 1} serves (pid {pid}); generation {self._number} "
            f"(pid {self._pid}) drains",
        )
        self._log.info(
            "Upgrade: generation {new} is ready; generation {old} drains",
            new=self._number + 1,
            old=self._number,
        )
        self._progress(EventName.READY, pid)

    def drained(self) -> None:
        """This process has nothing left."""
        self._progress(EventName.DRAINED)

    def stands_by(self, seconds: float) -> None:
        """It waits for the end of the probation.

        Args:
            seconds: of the probation, from ready on.
        """
        self._log.info(
            "Upgrade: generation {old} has drained; it accepts again should generation {new} die "
            "within {seconds:g} seconds of ready (the probation)",
            old=self._number,
            new=self._number + 1,
            seconds=seconds,
        )

    def failed(
        self, reason: str, output: str, *, serves_on: bool, another_follows: bool = False
    ) -> None:
        """The successor has ended, and this process serves.

        Args:
            reason: why, in words.
            output: the last that the successor wrote.
            serves_on: whether it never stopped to.
            another_follows: whether another upgrade is due now.
        """
        text = "Upgrade failed: generation {new}: {reason}. Generation {old} "
        if serves_on:
            text += "serves on."
        else:
            text += "(pid {pid}) accepts again, with the code from before the upgrade."
        if output:
            text += " The last it wrote:\n{output}"
        self._log.error(
            text,
            new=self._number + 1,
            old=self._number,
            pid=self._pid,
            reason=reason,
            output=output,
        )
        self._progress(
            EventName.FAILED, reason=reason, output=output, another_follows=another_follows
        )
        self._supervisor.serves(
            f"Upgrade failed: generation {self._number + 1}: {reason}. {self._serving}"
        )

    def given_up(self, reason: str) -> None:
        """This process ends its successor, which was not ready."""
        self._progress(EventName.FAILED, reason=reason)

    def done(self, pid: int, *, another_follows: bool = False) -> None:
        """This process is about to end; the successor goes on.

        Args:
            pid: of the successor.
            another_follows: whether another upgrade is due, which the successor begins.
        """
        self._progress(EventName.DONE, pid, another_follows=another_follows)

    # A stop

    def stops(self) -> None:
        """The service is stopping, and this process with it."""
        if self._record is not None:
            self._record.add(EventName.STOPPING, pid=self._pid)

    def refused(self, reason: str) -> None:
        """An upgrade was asked for, and is refused."""
        self._log.warn("Upgrade refused: {reason}", reason=reason)
        if self._record is not None:
            self._record.add(EventName.FAILED, generation=self._number + 1, reason=reason)

    def stopped(self, report: str, cut: int, clean: bool) -> None:
        """The service has stopped; arguments as for `Watcher.stopped`."""
        if self._record is not None:
            self._record.add(EventName.STOPPED, pid=self._pid, report=report, cut=cut, clean=clean)

    def killed(self) -> None:
        """Something held the process after its stop, and it exits with an error status."""
        if self._record is not None:
            report = f"process {self._pid} did not end by itself and was killed; its log says why"
            self._record.add(
                EventName.STOPPED, pid=self._pid, report=report, held=True, clean=False
            )

    # The end of an upgrade

    def ended(self, *, told: bool = False, successor_stops: bool = False) -> None:
        """This process ends, and has a successor.

        Args:
            told: whether this process was told to stop. (Both may have been, so nothing is said
                then of what the successor does now.)
            successor_stops: whether the successor said that it was.
        """
        text = "Upgrade: generation {old} (pid {pid}) ends; generation {new} serves"
        if successor_stops:
            text = "Upgrade: generation {old} (pid {pid}) ends; generation {new} is stopping too"
        elif told:
            text = (
                "Upgrade: generation {old} (pid {pid}) was told to stop, and ends; "
                "generation {new} had taken over"
            )
        self._log.info(text, old=self._number, pid=self._pid, new=self._number + 1)
