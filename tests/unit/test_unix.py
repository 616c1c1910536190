"""UNIX sockets: what is bound, what is replaced, what is removed, and by whom."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import threading
from unittest import SkipTest

from twisted_graceful.address import UnixAddress
from twisted_graceful.errors import BindError
from twisted_graceful.process.host.lock import locked
from twisted_graceful.process.listeners import unix_files
from twisted_graceful.process.listeners.listener import (
    Listener,
    bound_address,
    has_pending_connection,
)
from twisted_graceful.process.listeners.listener_registry import ListenerRegistry
from twisted_graceful.process.listeners.unix_files import SocketFile

from ..case import SynchronousTestCase
from .support import leaves_nothing_open, temporary_directory


class UnixTestCase(SynchronousTestCase):
    """A test with a directory for its sockets."""

    def setUp(self) -> None:
        """Choose a path."""
        self.directory = temporary_directory(self)
        self.path = os.path.join(self.directory, "app.sock")
        self.address = UnixAddress(self.path)

    def bind(self, address: UnixAddress | None = None, mode: int = 0o660) -> socket.socket:
        """Bind, and close after the test."""
        listener, self.file = unix_files.bind(address or self.address, 5, mode)
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
            return has_pending_connection(listener)


class BindTests(UnixTestCase):
    """One that starts."""

    def test_it_listens_where_it_says(self) -> None:
        """A client of the path reaches the socket, and its text is its address."""
        listener = self.bind()
        self.assertTrue(self.reaches(listener))
        self.assertEqual(bound_address(listener), f"unix:{self.path}")
        self.assertEqual((listener.getblocking(), listener.get_inheritable()), (False, False))
        self.assertEqual(os.listdir(self.directory), ["app.sock"])

    def test_mode(self) -> None:
        """The file has the mode that was asked for, whatever the umask."""
        for umask in (0, 0o077):
            self.addCleanup(os.umask, os.umask(umask))
            for mode in (0o600, 0o666):
                with self.subTest(umask=umask, mode=mode):
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
            with self.subTest(number=number, make=make):
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
        self.assertEqual(bound_address(listener), str(address))
        self.assertIn("another process listens there", self.refused(address))
        self.assertIsNone(self.file)
        self.assertEqual(os.listdir(self.directory), [])


class RaceTests(UnixTestCase):
    """Two that start at the same time."""

    def test_one_wins(self) -> None:
        """Of many that find a stale file at once one listens, and the others are refused."""
        for _ in range(20):
            self.bind().close()
            won: list[socket.socket] = []
            refused: list[str] = []
            barrier = threading.Barrier(8)

            def start() -> None:
                barrier.wait()  # noqa: B023 - the threads end in this round
                try:
                    won.append(unix_files.bind(self.address, 50, 0o660)[0])  # noqa: B023
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

    def bound(self) -> tuple[socket.socket, SocketFile]:
        """A socket and its file."""
        listener = self.bind()
        assert self.file is not None
        return listener, self.file

    def test_its_own(self) -> None:
        """The file is removed, once; connections in the backlog stay there."""
        listener, file = self.bound()
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.path)
        file.remove()
        self.assertFalse(os.path.exists(self.path))
        self.assertTrue(has_pending_connection(listener))
        file.remove()

    def test_of_another(self) -> None:
        """A file that another one has put there meanwhile is not removed."""
        _, file = self.bound()
        os.unlink(self.path)
        other = self.bind()
        self.assertFalse(file.is_in_place())
        file.remove()
        self.assertTrue(self.reaches(other))

    def test_of_outside(self) -> None:
        """That of a socket which was passed from outside is not removed."""
        outside = self.bind()
        Listener("a", [outside.dup()]).close()
        self.assertTrue(self.reaches(outside))

    def test_no_permission(self) -> None:
        """That it cannot be removed is no error."""
        _, file = self.bound()

        def fail(path: str) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.patch(os, "unlink", fail)
        file.remove()


class GenerationsTests(UnixTestCase):
    """Which generation removes a socket file."""

    def setUp(self) -> None:
        """The first generation listens."""
        super().setUp()
        self.first = ListenerRegistry()
        self.old = self.open(self.first)

    def open(self, registry: ListenerRegistry, name: str = "app.sock") -> Listener:
        """The listener of a file."""
        listener = registry.open(UnixAddress(f"{self.directory}/{name}"), 5, 0o660)
        self.addCleanup(listener.close)
        return listener

    def successor(self) -> ListenerRegistry:
        """The listeners of a successor, which has inherited those of the first generation."""
        inherited = [
            Listener(
                each.name,
                [sock.dup() for sock in each.sockets],
                file=each.file,
                is_inherited=True,
            )
            for each in self.first.in_use
        ]
        for each in inherited:
            for sock in each.sockets:
                self.addCleanup(sock.close)
        return ListenerRegistry(inherited)

    def files(self) -> list[str]:
        """The files that are there."""
        return sorted(os.listdir(self.directory))

    def test_alone(self) -> None:
        """Without an upgrade the file ends with the listener."""
        self.first.close(self.old)
        self.assertEqual(self.files(), [])

    def test_of_the_predecessor(self) -> None:
        """A successor that fails leaves the file of its predecessor, and removes what it bound."""
        second = self.successor()
        for each in [self.open(second), self.open(second, "new.sock")]:
            second.close(each)
        self.assertEqual(self.files(), ["app.sock"])

    def test_handed_over(self) -> None:
        """After a handover the predecessor leaves the file, and its successor removes it."""
        second = self.successor()
        new = self.open(second)
        self.first.hand_over(())
        second.take_over()
        self.first.close(self.old)
        self.assertTrue(self.reaches(new.sockets[0]))
        second.close(new)
        self.assertEqual(self.files(), [])

    def test_handed_over_in_part(self) -> None:
        """The file of a listener that the successor does not serve goes at the handover."""
        kept = self.open(self.first, "kept.sock")
        self.first.hand_over([self.old])
        for each in (self.old, kept):
            each.remove_file()
        self.assertEqual(self.files(), ["kept.sock"])

    def test_resumed(self) -> None:
        """A process that serves again after a failed upgrade removes the file in the end."""
        self.first.hand_over(())
        self.first.take_over()
        self.first.close(self.old)
        self.assertEqual(self.files(), [])

    def test_handed_back(self) -> None:
        """A successor that ends so that its predecessor resumes removes only what is new."""
        second = self.successor()
        both = [self.open(second), self.open(second, "new.sock")]
        second.take_over()
        second.hand_back()
        for each in both:
            second.close(each)
        self.assertEqual(self.files(), ["app.sock"])

    def test_not_served_any_more(self) -> None:
        """The file of an address that is not served any more goes with its socket, if owned."""
        self.successor().close_unused()
        self.assertEqual(self.files(), ["app.sock"])
        third = self.successor()
        third.take_over()
        third.close_unused()
        self.assertEqual(self.files(), [])

    def test_removed_meanwhile(self) -> None:
        """If the path does not lead to the inherited socket any more, a new one is bound there."""
        os.unlink(self.path)
        new = self.open(self.successor())
        self.assertTrue(self.reaches(new.sockets[0]))
        self.assertFalse(has_pending_connection(self.old.sockets[0]))

    def test_removed_and_not_to_be_bound(self) -> None:
        """If that is not possible, the inherited one is kept: abstract names and upgrades go on."""
        os.unlink(self.path)
        open(self.path, "x").close()
        second = self.successor()
        inherited = self.open(second)
        self.assertEqual((inherited.inodes, second.in_use), (self.old.inodes, [inherited]))
        second.close_unused()
        self.assertGreaterEqual(inherited.sockets[0].fileno(), 0)
