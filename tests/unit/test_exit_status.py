"""The exit status of a program that is not ours, in real processes."""

from __future__ import annotations

import os

from ..case import SynchronousTestCase
from .support import run_python

PROGRAM = "import atexit\nfrom twisted_graceful.process.host.exit_status import exit_with\n"


class ExitStatusTests(SynchronousTestCase):
    """A main program that returns normally."""

    def test_the_process_ends_with_the_status(self) -> None:
        """The status is the one that was asked for, though the program ended normally."""
        self.assertEqual(run_python("-c", f"{PROGRAM}exit_with(3)").returncode, 3)

    def test_all_output_is_written(self) -> None:
        """What the program has written arrives, though the process ends at once."""
        code = f"{PROGRAM}exit_with(3); import sys; print('out'); sys.stderr.write('err')"
        done = run_python("-c", code)
        self.assertEqual((done.stdout, done.stderr), ("out\n", "err"))

    def test_later_exit_handlers_run(self) -> None:
        """Exit handlers that are registered later, such as a log's, still run."""
        code = f"{PROGRAM}exit_with(3); atexit.register(print, 'closed')"
        done = run_python("-c", code)
        self.assertEqual((done.returncode, done.stdout), (3, "closed\n"))

    def test_without_standard_streams(self) -> None:
        """The status holds in a process whose streams are None, as pythonw's are."""
        code = f"{PROGRAM}exit_with(3); import sys; sys.stdout = sys.stderr = None"
        self.assertEqual(run_python("-c", code).returncode, 3)

    def test_when_nobody_reads_the_output(self) -> None:
        """The status holds if the last output cannot be written."""
        read, write = os.pipe()
        os.close(read)
        self.addCleanup(os.close, write)
        code = f"{PROGRAM}exit_with(3); print('lost')"
        self.assertEqual(run_python("-c", code, stdout=write).returncode, 3)

    def test_when_a_stream_was_closed(self) -> None:
        """The status holds if the program has closed its output."""
        code = f"{PROGRAM}exit_with(3); import sys; sys.stdout.close()"
        self.assertEqual(run_python("-c", code).returncode, 3)
