"""The pid file: written by rename, removed by its owner only."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import NoReturn

from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from twisted_graceful.process.pidfile import PidFile

from .support import temporary_directory


class PidFileTests(SynchronousTestCase):
    """One path, and the processes 7 and 8."""

    def setUp(self) -> None:
        """Make an empty directory for the pid file."""
        self.directory = temporary_directory(self)
        self.path = os.path.join(self.directory, "app.pid")

    def put(self, content: bytes) -> None:
        """Let the file be there."""
        with open(self.path, "wb") as file:
            file.write(content)

    def content(self) -> str:
        """What a reader of the path sees."""
        with open(self.path) as file:
            return file.read()

    def logged(self, events: list[LogEvent]) -> str:
        """The one error that was logged."""
        (event,) = events
        self.assertIs(event["log_level"], LogLevel.error)
        return formatEvent(event)

    def test_it_holds_the_pid(self) -> None:
        """The file holds the pid and nothing else, for `kill $(cat app.pid)`."""
        PidFile(self.path, 7).write()
        self.assertEqual(self.content(), "7")

    def test_it_is_replaced_by_rename(self) -> None:
        """A reader that has the old file open sees the old pid, whole; the path has the new."""
        PidFile(self.path, 7).write()
        with open(self.path) as reader:
            PidFile(self.path, 8).write()
            self.assertEqual(reader.read(), "7")
        self.assertEqual(self.content(), "8")

    def test_nothing_else_is_left_in_the_directory(self) -> None:
        """No temporary file stays behind."""
        PidFile(self.path, 7).write()
        self.assertEqual(os.listdir(self.directory), ["app.pid"])

    def test_it_can_be_read_by_all(self) -> None:
        """A new file has the mode that twistd gives it, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0o077))
        PidFile(self.path, 7).write()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o644)

    def test_its_mode_is_kept(self) -> None:
        """A file that is there already keeps its mode."""
        self.put(b"7")
        os.chmod(self.path, 0o640)
        PidFile(self.path, 8).write()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o640)

    def test_a_directory_that_may_not_be_written(self) -> None:
        """Where only the file itself may be written, it is overwritten, shorter pid or not."""
        self.put(b"12345\n")
        self.patch(tempfile, "mkstemp", self.not_permitted)
        PidFile(self.path, 7).write()
        self.assertEqual(self.content(), "7")

    def not_permitted(self, *_: object, **__: object) -> NoReturn:
        """What a directory of somebody else says."""
        raise PermissionError(errno.EACCES, "Permission denied", self.directory)

    def test_nothing_may_be_written(self) -> None:
        """Where the file is not there either, the log says that it could not be written."""
        self.patch(tempfile, "mkstemp", self.not_permitted)
        with capturedLogs() as events:
            PidFile(self.path, 7).write()
        self.assertIn("Cannot write the pid file", self.logged(events))

    def test_its_owner_removes_it(self) -> None:
        """The process whose pid it holds removes it, with or without a line end in it."""
        for content in (b"7", b"7\n"):
            self.put(content)
            PidFile(self.path, 7).remove()
            self.assertFalse(os.path.exists(self.path))

    def test_nobody_else_removes_it(self) -> None:
        """A file with another pid, or with none, stays."""
        for content in (b"8", b"77", b"", b"soon"):
            self.put(content)
            PidFile(self.path, 7).remove()
            self.assertEqual(self.content(), content.decode())

    def test_a_file_that_is_no_text_stays(self) -> None:
        """A file with bytes that are no text holds no pid of ours, and ends no service."""
        self.put(b"\xff\xfe")
        PidFile(self.path, 7).remove()
        self.assertTrue(os.path.exists(self.path))

    def test_a_removed_file_is_no_fault(self) -> None:
        """If somebody has removed the file already, nothing is said."""
        with capturedLogs() as events:
            PidFile(self.path, 7).remove()
        self.assertEqual(events, [])

    def test_a_write_that_fails_is_logged(self) -> None:
        """Without its directory the file cannot be written: the log says so, and which pid."""
        path = os.path.join(self.directory, "gone", "app.pid")
        with capturedLogs() as events:
            PidFile(path, 7).write()
        text = self.logged(events)
        self.assertIn(path, text)
        self.assertIn("which is 7", text)

    def test_a_full_disk(self) -> None:
        """Where there is no space left the file is overwritten, which needs none."""

        def full(*_: object) -> NoReturn:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "chmod", full)  # the first call after the write
        with capturedLogs() as events:
            PidFile(self.path, 7).write()
        self.assertRegex(self.logged(events), "No space left .*which is 7")
        self.assertEqual(os.listdir(self.directory), [])
        self.put(b"12345")
        PidFile(self.path, 7).write()
        self.assertEqual(self.content(), "7")
        self.assertEqual(os.listdir(self.directory), ["app.pid"])

    def test_a_rename_that_fails_leaves_no_temporary_file(self) -> None:
        """Where the path is a directory the write is logged, and leaves nothing behind."""
        os.mkdir(self.path)
        with capturedLogs() as events:
            PidFile(self.path, 7).write()
        self.assertIn("Cannot write the pid file", self.logged(events))
        self.assertEqual(os.listdir(self.directory), ["app.pid"])

    def test_a_removal_that_fails_is_logged(self) -> None:
        """Where the path is a directory the removal is logged."""
        os.mkdir(self.path)
        with capturedLogs() as events:
            PidFile(self.path, 7).remove()
        self.assertIn("Cannot remove the pid file", self.logged(events))
