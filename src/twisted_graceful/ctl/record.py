"""Reads the record that a server keeps in a file in memory, found in ``/proc/PID/fd``."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..event_names import EventName
from ..json_object import JsonObject
from .events import Event, decode, name_of

_NAME = "/memfd:twisted-graceful (deleted)"
"""What such a link shows (memfd_create(2))."""


_OF_A_STOP = (EventName.STOPPING, EventName.STOPPED)


class RecordMissing(OSError):
    """The process can be inspected, and has no record: it is not one of our servers."""


class RecordReader:
    """How a server was started, and the steps of its last upgrade.

    Args:
        pid: of the server.

    Raises:
        RecordMissing: there is none.
        PermissionError: this user may not look into that process.
        OSError: the system does not show what processes have open.
    """

    def __init__(self, pid: int) -> None:
        directory = f"/proc/{pid}/fd"
        self._path = ""
        for name in os.listdir(directory):
            path = f"{directory}/{name}"
            try:
                if os.readlink(path) == _NAME:
                    self._path = path
                    break
            except FileNotFoundError:  # closed meanwhile
                pass
        if not self._path:
            raise RecordMissing(f"process {pid} has no record of a twisted-graceful")
        self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""
        self.launch: JsonObject = {}
        self._earlier = list(self.new_events())

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    @property
    def last_upgrade(self) -> list[Event]:
        """The steps of the last upgrade or reload, when this object was made."""
        return [each for each in self._earlier if name_of(each) not in _OF_A_STOP]

    def is_stopping(self, pid: int) -> bool:
        """Whether a process had begun to stop when this object was made."""
        return any(
            name_of(it) == EventName.STOPPING and it.get("pid") == pid for it in self._earlier
        )

    @property
    def pid_file(self) -> str | None:
        """The path of the server's pid file; empty if it has none, None if it does not say."""
        path = self.launch.get("pid_file")
        return path if isinstance(path, str) else None

    def new_events(self) -> Iterator[Event]:
        """What has happened since one has looked the last time."""
        yield from self._read()
        if self._is_replaced():  # by that of another upgrade
            yield from self._read()
            try:
                new = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return
            os.close(self._file)
            self._file, self._rest = new, b""
            yield from self._read()

    def _is_replaced(self) -> bool:
        try:
            if os.readlink(self._path) != _NAME:
                return False
            return os.stat(self._path).st_ino != os.fstat(self._file).st_ino
        except OSError:  # the process has ended; its file lives on with us
            return False

    def _read(self) -> Iterator[Event]:
        while data := os.read(self._file, 1 << 16):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                entry = decode(line)
                if "event" in entry:
                    yield entry
                else:
                    self.launch = entry


def readable_records() -> Iterator[tuple[int, RecordReader]]:
    """All processes on this machine whose record this user may read, with their records."""
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            try:
                record = RecordReader(int(name))
            except OSError:  # none, another user's, or ended meanwhile
                continue
            with record:
                yield int(name), record
