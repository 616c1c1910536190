"""Files that the first generation makes as root, and its successors must write."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence

from twisted.application.service import Service
from twisted.logger import Logger


class GivenFiles(Service):
    """Give files to the user that twistd changes to, in time.

    twistd opens its log and writes its pid file before it drops privileges; a successor
    is started without them.

    Args:
        paths: of the files; one that is not there, or neither a plain file nor a socket,
            is left alone.
        uid: of the user; None for no change.
        gid: of the group; None for that of the user.
    """

    _log = Logger()

    def __init__(self, paths: Sequence[str], uid: int | None, gid: int | None) -> None:
        if gid is None and uid is not None:
            gid = pwd.getpwuid(uid).pw_gid
        self._paths = paths
        self._uid = -1 if uid is None else uid
        self._gid = -1 if gid is None else gid

    def privilegedStartService(self) -> None:
        """Change the owner of the files, which twistd has made by now."""
        for path in self._paths:
            try:
                mode = os.stat(path).st_mode
                if stat.S_ISREG(mode) or stat.S_ISSOCK(mode):  # and not /dev/null, say
                    os.chown(path, self._uid, self._gid)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._log.warn("Cannot give {path} away: {error}", path=path, error=error)
