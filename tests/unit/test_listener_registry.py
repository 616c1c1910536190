"""The listeners of a process: inherited, from a service manager, or bound, by name."""

from __future__ import annotations

import os
import socket

from twisted_graceful.address import Address, ListenAddress, parse
from twisted_graceful.errors import BindError
from twisted_graceful.process.listeners.binding import bind
from twisted_graceful.process.listeners.listener import Listener
from twisted_graceful.process.listeners.listener_registry import ListenerRegistry

from ..case import SynchronousTestCase
from .support import temporary_directory

LOCAL = Address("127.0.0.1", 0)


class RegistryTestCase(SynchronousTestCase):
    """A test whose listeners are closed after it."""

    def open(self, registry: ListenerRegistry, address: ListenAddress, port: int = 0) -> Listener:
        """The listener of an address."""
        listener = registry.open(address, 5, 0o666, port)
        self.addCleanup(listener.close)
        return listener

    def inherited(self, name: str = LOCAL.name) -> Listener:
        """A listener of the predecessor."""
        listener = Listener(name, bind(LOCAL, 5, 0o666).sockets, is_inherited=True)
        self.addCleanup(listener.close)
        return listener

    def activated(self, name: str, host: str = "127.0.0.1") -> tuple[Listener, int]:
        """A listener of a service manager, and its port."""
        sock = socket.create_server((host, 0))
        self.addCleanup(sock.close)
        return Listener(name, [sock], is_activated=True), sock.getsockname()[1]


class ListenerTests(SynchronousTestCase):
    """The value."""

    def test_any_protocol(self) -> None:
        """It holds sockets of any family and type, and knows where they are bound."""
        path = f"{temporary_directory(self)}/log.sock"
        for family, kind, where, shown in (
            (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), r"127.0.0.1:[0-9]+"),
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), r"127.0.0.1:[0-9]+"),
            (socket.AF_UNIX, socket.SOCK_DGRAM, path, f"unix:{path}"),
        ):
            with self.subTest(shown=shown, kind=kind), socket.socket(family, kind) as sock:
                sock.bind(where)
                listener = Listener("of the program", [sock])
                self.assertRegex(listener.addresses[0], f"^{shown}$")
                self.assertEqual(listener.inodes, (os.fstat(sock.fileno()).st_ino,))


class InheritedTests(RegistryTestCase):
    """What a successor has from its predecessor, and what it binds."""

    def test_an_inherited_address_is_not_bound_again(self) -> None:
        """An inherited listener serves the address of its name, whatever is spoken there."""
        for address in (LOCAL, Address("127.0.0.1", 0, "https")):
            with self.subTest(address=address):
                inherited = self.inherited()
                self.assertIs(self.open(ListenerRegistry([inherited]), address), inherited)

    def test_a_new_address_is_bound(self) -> None:
        """An address that was not inherited gets a new listener."""
        inherited = self.inherited(":80")
        self.assertIsNot(self.open(ListenerRegistry([inherited]), LOCAL), inherited)

    def test_two_of_the_same_name_keep_their_order(self) -> None:
        """Two servers on any free port have the same two ports in the next generation."""
        first = ListenerRegistry()
        opened = [self.open(first, LOCAL), self.open(first, LOCAL)]
        self.assertEqual(first.in_use, opened)
        second = ListenerRegistry(first.in_use)
        self.assertEqual([self.open(second, LOCAL), self.open(second, LOCAL)], opened)
        self.assertEqual(second.in_use, opened)

    def test_any_free_port_again(self) -> None:
        """The free port that an address once got can be asked for; the name stays the same."""
        registry = ListenerRegistry()
        first = self.open(registry, LOCAL)
        registry.close(first)
        port = parse(first.addresses[0]).port  # type: ignore[union-attr]
        again = self.open(registry, LOCAL, port)
        self.assertEqual((again.addresses, again.name), (first.addresses, LOCAL.name))

    def test_what_is_not_served_any_more_is_closed(self) -> None:
        """Inherited listeners that no server asked for are closed, all others stay open."""
        used, unused = self.inherited(), self.inherited(":80")
        registry = ListenerRegistry([used, unused])
        self.open(registry, LOCAL)
        registry.close_unused()
        self.assertGreaterEqual(used.sockets[0].fileno(), 0)
        self.assertEqual(unused.sockets[0].fileno(), -1)
        self.assertEqual(registry.in_use, [used])

    def test_a_successor_inherits_what_is_in_use(self) -> None:
        """Closed listeners are not inherited, and an address can be opened again after a close."""
        registry = ListenerRegistry()
        opened = self.open(registry, LOCAL)
        registry.close(opened)
        self.assertEqual((opened.sockets[0].fileno(), registry.in_use), (-1, []))
        again = self.open(registry, LOCAL)
        self.assertEqual(registry.in_use, [again])


class ActivatedTests(RegistryTestCase):
    """Which address a socket of a service manager serves."""

    def test_the_one_that_it_is_bound_to(self) -> None:
        """It serves the address that it is bound to, under that name, and the others do not."""
        other, _ = self.activated("a")
        listener, port = self.activated("b")
        registry = ListenerRegistry((), [other, listener])
        address = Address("127.0.0.1", port)
        opened = self.open(registry, address)
        self.assertEqual((opened.name, opened.sockets), (address.name, listener.sockets))
        self.assertEqual((registry.in_use, registry.unclaimed), ([opened], [other]))

    def test_it_is_never_free(self) -> None:
        """It is known not to be free after a close, unlike what we have bound."""
        listener, port = self.activated("a")
        registry = ListenerRegistry((), [listener])
        opened = [self.open(registry, Address("127.0.0.1", port)), self.open(registry, LOCAL)]
        self.assertEqual([each.can_be_bound_again for each in opened], [False, True])

    def test_all_interfaces(self) -> None:
        """One that is bound to all interfaces serves a port without a host, and no host."""
        listener, port = self.activated("a", "0.0.0.0")
        opened = self.open(ListenerRegistry((), [listener]), Address("", port))
        self.assertEqual(opened.sockets, listener.sockets)
        registry = ListenerRegistry((), [listener])
        address = Address("127.0.0.1", port)
        error = self.assertRaises(BindError, registry.open, address, 5, 0o666)
        self.assertIn(f"The service manager passed 0.0.0.0:{port} (a)", str(error))

    def test_unix_sockets(self) -> None:
        """A UNIX socket serves the address of its path or abstract name, and keeps its file."""
        path = f"{temporary_directory(self)}/app.sock"
        for where, shown in ((path, path), ("\0" + path, "@" + path)):
            with self.subTest(shown=shown), socket.socket(socket.AF_UNIX) as sock:
                sock.bind(where)
                sock.listen()
                registry = ListenerRegistry((), [Listener("a", [sock], is_activated=True)])
                self.assertEqual(registry.unclaimed[0].addresses, (f"unix:{shown}",))
                opened = self.open(registry, parse(f"unix:{shown}"))
                self.assertEqual(opened.sockets, (sock,))
                registry.close(opened)
                self.assertTrue(os.path.exists(path))

    def test_any_free_port(self) -> None:
        """Port 0 is not the port of any."""
        listener, _ = self.activated("a")
        registry = ListenerRegistry((), [listener])
        self.open(registry, LOCAL)
        self.assertEqual(registry.unclaimed, [listener])

    def test_what_is_inherited_comes_first(self) -> None:
        """A successor serves what it inherited."""
        listener, port = self.activated("a")
        address = Address("127.0.0.1", port)
        old = self.inherited(address.name)
        self.assertIs(self.open(ListenerRegistry([old], [listener]), address), old)
