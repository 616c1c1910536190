"""Notices the end of the parent process, even while the reactor hangs.

The kernel can send a signal then (PR_SET_PDEATHSIG, prctl(2)), whose handler Python runs in loops,
in most calls that wait, and in regular expressions, which hold the GIL. Without prctl, a thread
waits for the end of the control channel; it needs the GIL.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
from collections.abc import Callable

from .forks import keep_number_from_children

_PR_SET_PDEATHSIG = 1

_HANG_UP = getattr(select, "POLLRDHUP", 0)  # every system reports POLLHUP unasked


def die_with_parent() -> None:
    """Let this process be killed with its parent, while it does not serve yet."""
    _set_signal(signal.SIGKILL)


def when_parent_ends(channel: int, call: Callable[[], None]) -> None:
    """Call something when the parent has ended: in a signal handler, or in a thread.

    Args:
        channel: the descriptor of a stream socket, whose other end is the parent's.
        call: is called once.
    """
    if not _by_signal(call):
        _in_a_thread(channel, call)


def _by_signal(call: Callable[[], None]) -> bool:
    number = getattr(signal, "SIGPWR", None)  # which is sent to init only
    if number is None or not _set_signal(0) or signal.getsignal(number) is not signal.SIG_DFL:
        return False
    try:
        signal.signal(number, lambda *_: call())
    except ValueError:  # not in the main thread
        return False
    return _set_signal(number)


def _set_signal(number: int) -> bool:
    """Let the kernel send a signal when the parent ends, or none; whether it will."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes

        return not ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return False


def _in_a_thread(channel: int, call: Callable[[], None]) -> None:
    try:
        own = os.dup(channel)
    except OSError:  # no descriptor is left; the reactor notices it as well
        return
    keep_number_from_children(own)
    poll = select.poll()
    poll.register(own, _HANG_UP)

    def wait() -> None:
        poll.poll()
        call()

    try:
        _thread.start_new_thread(wait, ())
    except RuntimeError:
        os.close(own)
