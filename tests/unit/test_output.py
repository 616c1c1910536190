"""The output of a child before it is ready, and after."""

from __future__ import annotations

import errno
import os
import signal

from twisted.logger import Logger

from twisted_graceful.process.upgrade import output
from twisted_graceful.process.upgrade.output import Capture

from ..case import SynchronousTestCase
from .support import is_open, leaves_nothing_open, run_python, temporary_directory


class CaptureTests(SynchronousTestCase):
    """What the parent keeps."""

    def capture(self) -> Capture:
        """A capture that is closed after the test."""
        capture = Capture()
        self.addCleanup(capture.close)
        return capture

    def test_the_tail_has_both_streams(self) -> None:
        """The tail has standard output first, then standard error."""
        capture = self.capture()
        os.write(capture.stderr, b"three\n")
        os.write(capture.stdout, b"one\ntwo\n")
        self.assertEqual(capture.tail(), "one\ntwo\nthree")

    def test_nothing_written(self) -> None:
        """The tail of a silent child is empty."""
        self.assertEqual(self.capture().tail(), "")

    def test_the_tail_has_the_last_lines(self) -> None:
        """Of each stream the tail has as many lines as asked for, and they are the last ones."""
        capture = self.capture()
        for descriptor in (capture.stdout, capture.stderr):
            os.write(descriptor, b"first\nsecond\nthird\n")
        self.assertEqual(capture.tail(2), "second\nthird\nsecond\nthird")

    def test_the_tail_is_bounded(self) -> None:
        """One endless line does not fill the parent's log, or hide what follows it."""
        capture = self.capture()
        os.write(capture.stdout, b"x" * 1_000_000 + b"\nlast")
        self.assertLess(len(capture.tail()), 20_000)
        self.assertEqual(capture.tail(1), "last")

    def test_what_is_no_text_is_shown(self) -> None:
        """Bytes that are no text do not hide the rest."""
        capture = self.capture()
        os.write(capture.stderr, b"before \xff after")
        self.assertEqual(capture.tail(), "before \N{REPLACEMENT CHARACTER} after")

    def test_a_file_that_was_emptied(self) -> None:
        """Who writes on after that has no gap before it."""
        capture = self.capture()
        os.write(capture.stdout, b"one\n")
        os.ftruncate(capture.stdout, 0)
        os.write(capture.stdout, b"two\n")
        self.assertEqual(capture.tail(), "two")

    def test_reading_does_not_disturb_writing(self) -> None:
        """The child goes on writing where it was after the parent has read."""
        capture = self.capture()
        os.write(capture.stdout, b"one\n")
        capture.tail()
        os.write(capture.stdout, b"two\n")
        self.assertEqual(capture.tail(), "one\ntwo")

    def test_only_this_child_gets_it(self) -> None:
        """No other process inherits the files, and `close` leaves none open."""
        with leaves_nothing_open(self):
            capture = Capture()
            self.assertFalse(os.get_inheritable(capture.stdout))
            self.assertFalse(os.get_inheritable(capture.stderr))
            capture.close()

    def test_without_memfd_create(self) -> None:
        """On a system without memfd_create(2) unnamed files do the same."""
        if hasattr(os, "memfd_create"):
            self.addCleanup(setattr, os, "memfd_create", os.memfd_create)
            del os.memfd_create
        self.test_the_tail_has_both_streams()
        self.test_only_this_child_gets_it()

    def test_a_failure_leaves_nothing_open(self) -> None:
        """If the second file cannot be made, the first one is closed."""
        made: list[int] = []
        real = output._memory_file

        def second_fails() -> int:
            if made:
                raise OSError(errno.EMFILE, "Too many open files")
            made.append(real())
            return made[0]

        self.patch(output, "_memory_file", second_fails)
        self.assertRaises(OSError, Capture)
        self.assertFalse(is_open(made[0]))


