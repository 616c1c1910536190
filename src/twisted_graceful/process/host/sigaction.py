"""A handler that the kernel removes when it has run once: SA_RESETHAND, which Python cannot set.

Python runs a handler only when the main thread gets to it. If that never happens, because the
thread is in a C call that holds the GIL, signals do nothing, however many come. With SA_RESETHAND
the second one finds the default action, which ends the process.
"""

from __future__ import annotations

import platform
import signal
import sys
from typing import Any

_MACHINES = ("x86_64", "aarch64")
"""Where glibc and musl have `struct sigaction` as it is below."""

_SA_RESETHAND = 0x80000000
_SA_EXPECTED = 0x08000000 | 0x10000000 | 0x04000000
"""SA_ONSTACK, SA_RESTART, SA_RESTORER: all that Python and libc set."""

_functions: Any = None


def _prepare() -> Any:
    """The function and the type of its arguments; False where they are not known."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    try:
        import ctypes

        class SigAction(ctypes.Structure):
            _fields_ = [
                ("handler", ctypes.c_void_p),
                ("mask", ctypes.c_ubyte * 128),
                ("flags", ctypes.c_uint),
                ("restorer", ctypes.c_void_p),
            ]

        return ctypes.CDLL(None).sigaction, SigAction, ctypes.byref
    except (ImportError, OSError, AttributeError):
        return False


def handle_once(number: int) -> bool:
    """Let the kernel restore the default action when the handler has run once.

    Args:
        number: a signal with a handler that `signal.signal` has just installed.

    Returns:
        Whether that is done; False where it cannot be.
    """
    global _functions
    if _functions is None:
        _functions = _prepare()
    if not _functions or not callable(signal.getsignal(number)):
        return False
    sigaction, action_type, byref = _functions
    action = action_type()
    if sigaction(number, None, byref(action)):
        return False
    if not action.handler or action.flags & ~_SA_EXPECTED:
        return False  # an unknown layout
    handler = action.handler
    action.flags |= _SA_RESETHAND
    if sigaction(number, byref(action), None):
        return False
    now = action_type()
    sigaction(number, None, byref(now))
    return bool(now.handler == handler and now.flags & _SA_RESETHAND)
