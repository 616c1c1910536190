"""The exit status of a process whose main program is not ours (twistd, twist)."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress


def exit_with(status: int) -> None:
    """Let this process end with a status, once its main program is over.

    twistd and twist return normally, and offer no way to say how it went. Exit handlers
    run last in, first out: those that were registered before this call do not run.

    Args:
        status: 1 to 255.
    """

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            # Closed, or nobody reads it: that must not change the status.
            with suppress(OSError, ValueError):
                if stream is not None:
                    stream.flush()
        os._exit(status)

    atexit.register(leave)
