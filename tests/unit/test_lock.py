"""A lock that other users cannot hold."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from twisted_graceful.process.host.lock import locked

from ..case import SynchronousTestCase
from .support import temporary_directory


class LockTests(SynchronousTestCase):
    """The lock of a path."""

    def setUp(self) -> None:
        """Choose it."""
        self.directory = Path(temporary_directory(self))
        self.path = str(self.directory / "app")
        self.lock = self.directory / ".app.lock"

    def test_one_at_a_time(self) -> None:
        """One process at a time holds the lock, each gets it, and no file is left behind."""
        inside: list[int] = []
        most = []

        def hold() -> None:
            with locked(self.path, 30):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

        threads = [threading.Thread(target=hold) for _ in range(20)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertEqual(most, [1] * 20)
        self.assertEqual(os.listdir(self.directory), [])

    def test_nobody_else_may_open_it(self) -> None:
        """Other users cannot open the lock file."""
        with locked(self.path, 0):
            self.assertEqual(self.lock.stat().st_mode & 0o777, 0o600)

    def test_held(self) -> None:
        """A lock that is held is an error that names its file."""
        with locked(self.path, 0):
            with self.assertRaises(OSError) as caught, locked(self.path, 0.01):
                pass
            self.assertIn(str(self.lock), str(caught.exception))
            self.assertTrue(self.lock.exists())

    def test_left_by_a_killed_process(self) -> None:
        """An existing lock file that is not locked does not prevent locking."""
        self.lock.touch(0o600)
        with locked(self.path, 0):
            pass
        self.assertEqual(os.listdir(self.directory), [])

    def test_something_else_is_there(self) -> None:
        """A link, a FIFO or a directory instead of the lock file is an error, and stays."""
        for name, make in (
            ("symbolic link", lambda: self.lock.symlink_to("/etc/passwd")),
            ("not a regular file", lambda: os.mkfifo(self.lock)),
            ("Is a directory", self.lock.mkdir),
        ):
            with self.subTest(name):
                make()
                with self.assertRaisesRegex(OSError, name), locked(self.path, 0):
                    pass
                self.lock.rmdir() if self.lock.is_dir() else self.lock.unlink()
