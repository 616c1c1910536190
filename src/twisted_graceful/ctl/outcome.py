"""The ways in which a command can end, and their exit statuses."""

from __future__ import annotations

import time
from enum import IntEnum


class Exit(IntEnum):
    """The exit statuses. 3 and 4 are those of service scripts (LSB, systemd.exec(5))."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_ALLOWED = 4
    NOT_SUPPORTED = 5
    UNKNOWN = 6
    NO_ANSWER = 7
    INTERRUPTED = 130


MEANING = {
    Exit.DONE: "it is done: the new code serves, the server has stopped, the check has passed",
    Exit.FAILED: "it failed, and the old code serves on; or a stop cut something",
    Exit.USAGE: "the command line, the environment or the file is wrong",
    Exit.NOT_RUNNING: "no server is there: nobody listens, there is no pid file, or it is stale",
    Exit.NOT_ALLOWED: "this user, or this address, may not do that",
    Exit.NOT_SUPPORTED: "this server, an older version, say, or what it was found by, cannot do it",
    Exit.UNKNOWN: "it is not known how it ended: --timeout is over, or the connection broke",
    Exit.NO_ANSWER: "the server runs but does not respond: it is blocked, suspended or overloaded",
    Exit.INTERRUPTED: "interrupted by the keyboard; what was begun goes on",
}


class CtlError(Exception):
    """A command cannot go on; the text says what is wrong, where, and what to do.

    Attributes:
        status: the exit status that it leads to.
    """

    def __init__(self, status: Exit, text: str) -> None:
        super().__init__(text)
        self.status = status


def require_time(deadline: float, timeout: float, text: str) -> None:
    """Give up at a deadline.

    Args:
        deadline: of the monotonic clock.
        timeout: what it was computed from, in seconds.
        text: how things are.

    Raises:
        CtlError: it has passed.
    """
    if time.monotonic() > deadline:
        raise CtlError(Exit.UNKNOWN, f"after {timeout:g} s (--timeout) {text}")
