"""What root opens and chowns in the directory of another user."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import NoReturn
from unittest import SkipTest

from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from twisted_graceful.address import UnixAddress
from twisted_graceful.errors import BindError, LogFileError, PidFileError
from twisted_graceful.process.host import chown
from twisted_graceful.process.host.chown import give, set_mode
from twisted_graceful.process.host.log_file import LogFile, check_writable
from twisted_graceful.process.host.pid_file import PidFile
from twisted_graceful.process.listeners import unix_files

from ..case import SynchronousTestCase
from .support import temporary_directory

USER = 54321


class RootTests(SynchronousTestCase):
    """Root, and a directory that a user may write."""

    def setUp(self) -> None:
        """Make what is root's, and what is the user's."""
        if os.geteuid():
            raise SkipTest("only root can give files away")
        self.root = Path(temporary_directory(self))
        self.secret = self.root / "secret"
        self.secret.write_text("secret")
        self.home = self.root / "home"
        self.home.mkdir()
        os.chown(self.home, USER, USER)
        self.path = self.home / "app.log"

    def link(self, path: Path, target: Path | str, owner: int = USER) -> None:
        """A symbolic link of a user."""
        path.symlink_to(target)
        os.chown(path, owner, owner, follow_symlinks=False)

    def test_traps(self) -> None:
        """A user's link instead of a file never leads root to a file of another user."""
        self.link(self.root / "moved", "home", 0)
        for name, make, path in (
            ("link", lambda: self.link(self.path, self.secret), self.path),
            ("relative link", lambda: self.link(self.path, "../secret"), self.path),
            ("dangling link", lambda: self.link(self.path, self.root / "new"), self.path),
            ("hard link", lambda: os.link(self.secret, self.path), self.path),
            ("directory", lambda: self.link(self.home / "d", self.root), self.home / "d/secret"),
            ("a new file", lambda: self.link(self.home / "d", self.root), self.home / "d/new"),
            (
                "below a link of root",
                lambda: self.link(self.path, self.secret),
                self.root / "moved/app.log",
            ),
        ):
            with self.subTest(name):
                make()
                for action in (
                    lambda path=path: LogFile(str(path), Clock()),
                    lambda path=path: check_writable(str(path)),
                ):
                    self.assertRaises(LogFileError, action)
                if name not in ("dangling link", "a new file"):
                    self.assertRaises(OSError, give, str(path), USER, USER)
                if name != "hard link":  # which is replaced
                    self.assertRaises(PidFileError, PidFile(str(path), 7).create)
                self.assertEqual(self.secret.read_text(), "secret")
                self.assertEqual(
                    (self.secret.stat().st_uid, self.secret.stat().st_nlink > 0), (0, True)
                )
                self.assertFalse((self.root / "new").exists())
                for each in self.home.iterdir():
                    each.unlink()

    def test_hard_links_where_all_may_write(self) -> None:
        """In a directory such as /tmp a second name of root's own file is not written to."""
        os.chown(self.home, 0, 0)
        self.home.chmod(0o1777)
        os.link(self.secret, self.path)
        self.assertRaises(LogFileError, LogFile, str(self.path), Clock())
        self.home.chmod(0o755)
        LogFile(str(self.path), Clock()).close()

    def test_a_full_disk(self) -> None:
        """A pid file that cannot be replaced is not overwritten under another name of a file."""
        os.link(self.secret, self.path)
        self.patch(os, "rename", self.full)
        with capturedLogs() as events:
            PidFile(str(self.path), 7).write()
        self.assertEqual((self.secret.read_text(), len(events)), ("secret", 1))

    def full(self, *_: object, **__: object) -> NoReturn:
        """What a disk says that the user has filled."""
        raise OSError(errno.ENOSPC, "No space left on device")

    def test_the_reason(self) -> None:
        """The error names the file, whose link it is, and what to do."""
        self.link(self.path, self.secret)
        text = str(self.assertRaises(LogFileError, LogFile, str(self.path), Clock()))
        self.assertIn(str(self.path), text)
        self.assertIn(f"a symbolic link of user {USER} to a directory of user root", text)

    def test_what_is_meant(self) -> None:
        """Files are chowned through links of root, and through links in the user's directories."""
        (self.home / "releases").mkdir()
        os.chown(self.home / "releases", USER, USER)
        self.link(self.home / "current", self.home / "releases")
        self.link(self.root / "var", "home", 0)
        for path in (
            self.path,
            self.home / "current" / "app.log",
            self.root / "var" / "other.log",
            self.root / "of-root.log",
        ):
            with self.subTest(path=path):
                file = LogFile(str(path), Clock())
                file.write(b"line\n")
                file.close()
                give(str(path), USER, USER)
                self.assertEqual((path.stat().st_uid, path.stat().st_gid), (USER, USER))
                self.assertEqual(path.read_bytes(), b"line\n")
                PidFile(str(path) + ".pid", 7).create()

    def test_what_is_no_file(self) -> None:
        """A device, a FIFO and a directory keep their owners; a socket does not."""
        self.link(self.home / "null", "/dev/null", 0)
        before = os.stat("/dev/null").st_uid
        os.mkfifo(self.path)
        (self.home / "d").mkdir()
        for name in ("null", "app.log", "d", "nothing"):
            give(str(self.home / name), USER, USER)
        self.assertEqual(os.stat("/dev/null").st_uid, before)
        self.assertEqual((self.path.stat().st_uid, (self.home / "d").stat().st_uid), (0, 0))
        listener, _ = unix_files.bind(UnixAddress(str(self.home / "app.sock")), 5, 0o660)
        self.addCleanup(listener.close)
        give(str(self.home / "app.sock"), USER, USER)
        self.assertEqual((self.home / "app.sock").stat().st_uid, USER)

    def test_a_socket_that_is_replaced(self) -> None:
        """If a link takes the place of a socket before its mode is set, its target is unharmed."""
        self.secret.chmod(0o600)
        path = self.home / "app.sock"
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
            status = path.lstat()
            path.unlink()
            self.link(path, self.secret)
            file = status.st_dev, status.st_ino
            self.assertRaises(OSError, set_mode, str(path), 0o666, file)
        self.assertEqual(stat.S_IMODE(self.secret.stat().st_mode), 0o600)
        self.link(self.home / "d", self.root)
        self.assertRaises(
            BindError, unix_files.bind, UnixAddress(f"{self.home}/d/app.sock"), 5, 0o660
        )

    def test_who_is_not_root(self) -> None:
        """Any other user opens what the system lets it open."""
        self.patch(os, "geteuid", lambda: USER)
        self.link(self.path, self.secret)
        os.close(chown.open_file(str(self.path), os.O_WRONLY))
