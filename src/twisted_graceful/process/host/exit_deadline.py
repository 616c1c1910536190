"""Ends this process at a deadline, whatever it is doing.

Twisted's own deadlines end with the reactor. After that the interpreter waits for threads that are
not daemons, for executors and for multiprocessing's children, and runs exit handlers, any of which
can take forever. Two watchdogs bound all of that. The first is a thread: it logs what still runs
and calls `_exit`. It needs the GIL, so behind it there is faulthandler's timer, a thread in C that
writes the stacks and calls `_exit` even if the GIL is never released, or the interpreter is
half finalized. A process has only one such timer: an application that uses it itself loses it when
the stop begins.
"""

from __future__ import annotations

import _thread
import faulthandler
import os
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from twisted.logger import ILogObserver, Logger, LogPublisher

from ... import twisted_internals

GRACE = 3.0
"""Seconds that threads and children have, at least, when the reactor has nothing left to do."""

SLACK = 5.0
"""Seconds that a stop may take beyond the deadlines of its parts before it counts as hung."""

AT_ONCE = 0.6
"""Seconds after which a process that was told to end immediately does."""

_WITHOUT_GIL = 1.0
"""Seconds after the deadline at which the process ends even though the thread could not run."""

_WITHOUT_GIL_AT_ONCE = 0.3

_NEEDS_SPARE = sys.version_info[:2] == (3, 12)
"""Python 3.12.0 and 3.12.1 refuse to start a thread once the main program is over."""

_FRAMES = 20
"""How many frames of each stack are logged, counted from the innermost."""

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

STATUS = 1
"""The exit status of a process that had to be ended; faulthandler has no other."""


class FaultTimer(Protocol):
    """The part of `faulthandler` that is used here."""

    def dump_traceback_later(self, timeout: float, *, file: int, exit: bool) -> None:
        """Write all stacks after so many seconds, and exit."""

    def cancel_dump_traceback_later(self) -> None:
        """Cancel that."""


