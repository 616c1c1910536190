"""Controls a server by signals, when only its pid file is known.

The progress of an upgrade is read from the server's record. Only root can read the record of a
process that has changed its user, and some systems have no records: then the pid file is watched.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from ..event_names import EventName
from ..json_object import JsonObject
from .events import Event, is_rolling_restart, name_of
from .follow import follow
from .outcome import CtlError, Exit, require_time
from .pid_file_lookup import PidFileLookup
from .record import RecordReader
from .server_process import ServerProcess


class SignalClient:
    """A server that is found by its pid file.

    Args:
        path: of the pid file.
        timeout: seconds that a command may take.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._pid_file = PidFileLookup(path, timeout)
        self._timeout = timeout

    def status(self) -> JsonObject:
        """That it runs, and whether it is stopping: a pid file and a record show no more."""
        with self._pid_file.process() as process:
            self._require_not_suspended(process)
            with self._record_if_readable(process) as record:
                stops = record is not None and record.is_stopping(process.pid)
            return {
                "pid": process.pid,
                "running": True,
                "stopping": stops,
                "pid_file": self._path,
            }

    def pid(self) -> int:
        """The process that the pid file names."""
        with self._pid_file.process() as process:
            return process.pid

    def upgrade(self) -> Iterator[Event]:
        """Send USR2, and read what the server records; where it cannot be read, watch."""
        return self._followed(signal.SIGUSR2, is_rolling=False)

    def reload(self) -> Iterator[Event]:
        """The same with HUP."""
        return self._followed(signal.SIGHUP, is_rolling=None)

    def _followed(self, number: signal.Signals, is_rolling: bool | None) -> Iterator[Event]:
        deadline = time.monotonic() + self._timeout
        try:
            with self._pid_file.process() as process, RecordReader(process.pid):
                pass
        except OSError:
            return self._observed_events(number, deadline)
        return follow(
            lambda: self._recorded_events(number, deadline), self.pid, repr(self._path), is_rolling
        )

    def _recorded_events(self, number: signal.Signals, deadline: float) -> Iterator[Event]:
        """Send a signal; what happens from then on, until the process has ended."""
        with self._pid_file.process() as process, self._record(process) as record:
            yield self._send_unless_ignored(process, number)
            is_over = False
            while not is_over:
                is_over = process.ended_within()
                for event in record.new_events():
                    others = event.get("pid") != process.pid and not is_rolling_restart(event)
                    if name_of(event) == EventName.DONE and others:
                        self._wait_for_end(process, deadline)  # which is about to end
                    yield event
                self._require_time(deadline, "the server has not said how that ended; it goes on")

    def _wait_for_end(self, process: ServerProcess, deadline: float) -> None:
        while not process.ended_within():
            self._require_time(deadline, f"process {process.pid} has not ended yet")

    def _send_unless_ignored(self, process: ServerProcess, number: signal.Signals) -> Event:
        if process.disposition_of(number) == "ignored" and number == signal.SIGHUP:
            raise CtlError(
                Exit.NOT_SUPPORTED,
                f"process {process.pid} ignores HUP: it was started under nohup, or by something "
                "that cannot be upgraded. `gracefulctl upgrade` does not need HUP",
            )
        if process.disposition_of(number) == "ignored":
            raise CtlError(
                Exit.NOT_SUPPORTED,
                f"process {process.pid} ignores {number.name[3:]}: it was started by something "
                "that cannot be upgraded, such as listen_and_serve",
            )
        return self._send(process, number)

    def _observed_events(self, number: signal.Signals, deadline: float) -> Iterator[Event]:
        """Send a signal; another process in the pid file serves, and the end of this ends it."""
        with self._pid_file.process() as old:
            yield self._send_unless_ignored(old, number)
            successor = self._successor(old, number, deadline)
            with successor:
                yield {"event": EventName.READY, "pid": successor.pid}
                while not old.ended_within():
                    if self._pid_file.read_pid() == old.pid or not successor.alive():
                        reason = f"process {successor.pid} did not last; the server's log says why"
                        yield {"event": EventName.FAILED, "reason": reason}
                        return
                    self._require_time(deadline, "the probation of the new code is not over")
                yield {"event": EventName.DONE, "pid": successor.pid}

    def _successor(
        self, old: ServerProcess, number: signal.Signals, deadline: float
    ) -> ServerProcess:
        stays = "" if number == signal.SIGUSR2 else ", or has replaced its workers"
        while True:
            ended = old.ended_within()
            named = self._pid_file.read_pid()
            if named not in (None, old.pid):
                try:
                    return ServerProcess(named)
                except ProcessLookupError:
                    pass
            elif ended:
                raise CtlError(
                    Exit.FAILED,
                    f"process {old.pid} has ended, and no other is named by {self._path!r}; "
                    "the server's log says why",
                )
            self._require_time(
                deadline,
                f"{self._path!r} still names process {old.pid}, which serves the old code{stays}. "
                "Whether that failed is in the server's log; its user, and root, "
                "would be told here",
            )

    def _require_time(self, deadline: float, text: str) -> None:
        require_time(deadline, self._timeout, text)

    def stop(self) -> Iterator[Event]:
        """Send TERM, unless it is stopping already, and wait for the end."""
        deadline = time.monotonic() + self._timeout
        with self._pid_file.process() as process, self._record_if_readable(process) as record:
            if record is not None and record.is_stopping(process.pid):
                # A second TERM would cut what is left.
                yield {"event": EventName.STOPPING, "pid": process.pid}
            else:
                yield self._send(process, signal.SIGTERM)
            while not process.ended_within():
                self._require_time(
                    deadline, f"process {process.pid} still drains; a second TERM cuts what is left"
                )
            yield self._stopped(process.pid, record)

    def _stopped(self, pid: int, record: RecordReader | None) -> Event:
        """How a process has ended, by its record."""
        ended: Event = {"event": EventName.STOPPED, "report": f"process {pid} has ended"}
        if record is None or record.pid_file is None:  # which an older version does not say
            return ended
        its_own = (each for each in record.new_events() if each.get("pid") == pid)
        stopped = [each for each in its_own if name_of(each) == EventName.STOPPED]
        if stopped:
            return stopped[-1]  # a process that is held after its drain says that as well
        report = f"process {pid} ended without reporting on its drain; its log may say why"
        return {**ended, "report": report, "clean": False}

    def workers(self, count: int) -> Iterator[Event]:
        """A pid file is not enough for that."""
        raise CtlError(
            Exit.NOT_SUPPORTED,
            "a pid file is not enough to set a number of workers: use the admin socket (--admin); "
            "TTIN and TTOU to the process are one more and one less",
        )

    def last_upgrade(self) -> Iterator[Event]:
        """What the server has recorded."""
        with self._pid_file.process() as process, self._record(process) as record:
            yield from record.last_upgrade

    def _record_if_readable(
        self, process: ServerProcess
    ) -> AbstractContextManager[RecordReader | None]:
        try:
            return RecordReader(process.pid)
        except OSError:
            return nullcontext()

    def _record(self, process: ServerProcess) -> RecordReader:
        try:
            return RecordReader(process.pid)
        except PermissionError:
            raise self._not_allowed(process.pid) from None
        except OSError as error:
            raise CtlError(
                Exit.NOT_SUPPORTED,
                f"nothing is known of its upgrades: {error}; the admin socket (--admin) may tell",
            ) from None

    def _require_not_suspended(self, process: ServerProcess) -> None:
        if process.is_suspended:
            raise CtlError(
                Exit.NO_ANSWER,
                f"process {process.pid} is suspended (SIGSTOP, or a debugger): it does "
                "nothing until it gets SIGCONT",
            )

    def _send(self, process: ServerProcess, number: signal.Signals) -> Event:
        self._require_not_suspended(process)
        try:
            process.send(number)
        except PermissionError:
            raise self._not_allowed(process.pid) from None
        except ProcessLookupError:
            raise self._pid_file.not_running(process.pid) from None
        return {"event": EventName.SIGNALLED, "pid": process.pid, "signal": number.name}

    def _not_allowed(self, pid: int) -> CtlError:
        return CtlError(
            Exit.NOT_ALLOWED,
            f"process {pid} is another user's: run this as that user, or as root",
        )