class ReleaseTests(SynchronousTestCase):
    """What a child does when it is ready, in a real process."""

    def run_child(self, *lines: str, real: int | None = None) -> tuple[int, str, str]:
        """Run a child, captured as ours are.

        Args:
            lines: its program.
            real: a descriptor for both real streams; None for files.

        Returns:
            Its exit status, and what it wrote to the real streams.
        """
        capture = self.capture = Capture()
        self.addCleanup(capture.close)
        directory = temporary_directory(self)
        with (
            open(os.path.join(directory, "out"), "w+") as out,
            open(os.path.join(directory, "err"), "w+") as err,
        ):
            targets = (real, real) if real is not None else (out.fileno(), err.fileno())
            descriptors = [os.dup(target) for target in targets]
            done = run_python(
                *("-c", "\n".join([self.header.format(*descriptors), *lines])),
                stdout=capture.stdout,
                stderr=capture.stderr,
                pass_fds=descriptors,
                cwd=directory,
            )
            for descriptor in descriptors:
                os.close(descriptor)
            out.seek(0)
            err.seek(0)
            return done.returncode, out.read(), err.read()

    header = (
        "import os, sys\n"
        "from twisted_graceful.process.upgrade.output import release\n"
        "real = {}, {}\n"
        "def say(word): print(word); print(word.upper(), file=sys.stderr)"
    )

    def test_it_goes_on_in_the_real_streams(self) -> None:
        """What was written early is in the real streams, and what comes later after it."""
        status, out, err = self.run_child("say('early')", "release(*real)", "say('late')")
        self.assertEqual((status, out, err), (0, "early\nlate\n", "EARLY\nLATE\n"))

    def test_early_output_is_not_held_back(self) -> None:
        """What was written early has arrived when `release` returns, whatever comes then."""
        _, out, err = self.run_child("say('early')", "release(*real)", "os._exit(0)")
        self.assertEqual((out, err), ("early\n", "EARLY\n"))

    def test_grandchildren_write_to_the_real_streams(self) -> None:
        """A process that the child starts later writes to the real streams too."""
        _, out, _ = self.run_child("release(*real)", "os.system('echo hello')")
        self.assertEqual(out, "hello\n")

    def test_the_stacks_of_a_process_that_is_aborted(self) -> None:
        """SIGABRT, also in the middle of a call that blocks, leaves the stacks to the parent."""
        status, out, err = self.run_child(
            "import signal, threading, time",
            "from twisted.logger import Logger",
            "def waits(): time.sleep(60)",
            "def blocks(): signal.setitimer(signal.ITIMER_REAL, 0.1); waits()",
            "def idles(): time.sleep(60)",
            "signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGABRT))",
            "threading.Thread(target=idles, daemon=True).start()",
            "words = release(*real)",
            "for number in range(100): Logger().warn('complaint')",
            "blocks()",
        )
        self.assertEqual((status, out, err), (-signal.SIGABRT, "", ""))
        tail = self.capture.tail()
        self.assertRegex(
            tail, r"(?s)complaint\nFatal Python error.* in idles.* in waits\n.* in blocks"
        )
        self.assertEqual(tail.count("complaint"), 30)

    def test_faults_are_told_as_before_when_nobody_reads_the_last_words(self) -> None:
        """When the last words are closed a fault is written where it would have been without."""
        for told, option in ((False, ()), (True, ("import faulthandler; faulthandler.enable()",))):
            with self.subTest(told=told, option=option):
                status, _, err = self.run_child(
                    *option,
                    "import signal",
                    "release(*real).close()",
                    "os.kill(os.getpid(), signal.SIGABRT)",
                )
                self.assertEqual(status, -signal.SIGABRT)
                self.assertEqual("Fatal Python error" in err, told)
                self.assertEqual(self.capture.tail(), "")

    def test_no_descriptor_is_left(self) -> None:
        """The descriptors of the real streams are closed when they have become 1 and 2."""
        _, out, _ = self.run_child("release(*real).close()", "print(os.listdir('/dev/fd')[:-1])")
        self.assertEqual(out, "['0', '1', '2']\n")

    def test_nobody_reads_the_real_streams(self) -> None:
        """Early output that nobody can read any more does not end the child."""
        read, write = os.pipe()
        os.close(read)
        self.addCleanup(os.close, write)
        status, *_ = self.run_child("say('early')", "release(*real)", "os._exit(5)", real=write)
        self.assertEqual(status, 5)

    def test_a_terminal_shows_each_line_at_once(self) -> None:
        """If the real stream is a terminal, Python writes to it line by line."""
        terminal, real = os.openpty()
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.close, real)
        self.run_child(
            "sys.stdout.reconfigure(line_buffering=False)",
            "release(*real)",
            "print('line')",
            "os._exit(0)  # what is in Python's buffer is lost",
            real=real,
        )
        os.write(real, b"end")
        shown = b""
        while not shown.endswith(b"end"):
            shown += os.read(terminal, 100)
        self.assertEqual(shown, b"line\r\nend")

    def test_a_stream_that_the_application_replaced_stays(self) -> None:
        """Output that the application sent elsewhere, to a file of its own, stays there."""
        self.assert_left_alone("os.O_WRONLY")

    def test_a_readable_stream_that_the_application_replaced_stays(self) -> None:
        """Likewise, if the file can be read as well, as /dev/null often can."""
        self.assert_left_alone("os.O_RDWR")

    def assert_left_alone(self, mode: str) -> None:
        """A file of the application's own is not taken out of standard output."""
        _, out, err = self.run_child(
            f"os.dup2(os.open('own', {mode} | os.O_CREAT), 1)",
            "say('early')",
            "release(*real)",
            "say('late')",
            "sys.stdout.flush()",
            "print(open('own').read(), file=sys.stderr)",
        )
        self.assertEqual((out, err), ("", "EARLY\nLATE\nearly\nlate\n\n"))


class CapturedOutputTests(SynchronousTestCase):
    """What a child logs after it was ready."""

    def setUp(self) -> None:
        """A capture, and what keeps last words in it."""
        self.capture = Capture()
        self.addCleanup(self.capture.close)
        self.words = output.CapturedOutput(self.capture.stderr)
        self.log = Logger()

    def test_what_is_kept(self) -> None:
        """Warnings and worse are kept, with their tracebacks; what is usual is not."""
        self.log.info("usual")
        self.log.warn("unusual")
        try:
            raise ZeroDivisionError("a fault")
        except ZeroDivisionError:
            self.log.failure("it fell")
        self.words.close()
        self.log.warn("too late")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        lines = self.capture.tail().splitlines()
        self.assertRegex(lines[0], "#warn. unusual$")
        self.assertRegex(lines[1], "#critical. it fell$")
        self.assertRegex(lines[-1], "ZeroDivisionError: a fault$")

    def test_it_is_bounded(self) -> None:
        """An application that complains without end does not fill the memory; the last is kept."""
        for number in range(2000):
            self.log.warn("complaint {number}, and more of the kind" + "!" * 100, number=number)
        self.words.close()
        self.assertLess(os.fstat(self.capture.stderr).st_size, 70_000)
        self.assertIn("complaint 1999,", self.capture.tail())

    def test_nothing_is_left_open(self) -> None:
        """Its descriptor is closed with it."""
        with leaves_nothing_open(self):
            output.CapturedOutput(self.capture.stderr).close()
        self.words.close()
