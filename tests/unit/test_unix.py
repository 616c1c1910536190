"""UNIX sockets: what is bound, what is replaced, what is removed, and by whom."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import threading
from unittest import SkipTest

from twisted_graceful.address import UnixAddress, parse
from twisted_graceful.errors import BindError
from twisted_graceful.process.host.lock import locked
from twisted_graceful.process.listeners import sockets, unix_files
from twisted_graceful.process.listeners.sockets import Listeners, text

from ..case import SynchronousTestCase
from .support import leaves_nothing_open, temporary_directory


class UnixTestCase(SynchronousTestCase):
    """A test with a directory for its sockets."""

    def setUp(self) -> None:
        """Choose a path."""
        self.directory = temporary_directory(self)
        self.path = os.path.join(self.directory, "app.sock")
        self.address = UnixAddress(self.path)

    def bind(
        self, address: UnixAddress | None = None, mode: int = 0o660
    ) -> unix_files.UnixListener:
        """Bind, and close after the test."""
        listener = unix_files.bind(address or self.address, 5, mode)
        self.addCleanup(listener.close)
        return listener

    def refused(self, address: UnixAddress | None = None) -> str:
        """Why it cannot be bound; nothing is left open or changed by that."""
        before = os.listdir(self.directory)
        with leaves_nothing_open(self):
            reason = str(
                self.assertRaises(BindError, unix_files.bind, address or self.address, 5, 0o660)
            )
        self.assertEqual(os.listdir(self.directory), before)
        return reason

    def reaches(self, listener: socket.socket) -> bool:
        """Whether a client of the path is in the queue of a listener."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            return sockets.pending(listener)


