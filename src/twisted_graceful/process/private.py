"""Every private part of Twisted that we touch, with the reason.

For each, `tests/unit/test_private.py` has a test that fails when Twisted changes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def close_without_shutdown(transport: Any) -> None:
    """Make a transport's close leave other descriptors of the same socket alone.

    Twisted calls shutdown(2) before close(2), which ends the connection for every
    process and every descriptor that shares it. There is no public switch.
    """
    assert transport._shouldShutdown in (True, False)
    transport._shouldShutdown = False


def guard_pid_file(remove: Callable[[str], None]) -> None:
    """Let ``remove`` take away twistd's pid file at exit; do nothing if twistd is not what runs.

    twistd unlinks the path even if another process, our successor, owns it by then. Its
    configuration cannot be reached from a ``.tac`` file, but its runner class can.
    """
    twistd = sys.modules.get("twisted.scripts._twistd_unix")
    if twistd is None:
        return

    def removePID(self: object, pidfile: str) -> None:
        if pidfile:
            remove(pidfile)

    assert callable(twistd.UnixApplicationRunner.removePID)
    twistd.UnixApplicationRunner.removePID = removePID


def logging_has_begun() -> bool:
    """Whether somebody has told twisted.logger where to log to; it cannot be asked."""
    from twisted.logger import globalLogBeginner

    return globalLogBeginner._temporaryObserver is None