class ExitDeadline:
    """Ends this process when its time is over. Safe to use in a signal handler.

    Args:
        timer: works without the GIL.
        start: starts a thread, as `_thread.start_new_thread` does. (`threading.Thread` takes locks
            that the code which a signal interrupts may hold, and is waited for at exit.)
        end: ends the process, with this status.
        last_act: called right before the end; for what must not outlive this process.
    """

    def __init__(
        self,
        timer: FaultTimer = faulthandler,
        start: Callable[
            [Callable[..., None], tuple[object, ...]], object
        ] = _thread.start_new_thread,
        end: Callable[[int], object] = os._exit,
        last_act: Callable[[], object] = lambda: None,
    ) -> None:
        self._timer = timer
        self._start = start
        self._end = end
        self._pid = os.getpid()
        self._armed: object = None
        self._is_at_once = False
        self._c_at = 0.0
        self._observers: tuple[ILogObserver, ...] = ()
        self._log_files: list[str] = []
        self._file = -1
        self._spare: SimpleQueue[tuple[object, float, str]] = SimpleQueue()
        self._last_act = last_act
        _deadlines.add(self)

    def within(self, seconds: float, since: str) -> None:
        """End the process in so many seconds. This replaces the deadline there was.

        Nothing changes after `at_once`.

        Args:
            seconds: from now.
            since: what happens now, for the log.
        """
        if not self._is_at_once:
            self._arm(seconds, _WITHOUT_GIL, f"{seconds:.3g} seconds after {since}")

    def at_once(self) -> None:
        """End the process within a second; it uses what is left of that to cut and clean up."""
        if not self._is_at_once:
            self._is_at_once = True
            self._arm(AT_ONCE, _WITHOUT_GIL_AT_ONCE, "after it was told to end immediately")

    def pause(self) -> None:
        """Let the process live until the next deadline is set; not after `at_once`."""
        if self._armed is not None and not self._is_at_once:
            self._armed = None
            self._timer.cancel_dump_traceback_later()
            self._use_file(-1)

    def prepare(self) -> None:
        """Make sure that a deadline can be set when the main program is over."""
        if _NEEDS_SPARE:
            with suppress(RuntimeError):
                self._start(self._wait_for_deadline, ())

    def cancel(self) -> None:
        """Let the process live, also after `at_once`."""
        self._is_at_once = False
        self.pause()

    @property
    def is_mine(self) -> bool:
        """Whether this is the process it was made for, and not one that was forked from it."""
        return os.getpid() == self._pid

    def adopt(self) -> None:
        """Belong to this process, which was forked on purpose (a daemon)."""
        self._pid = os.getpid()

    def _arm(self, seconds: float, without_gil: float, when: str) -> None:
        if not self.is_mine:
            return
        # twistd's own are gone by the time that the program is over.
        self._observers = self._observers or twisted_internals.log_observers()
        self._log_files = self._log_files or twisted_internals.log_files()
        armed = self._armed = object()
        self._c_at = time.monotonic() + seconds + without_gil
        self._set_timer()
        try:
            self._start(self._wait, (armed, seconds, when))
        except RuntimeError:  # no thread can be started; the timer's was
            self._spare.put((armed, seconds, when))

    def _set_timer(self) -> None:
        remaining = max(0.01, self._c_at - time.monotonic())
        with suppress(RuntimeError, ValueError, OSError):
            file = self._open_log()
            self._timer.dump_traceback_later(remaining, file=2 if file < 0 else file, exit=True)
            self._use_file(file)

    def _open_log(self) -> int:
        """Where stacks go that cannot be logged: a daemon has no standard error."""
        for path in self._log_files:
            with suppress(OSError):
                return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return -1

    def _use_file(self, file: int) -> None:
        before, self._file = self._file, file
        if before >= 0:
            os.close(before)

    def before_fork(self) -> None:
        """Stop the timer: a forked child would wait forever for the thread of an armed one."""
        if self._armed is not None and self.is_mine:
            self._timer.cancel_dump_traceback_later()

    def after_fork_in_parent(self) -> None:
        """Start it again."""
        if self._armed is not None and self.is_mine:
            self._set_timer()

    def _wait_for_deadline(self) -> None:
        self._wait(*self._spare.get())

    def _wait(self, armed: object, seconds: float, when: str) -> None:
        time.sleep(seconds)
        if self._armed is armed and self.is_mine:
            self._expire(when)

    def _expire(self, when: str) -> None:
        children = _children()
        with suppress(Exception):
            log = Logger("twisted_graceful.process", observer=LogPublisher(*self._observers))
            log.critical(
                "The process was still running {when}; exiting with status {status}.\n{running}",
                when=when,
                status=STATUS,
                running="\n".join([*map(_described, children), stacks()]),
            )
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        # Last: with what it waits for gone, the main thread would end the process with status 0.
        with suppress(Exception):
            self._last_act()
        for child in children:
            with suppress(Exception):
                child.kill()
        self._end(STATUS)


def stacks() -> str:
    """The stacks of all threads but this one, with their names: the main thread's first."""
    threads = {each.ident: each for each in threading.enumerate()}
    main = threading.main_thread().ident
    parts = []
    frames = sys._current_frames()
    for ident in sorted(frames, key=lambda each: (each != main, each)):
        if ident == threading.get_ident() or frames[ident].f_code is ExitDeadline._wait.__code__:
            continue
        thread = threads.get(ident)
        name = "unnamed thread" if thread is None else f"thread {thread.name!r}"
        daemon = " (daemon)" if thread is not None and thread.daemon else ""
        stack = traceback.format_stack(frames[ident])[-_FRAMES:]
        parts.append(f"{name}{daemon}:\n{''.join(stack)}".rstrip())
    return "\n".join(parts) or "No thread runs Python code: an exit handler in C, for example."


def _children() -> list[BaseProcess]:
    """The children that multiprocessing waits for at exit."""
    multiprocessing = sys.modules.get("multiprocessing")
    try:
        return [] if multiprocessing is None else list(multiprocessing.active_children())
    except Exception:
        return []


def _described(child: BaseProcess) -> str:
    return f"child process {child.pid} ({child.name}, of multiprocessing), which is killed"


def at_interpreter_exit(call: Callable[[], None]) -> bool:
    """Call something when the main program is over, before its threads are waited for.

    `atexit` is too late for that: its handlers run when all threads have ended. The hook that
    concurrent.futures has for its own threads is private; a Python without it has no such moment.

    Returns:
        Whether it will be called.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is None:
        return False
    try:
        register(call)
    except RuntimeError:  # the program is over already
        call()
    return True


_deadlines: weakref.WeakSet[ExitDeadline] = weakref.WeakSet()


def _before() -> None:
    for each in list(_deadlines):
        each.before_fork()


def _after_in_parent() -> None:
    for each in list(_deadlines):
        each.after_fork_in_parent()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent)