class BindTests(UnixTestCase):
    """One that starts."""

    def test_it_listens_where_it_says(self) -> None:
        """A client of the path reaches the socket, and its text is its address."""
        listener = self.bind()
        self.assertTrue(self.reaches(listener))
        self.assertEqual(text(listener), f"unix:{self.path}")
        self.assertEqual((listener.getblocking(), listener.get_inheritable()), (False, False))
        self.assertEqual(os.listdir(self.directory), ["app.sock"])

    def test_mode(self) -> None:
        """The file has the mode that was asked for, whatever the umask."""
        for umask in (0, 0o077):
            self.addCleanup(os.umask, os.umask(umask))
            for mode in (0o600, 0o666):
                listener = self.bind(mode=mode)
                self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), mode)
                listener.close()

    def test_it_listens_only_when_it_has_its_mode(self) -> None:
        """Nobody can connect before the mode is set."""
        seen = []
        chmod = os.chmod

        def look(path: str, mode: int) -> None:
            with socket.socket(socket.AF_UNIX) as client:
                seen.append(client.connect_ex(path))
            chmod(path, mode)

        self.patch(os, "chmod", look)
        self.bind()
        self.assertEqual(seen, [errno.ECONNREFUSED])

    def test_stale(self) -> None:
        """The file of one that has been killed is replaced."""
        self.bind().close()
        before = os.stat(self.path).st_mtime_ns
        listener = self.bind()
        self.assertTrue(self.reaches(listener))
        self.assertGreater(os.stat(self.path).st_mtime_ns, before)

    def test_live(self) -> None:
        """A path on which somebody listens is refused, and goes on to be theirs."""
        listener = self.bind()
        reason = self.refused()
        self.assertIn(f"cannot listen on unix:{self.path}: ", reason)
        self.assertIn("another process listens there (`ss -lxp` shows which)", reason)
        self.assertTrue(self.reaches(listener))

    def test_live_with_a_full_queue(self) -> None:
        """One whose queue is full is live too."""
        self.bind().listen(0)
        clients = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.setblocking(False)
            clients.append(client.connect_ex(self.path))
            if clients[-1]:
                break
        self.assertEqual(clients[-1], errno.EAGAIN)
        self.assertIn("another process listens there", self.refused())

    def test_another_type(self) -> None:
        """A socket for datagrams, on which nobody listens, is in use too."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(self.path)
            self.assertIn("another process listens there", self.refused())

    def test_no_socket(self) -> None:
        """What is no socket is refused and not touched: a file, a directory, a link to a socket."""
        self.bind(UnixAddress(self.path + ".real")).close()
        for number, make in enumerate(
            (
                lambda: open(self.path, "x").close(),
                lambda: os.mkdir(self.path),
                lambda: os.symlink(self.path + ".real", self.path),
            )
        ):
            make()
            self.assertIn("it is there and is no socket; move it away", self.refused())
            os.rename(self.path, f"{self.path}.{number}")

    def test_no_directory(self) -> None:
        """A directory that is missing, or none, is named."""
        nowhere = os.path.join(self.directory, "nowhere")
        reason = self.refused(UnixAddress(f"{nowhere}/app.sock"))
        self.assertIn(f"there is no directory {nowhere}", reason)
        open(nowhere, "x").close()
        reason = self.refused(UnixAddress(f"{nowhere}/app.sock"))
        self.assertIn(f"{nowhere} is no directory", reason)

    def test_too_long(self) -> None:
        """A path that the system cannot take is refused with both lengths."""
        name = "x" * (107 - len(self.directory))
        self.bind(UnixAddress(f"{self.directory}/{name[1:]}"))
        reason = self.refused(UnixAddress(f"{self.directory}/{name}"))
        self.assertIn("its path has 108 bytes, and the system takes 107", reason)

    def test_no_permission(self) -> None:
        """A directory that this user cannot write is named."""
        if os.geteuid() == 0:
            raise SkipTest("root may write everywhere")
        os.chmod(self.directory, 0o500)
        self.assertIn(f"read and write {self.directory}", self.refused())

    def test_nothing_is_left_if_it_cannot_listen(self) -> None:
        """If a later step fails, the file is removed again."""

        def fail(path: str, mode: int) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(os, "chmod", fail)
        self.assertIn("Operation not permitted", self.refused())

    def test_abstract(self) -> None:
        """An abstract socket has no file; a second one of its name is refused."""
        address = UnixAddress(f"@{self.directory}")
        listener = self.bind(address)
        self.assertEqual(text(listener), str(address))
        self.assertIn("another process listens there", self.refused(address))
        listener.remove_file()
        self.assertEqual(os.listdir(self.directory), [])


class RaceTests(UnixTestCase):
    """Two that start at the same time."""

    def test_one_wins(self) -> None:
        """Of many that find a stale file at once one listens, and the others are refused."""
        for _ in range(20):
            self.bind().close()
            won: list[unix_files.UnixListener] = []
            refused: list[str] = []
            barrier = threading.Barrier(8)

            def start() -> None:
                barrier.wait()  # noqa: B023 - the threads end in this round
                try:
                    won.append(unix_files.bind(self.address, 50, 0o660))  # noqa: B023
                except BindError as error:
                    refused.append(str(error))  # noqa: B023

            threads = [threading.Thread(target=start) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((len(won), len(refused)), (1, 7))
            self.assertTrue(self.reaches(won[0]))
            won[0].close()

    def test_a_reader_of_the_directory(self) -> None:
        """A lock of the directory, which every reader of it can hold, delays nothing."""
        self.patch(unix_files, "_PATIENCE", 0)
        descriptor = os.open(self.directory, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.bind().close()

    def test_somebody_holds_the_lock(self) -> None:
        """A start that holds the lock for too long is an error that names the lock."""
        self.patch(unix_files, "_PATIENCE", 0)
        with locked(self.path, 0):
            self.assertIn(f".{os.path.basename(self.path)}.lock", self.refused())
        self.assertEqual(os.listdir(self.directory), [])


class RemoveTests(UnixTestCase):
    """The end of a socket file."""

    def test_its_own(self) -> None:
        """The file is removed, once; who is in the queue already stays there."""
        listener = self.bind()
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.path)
        listener.remove_file()
        self.assertFalse(os.path.exists(self.path))
        self.assertTrue(sockets.pending(listener))
        listener.remove_file()

    def test_of_another(self) -> None:
        """A file that another one has put there meanwhile is not removed."""
        listener = self.bind()
        os.unlink(self.path)
        other = self.bind()
        self.assertFalse(listener.is_reachable())
        listener.remove_file()
        self.assertTrue(self.reaches(other))

    def test_of_outside(self) -> None:
        """That of a socket which was passed from outside is not removed."""
        outside = self.bind()
        listener = unix_files.UnixListener(fileno=os.dup(outside.fileno()))
        self.addCleanup(listener.close)
        listener.remove_file()
        self.assertTrue(self.reaches(outside))

    def test_no_permission(self) -> None:
        """That it cannot be removed is no error."""
        listener = self.bind()

        def fail(path: str) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.patch(os, "unlink", fail)
        listener.remove_file()


class ListenersTests(UnixTestCase):
    """The UNIX sockets of a process, over generations."""

    def open(self, listeners: Listeners, text: str = "") -> socket.socket:
        """The one socket of an address."""
        address = parse(text) if text else self.address
        (listener,) = listeners.open(address, 5, 0o660)
        self.addCleanup(listener.close)
        return listener

    def inherit(self, listeners: Listeners) -> Listeners:
        """What the listeners of a successor are."""
        inherited = []
        for name, each in listeners.in_use():
            copies = []
            for one in each:
                assert isinstance(one, unix_files.UnixListener)
                copy = unix_files.UnixListener(fileno=os.dup(one.fileno()))
                copy.file = one.file
                self.addCleanup(copy.close)
                copies.append(copy)
            inherited.append((name, copies))
        return Listeners(inherited)

    def exists(self) -> bool:
        """Whether the file is there."""
        return os.path.exists(self.path)

    def test_alone(self) -> None:
        """Without an upgrade the file ends with the listener."""
        listeners = Listeners()
        listeners.close([self.open(listeners)])
        self.assertFalse(self.exists())

    def test_of_the_predecessor(self) -> None:
        """A successor that fails leaves the file of its predecessor, and removes what it bound."""
        first = Listeners()
        self.open(first)
        second = self.inherit(first)
        new = os.path.join(self.directory, "new.sock")
        both = [self.open(second), self.open(second, f"unix:{new}")]
        second.close(both)
        self.assertEqual(os.listdir(self.directory), ["app.sock"])

    def test_handed_over(self) -> None:
        """After a hand-over the predecessor leaves the file, and its successor removes it."""
        first = Listeners()
        old = self.open(first)
        second = self.inherit(first)
        new = self.open(second)
        first.entrust()
        second.own()
        first.close([old])
        self.assertTrue(self.reaches(new))
        second.close([new])
        self.assertFalse(self.exists())

    def test_handed_over_in_part(self) -> None:
        """The file of what the successor does not serve goes at the hand-over."""
        first = Listeners()
        gone, kept = self.open(first), self.open(first, f"unix:{self.directory}/kept.sock")
        first.entrust([gone])
        first.remove_files([gone, kept])
        self.assertEqual(os.listdir(self.directory), ["kept.sock"])

    def test_resumed(self) -> None:
        """One that serves again after a failed upgrade removes it in the end."""
        first = Listeners()
        old = self.open(first)
        first.entrust()
        first.own()
        first.close([old])
        self.assertFalse(self.exists())

    def test_given_back(self) -> None:
        """One that serves, and ends so that its predecessor resumes, removes only what is new."""
        first = Listeners()
        self.open(first)
        second = self.inherit(first)
        both = [self.open(second), self.open(second, f"unix:{self.directory}/new.sock")]
        second.own()
        second.give_back()
        second.close(both)
        self.assertEqual(os.listdir(self.directory), ["app.sock"])

    def test_not_served_any_more(self) -> None:
        """The file of an address that is not served any more goes with its socket, if owned."""
        first = Listeners()
        self.open(first)
        second = self.inherit(first)
        second.close_unused()
        self.assertTrue(self.exists())
        third = self.inherit(first)
        third.own()
        third.close_unused()
        self.assertFalse(self.exists())

    def test_removed_meanwhile(self) -> None:
        """If the path does not lead to the inherited socket any more, a new one is bound there."""
        first = Listeners()
        old = self.open(first)
        os.unlink(self.path)
        new = self.open(self.inherit(first))
        self.assertEqual((self.reaches(new), sockets.pending(old)), (True, False))

    def test_removed_and_not_to_be_bound(self) -> None:
        """If that is not possible, the inherited one is kept: abstract names and upgrades go on."""
        first = Listeners()
        self.open(first)
        os.unlink(self.path)
        open(self.path, "x").close()
        second = self.inherit(first)
        inherited = self.open(second)
        self.assertEqual(second.in_use(), [(self.address.name, [inherited])])
        second.close_unused()
        self.assertGreaterEqual(inherited.fileno(), 0)
