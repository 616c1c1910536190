"""The pid file: names the serving process, and is removed by that process only."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass

from twisted.logger import Logger

_OVERWRITTEN = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)
"""What forbids a new file, and not to write a few bytes where as many are already."""


@dataclass(frozen=True)
class PidFile:
    """A file that holds the pid of this process, or of its successor.

    Faults of the file system are logged; they never end a service.

    Args:
        path: an absolute path.
        pid: of this process.
    """

    path: str
    pid: int

    _log = Logger()

    def write(self) -> None:
        """Put this process's pid in place, by rename: a reader sees the old or the new one.

        Where the directory may not be written but the file may, or the disk is full, the file is
        overwritten.
        """
        try:
            try:
                self._replace()
            except OSError as error:
                if error.errno not in _OVERWRITTEN or not os.path.exists(self.path):
                    raise
                with open(self.path, "r+") as file:
                    file.write(str(self.pid))
                    file.truncate()
        except OSError as error:
            self._log.error(
                "Cannot write the pid file {path}: {error}; "
                "it does not name the serving process, which is {pid}",
                path=self.path,
                error=error,
                pid=self.pid,
            )

    def _replace(self) -> None:
        directory, name = os.path.split(self.path)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
        try:
            with open(descriptor, "w") as file:
                file.write(str(self.pid))
            os.chmod(temporary, self._mode())
            os.rename(temporary, self.path)
        except OSError:
            os.unlink(temporary)
            raise

    def remove(self) -> None:
        """Remove the file if it holds this process's pid."""
        try:
            with open(self.path, "rb") as file:
                owner = file.read(64).strip()
            if owner == b"%d" % self.pid:
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.error(
                "Cannot remove the pid file {path}: {error}", path=self.path, error=error
            )

    def _mode(self) -> int:
        try:
            return os.stat(self.path).st_mode & 0o777
        except FileNotFoundError:
            return 0o644
