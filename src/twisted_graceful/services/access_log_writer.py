"""The access log of a server, while its file is open."""

from __future__ import annotations

import atexit

from twisted.internet.interfaces import IReactorTime

from ..config.server_settings import ServerSettings
from ..http.log.access_log import BUFFER, AccessLog
from ..process.host.log_file import LogFile, LogFiles


class AccessLogWriter:
    """The access log of a server, which shares its file with other servers.

    Args:
        logs: where the file comes from.
        settings: its path, empty for no access log, and its format.
        clock: when lines are written.
    """

    def __init__(self, logs: LogFiles, settings: ServerSettings, clock: IReactorTime) -> None:
        self._logs = logs
        self._settings = settings
        self._clock = clock
        self._file: LogFile | None = None
        self._log: AccessLog | None = None

    def open(self) -> None:
        """Open the file, if there is to be one.

        Raises:
            LogFileError: it cannot be opened.
        """
        if self._settings.access_log and self._file is None:
            self._file = self._logs.open(self._settings.access_log)
            atexit.register(self.close)  # a program may end without stopping its services

    def start(self) -> AccessLog | None:
        """The log that requests are written to; None if the file is not open."""
        if self._file is not None:
            self._log = AccessLog(
                self._settings.access_log_format, self._clock, self._file.write, buffer=BUFFER
            )
        return self._log

    def flush(self) -> None:
        """Write the lines that are not written yet."""
        if self._log is not None:
            self._log.flush()

    def reopen(self) -> None:
        """Go on in a new file, after somebody has moved the present one away."""
        self.flush()
        self._logs.reopen()

    def close(self) -> None:
        """Write what is left, and close the file."""
        log, self._log = self._log, None
        if log is not None:
            log.close()
        file, self._file = self._file, None
        if file is not None:
            self._logs.close(file)
            atexit.unregister(self.close)
