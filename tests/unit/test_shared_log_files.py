"""Log files of Twisted that several processes write."""

from __future__ import annotations

import os
from inspect import unwrap

from twisted.internet.task import Clock
from twisted.python.logfile import BaseLogFile, DailyLogFile, LogFile

from twisted_graceful.process.host.shared_log_files import share_log_files

from ..case import SynchronousTestCase
from .support import temporary_directory


class ShareLogFilesTests(SynchronousTestCase):
    """Two processes with the same log file."""

    def setUp(self) -> None:
        """Let log files be as Twisted has them, whatever was done before."""
        self.patch(BaseLogFile, "_openFile", unwrap(BaseLogFile._openFile))
        self.patch(LogFile, "shouldRotate", unwrap(LogFile.shouldRotate))
        self.patch(LogFile, "rotate", unwrap(LogFile.rotate))
        self.directory = temporary_directory(self)

    def written_by_two(self, kind: type[BaseLogFile]) -> str:
        """What is in a log when an old writer writes after a new one."""
        old = kind("log", self.directory)
        new = kind("log", self.directory)
        for log, text in ((old, "old 1\n"), (new, "new, longer\n"), (old, "old 2\n")):
            log.write(text)
        for log in (old, new):
            log.close()
        path = os.path.join(self.directory, "log")
        with open(path) as file:
            content = file.read()
        os.unlink(path)
        return content

    def test_no_generation_overwrites_the_other(self) -> None:
        """Every line of two writers is in the file, in the order in which it was written."""
        share_log_files(Clock())
        for kind in (LogFile, DailyLogFile):
            with self.subTest(kind=kind):
                self.assertEqual(self.written_by_two(kind), "old 1\nnew, longer\nold 2\n")

    def test_it_is_needed(self) -> None:
        """Without it Twisted writes over what the other has written."""
        self.assertNotIn("new, longer", self.written_by_two(LogFile))

    def test_a_rotated_file_too(self) -> None:
        """The file that is opened after a rotation is opened in the same way."""
        share_log_files(Clock())
        log = LogFile("log", self.directory)
        log.write("before\n")
        log.rotate()
        self.addCleanup(log.close)
        log.write("after 1\n")
        with open(os.path.join(self.directory, "log"), "a") as other:
            other.write("other\n")
        log.write("after 2\n")
        with open(os.path.join(self.directory, "log")) as file:
            self.assertEqual(file.read(), "after 1\nother\nafter 2\n")

    def test_twice_is_once(self) -> None:
        """A second call, of a second service, changes nothing."""
        share_log_files(Clock())
        before = BaseLogFile._openFile, LogFile.shouldRotate, LogFile.rotate
        share_log_files(Clock())
        after = BaseLogFile._openFile, LogFile.shouldRotate, LogFile.rotate
        self.assertEqual(after, before)
        self.assertEqual(self.written_by_two(LogFile), "old 1\nnew, longer\nold 2\n")

    def two(self, **options: int) -> tuple[LogFile, LogFile]:
        """Two writers of a file, shared."""
        share_log_files(Clock())
        both = (
            LogFile("log", self.directory, **options),
            LogFile("log", self.directory, **options),
        )
        for each in both:
            self.addCleanup(each.close)
        return both

    def content(self, name: str = "log") -> str:
        """What a file has."""
        with open(os.path.join(self.directory, name)) as file:
            return file.read()

    def test_who_has_not_rotated_follows(self) -> None:
        """When one writer rotates the file the other goes on in the new one too."""
        one, other = self.two()
        one.write("before\n")
        one.rotate()
        other.write("other\n")
        one.write("one\n")
        self.assertEqual((self.content(), self.content("log.1")), ("other\none\n", "before\n"))

    def test_only_one_rotates(self) -> None:
        """Of two that are told to rotate one does, and no file is made for the other."""
        one, other = self.two()
        one.write("before\n")
        one.rotate()
        other.rotate()
        other.write("after\n")
        self.assertEqual(sorted(os.listdir(self.directory)), ["log", "log.1"])
        self.assertEqual((self.content(), self.content("log.1")), ("after\n", "before\n"))

    def test_the_size_is_that_of_the_file(self) -> None:
        """What others have written counts: the file is as long as one writer would let it be."""
        one, other = self.two(rotateLength=10)
        other.write("123456789\n")
        one.write("next\n")
        self.assertEqual((self.content(), self.content("log.1")), ("next\n", "123456789\n"))

    def test_a_file_that_was_moved_away(self) -> None:
        """After another program has moved the file all go on in a new one, with no signal."""
        both = self.two()
        both[0].write("before\n")
        os.rename(os.path.join(self.directory, "log"), os.path.join(self.directory, "old"))
        for each in both:
            each.write("after\n")
        self.assertEqual((self.content(), self.content("old")), ("after\nafter\n", "before\n"))

    def test_a_file_that_cannot_be_made_anew(self) -> None:
        """If there is no place for a new file the old one is written on."""
        one, _ = self.two()
        os.rename(os.path.join(self.directory, "log"), os.path.join(self.directory, "old"))
        self.patch(one, "path", os.path.join(self.directory, "gone", "log"))
        one.write("after\n")
        self.assertEqual(self.content("old"), "after\n")
