"""The exit deadline: what it logs, what it ends, and when it does not apply."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from twisted.logger import LogLevel, capturedLogs, formatEvent

from twisted_graceful.process.host import exit_deadline
from twisted_graceful.process.host.exit_deadline import ExitDeadline

from ..case import SynchronousTestCase
from .support import leaves_nothing_open, run_python, temporary_directory

PROGRAM = """\
import atexit, os, sys, threading, time
from twisted_graceful.process.host.exit_deadline import ExitDeadline, at_interpreter_exit
deadline = ExitDeadline()
"""


class FakeTimer:
    """The timer that needs no GIL; it only remembers."""

    def __init__(self) -> None:
        self.armed: float | None = None
        self.file = -1

    def dump_traceback_later(self, timeout: float, *, file: int, exit: bool) -> None:
        """It is set."""
        assert exit
        self.armed, self.file = timeout, file

    def cancel_dump_traceback_later(self) -> None:
        """It is not."""
        self.armed = None


class ExitDeadlineTests(SynchronousTestCase):
    """A deadline whose threads run when the test says so."""

    def setUp(self) -> None:
        """Nothing is armed."""
        self.timer = FakeTimer()
        self.threads: list[Callable[[], None]] = []
        self.slept: list[float] = []
        self.ended: list[int] = []
        self.patch(exit_deadline.time, "sleep", self.slept.append)
        self.deadline = ExitDeadline(self.timer, self.start, self.ended.append)
        self.addCleanup(self.deadline.cancel)

    def start(self, run: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Start a thread."""
        self.threads.append(lambda: run(*arguments))

    def test_both_watchdogs(self) -> None:
        """The thread comes first, and the timer a moment later, should the thread not run."""
        self.deadline.within(7, "a test began")
        self.assertAlmostEqual(self.timer.armed or 0, 8, places=1)
        self.threads.pop()()
        self.assertEqual((self.slept, self.ended), ([7], [1]))

    def test_what_held_it(self) -> None:
        """The log names what still runs, with its stack and the time it had."""
        go_on = threading.Event()
        thread = threading.Thread(target=go_on.wait, name="the one that waits")
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(go_on.set)
        with capturedLogs() as events:
            self.deadline.within(7, "a test began")
            self.threads.pop()()
        [event] = [each for each in events if each["log_level"] is LogLevel.critical]
        text = formatEvent(event)
        self.assertIn("still running 7 seconds after a test began; exiting with status 1", text)
        self.assertRegex(text, r"thread 'the one that waits':\n(.*\n)+.*in wait")

    def test_a_later_one_replaces_it(self) -> None:
        """Of several deadlines only the last applies, whether it is earlier or later."""
        for seconds in (7, 3, 5):
            self.deadline.within(seconds, "a test began")
        *others, last = self.threads
        for thread in others:
            thread()
        self.assertEqual(self.ended, [])
        last()
        self.assertEqual(self.ended, [1])

    def test_at_once(self) -> None:
        """Once a process is to end immediately nothing prolongs that, and the timer is sooner."""
        self.deadline.at_once()
        self.deadline.within(7, "a test began")
        self.deadline.pause()
        self.assertLess(self.timer.armed or 1, 1)
        [thread] = self.threads
        thread()
        self.assertEqual(self.ended, [1])

    def test_cancelled(self) -> None:
        """A process whose deadline is cancelled goes on, and can have another one."""
        for arm in (lambda: self.deadline.within(7, "a test began"), self.deadline.at_once):
            with self.subTest(arm=arm):
                arm()
                self.deadline.cancel()
                self.assertIsNone(self.timer.armed)
                self.threads.pop()()
        self.assertEqual(self.ended, [])

    def test_a_forked_child_has_none(self) -> None:
        """The deadline applies to one process, and not to processes forked from it."""
        self.deadline.within(7, "a test began")
        self.patch(exit_deadline.os, "getpid", lambda: -1)
        self.deadline.within(7, "a test began")
        [thread] = self.threads
        thread()
        self.assertEqual(self.ended, [])

    def test_where_the_stacks_go(self) -> None:
        """Stacks that cannot be logged are appended to the log file, and no descriptor leaks."""
        path = os.path.join(temporary_directory(self), "log")
        self.patch(exit_deadline.twisted_internals, "log_files", lambda: [path])
        with leaves_nothing_open(self), open(path, "w"):
            self.deadline.within(7, "a test began")
            self.deadline.within(7, "a test began")
            self.assertTrue(os.path.samestat(os.fstat(self.timer.file), os.stat(path)))
            self.deadline.cancel()

    def test_last_act(self) -> None:
        """The last act runs before the end, and its failure does not prevent that."""
        deadline = ExitDeadline(self.timer, self.start, self.ended.append, lambda: 1 / 0)
        deadline.within(7, "a test began")
        self.threads.pop()()
        self.assertEqual(self.ended, [1])


class RealProcessTests(SynchronousTestCase):
    """Processes that do not want to end."""

    def status(self, code: str) -> tuple[int, str]:
        """The exit status of a program, and what it wrote to standard error."""
        done = run_python("-c", PROGRAM + code)
        return done.returncode, done.stderr

    def test_held(self) -> None:
        """Neither threads nor exit handlers nor code that never releases the GIL hold a process."""
        for name, code in {
            "a thread": "threading.Thread(target=time.sleep, args=(60,)).start()",
            "an exit handler": "atexit.register(time.sleep, 60)",
            "the GIL": "atexit.register(sum, range(10**13))",
            "finalization": "class Held:\n  def __del__(self, sleep=time.sleep): sleep(60)\n"
            "sys.held = Held()",
        }.items():
            with self.subTest(name):
                status, error = self.status(f"{code}\ndeadline.within(0.2, 'the end')")
                self.assertEqual(status, 1, error)

    def test_stacks_without_the_gil(self) -> None:
        """If nothing can be logged, the stacks are on standard error."""
        code = "def stuck(): sum(range(10**13))\natexit.register(stuck)\ndeadline.at_once()"
        self.assertRegex(self.status(code)[1], r"Timeout(.*\n)+.*in stuck")

    def test_a_fork_before_it(self) -> None:
        """A child that is forked while the timer is set ends as if there was none."""
        code = (
            "deadline.within(20, 'the start')\n"
            "if not os.fork(): sys.exit(3)\n"
            "status = os.waitstatus_to_exitcode(os.wait()[1])\n"
            "assert deadline._armed\n"
            "deadline.cancel()\n"
            "sys.exit(status)"
        )
        self.assertEqual(self.status(code)[0], 3)

    def test_the_program_is_over(self) -> None:
        """The moment comes after the main program, and before its threads and executors end."""
        code = (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "ThreadPoolExecutor().submit(time.sleep, 60)\n"
            "assert at_interpreter_exit(lambda: deadline.within(0.2, 'the end'))\n"
            "deadline.prepare()\n"
            "sys.stderr.write('over')"
        )
        status, error = self.status(code)
        self.assertEqual((status, error[:4]), (1, "over"))
        self.assertIn("still running 0.2 seconds after the end", error)
