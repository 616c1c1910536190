"""The pid file: written by rename, removed by its owner only."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent

from twisted_graceful.errors import PidFileError
from twisted_graceful.process.host import pid_file
from twisted_graceful.process.host.lock import locked
from twisted_graceful.process.host.pid_file import PidFile, require_free, require_writable

from ..case import SynchronousTestCase
from .support import run_python_beside, temporary_directory


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
        self.patch(os, "rename", self.not_permitted)
        PidFile(self.path, 7).write()
        self.assertEqual(self.content(), "7")

    def not_permitted(self, *_: object, **__: object) -> NoReturn:
        """What a directory of somebody else says."""
        raise PermissionError(errno.EACCES, "Permission denied", self.directory)

    def test_nothing_may_be_written(self) -> None:
        """Where the file is not there either, the log says that it could not be written."""
        self.patch(os, "rename", self.not_permitted)
        with capturedLogs() as events:
            PidFile(self.path, 7).write()
        self.assertIn("Cannot write the pid file", self.logged(events))

    def test_its_owner_removes_it(self) -> None:
        """The process whose pid it holds removes it, with or without a line end in it."""
        for content in (b"7", b"7\n"):
            with self.subTest(content=content):
                self.put(content)
                PidFile(self.path, 7).remove()
                self.assertFalse(os.path.exists(self.path))

    def test_nobody_else_removes_it(self) -> None:
        """A file with another pid, or with none, stays."""
        for content in (b"8", b"77", b"", b"soon"):
            with self.subTest(content=content):
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

        self.patch(os, "fchmod", full)  # the first call after the write
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
        """A fault of the file system is logged."""
        self.put(b"7")

        def faulty(*_: object, **__: object) -> NoReturn:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(os, "unlink", faulty)
        with capturedLogs() as events:
            PidFile(self.path, 7).remove()
        self.assertIn("Cannot remove the pid file", self.logged(events))


class LinkTests(SynchronousTestCase):
    """The path is a link to the file."""

    def test_the_link_stays(self) -> None:
        """The target, there or not, is written, replaced and removed; the link stays."""
        directory = temporary_directory(self)
        path, target = (os.path.join(directory, name) for name in ("app.pid", "target.pid"))
        os.symlink("target.pid", path)
        file = PidFile(path, 7)
        for write in (file.create, file.write):
            with self.subTest(write=write):
                write()
                self.assertTrue(os.path.islink(path))
                with open(target) as written:
                    self.assertEqual(written.read(), "7")
        file.remove()
        self.assertEqual(os.listdir(directory), ["app.pid"])


class FreeTests(SynchronousTestCase):
    """Whether a server may start with a pid file that is there."""

    def setUp(self) -> None:
        """Choose a path."""
        self.path = os.path.join(temporary_directory(self), "app.pid")

    def put(self, content: bytes) -> None:
        """Let the file be there."""
        with open(self.path, "wb") as file:
            file.write(content)

    def test_stale(self) -> None:
        """A pid file is free if it is empty or garbage, or names no running server."""
        for content in (
            b"",
            b"\n",
            b"soon",
            b"\xff\xfe",
            b"-1",
            b"9" * 30,
            b"%d" % os.getppid(),
            b"1",
        ):
            self.put(content)
            require_free(self.path)
        os.unlink(self.path)
        require_free(self.path)

    def test_what_is_no_file(self) -> None:
        """A device is accepted and stays as it is; a FIFO or a directory is an error."""
        PidFile("/dev/null", 7).create()
        self.assertFalse(os.path.isfile("/dev/null"))
        for make, remove in ((os.mkfifo, os.unlink), (os.mkdir, os.rmdir)):
            with self.subTest(make=make, remove=remove):
                make(self.path)
                error = self.assertRaises(PidFileError, PidFile(self.path, 7).create)
                self.assertIn(f"{self.path} is not a regular file", str(error))
                PidFile(self.path, 7).remove()
                remove(self.path)

    def test_where_it_cannot_be(self) -> None:
        """A start says that the directory is missing, through links as well, and names it."""
        missing = os.path.join(os.path.dirname(self.path), "gone")
        os.symlink("gone/app.pid", self.path)
        for path in (os.path.join(missing, "app.pid"), self.path):
            for look in (lambda path=path: require_writable(path), PidFile(path, 7).create):
                with self.subTest(path=path, look=look):
                    error = self.assertRaises(PidFileError, look)
                    self.assertIn(f"cannot write the pid file {path}: ", str(error))
                    self.assertIn(f"there is no directory {missing}", str(error))
        os.mkdir(missing)
        require_writable(self.path)
        self.assertEqual(os.listdir(missing), [])

    def test_two_at_once(self) -> None:
        """Nobody else looks whether it is free until it is written, if only the lock is held."""
        lock = os.path.join(os.path.dirname(self.path), ".app.pid.lock")
        seen: list[bool] = []
        self.patch(pid_file, "require_free", lambda _: seen.append(os.path.exists(lock)))
        PidFile(self.path, 7).create()
        self.assertEqual((seen, os.path.exists(lock)), ([True], False))
        self.patch(pid_file, "_PATIENCE", 0.01)
        with locked(self.path, 0):  # by one that hangs
            PidFile(self.path, 7).create()

    def test_running(self) -> None:
        """A pid file is not free while a server has it, even if it was replaced or overwritten."""
        child = run_python_beside(
            self,
            "import os, sys\n"
            "from twisted_graceful.process.host.pid_file import PidFile\n"
            f"file = PidFile({self.path!r}, 7)\n"
            "for line in sys.stdin:\n"
            "    exec(line)\n"
            "    print(flush=True)\n",
        )
        assert child.stdin is not None
        assert child.stdout is not None
        for line in (
            "file.create()",
            "file.write()",
            "def refuse(*a, **k): raise PermissionError(13, 'Permission denied')",
            "os.rename = refuse; file.write()",
        ):
            child.stdin.write(line + "\n")
            child.stdin.flush()
            child.stdout.readline()
            if line.startswith("def"):
                continue
            for user in (lambda: require_free(self.path), PidFile(self.path, 8).create):
                with self.subTest(line=line, user=user):
                    error = self.assertRaises(PidFileError, user)
                    self.assertIn(f"the pid file {self.path} (pid 7)", str(error))
        child.kill()
        child.wait()
        require_free(self.path)

    def test_a_reader_with_a_lock(self) -> None:
        """A user who may only read the pid file cannot prevent a start."""
        self.put(b"7")
        child = run_python_beside(
            self,
            "import fcntl, sys\n"
            f"file = open({self.path!r})\n"
            "fcntl.lockf(file, fcntl.LOCK_SH)\n"
            "fcntl.flock(file, fcntl.LOCK_EX)\n"
            "print(flush=True)\n"
            "sys.stdin.read()\n",
        )
        assert child.stdout is not None
        child.stdout.readline()
        PidFile(self.path, 8).create()

    def test_the_own_lock(self) -> None:
        """A file that was overwritten is held by the successor when the predecessor has ended."""
        file = PidFile(self.path, 8)
        file.create()
        file.hold()
        file.remove()
        file.hold()
        self.assertFalse(os.path.exists(self.path))

    def test_removal_forbidden(self) -> None:
        """A pid file that must not be removed is emptied."""
        file = PidFile(self.path, 7)
        file.create()

        def forbidden(*_: object, **__: object) -> NoReturn:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.patch(os, "unlink", forbidden)
        file.remove()
        self.assertEqual(os.stat(self.path).st_size, 0)
