"""Listening sockets: bound by hand, kept by name."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted_graceful.address import Address, parse
from twisted_graceful.errors import BindError
from twisted_graceful.process.listeners import sockets
from twisted_graceful.process.listeners.sockets import Listeners, bind, pending, text

from ..case import SynchronousTestCase
from .support import leaves_nothing_open, why_no_ipv6

LOCAL = Address("127.0.0.1", 0)


class SocketTestCase(SynchronousTestCase):
    """A test whose sockets are closed after it."""

    def bind(self, address: Address) -> list[socket.socket]:
        """Bind, and close after the test."""
        bound = bind(address, 5)
        self.addCleanup(sockets.close, bound)
        return bound

    def refused(self, address: Address) -> str:
        """Why an address cannot be bound; nothing is left open by that."""
        with leaves_nothing_open(self):
            return str(self.assertRaises(BindError, bind, address, 5))


class BindTests(SocketTestCase):
    """One address."""

    def test_it_listens_where_it_says(self) -> None:
        """A client reaches the socket at the address that its text shows."""
        (listener,) = self.bind(LOCAL)
        self.assertFalse(pending(listener))
        at = parse(text(listener))
        with socket.create_connection((at.host, at.port), timeout=5):
            self.assertTrue(pending(listener))

    def test_it_does_not_block_and_is_not_inherited(self) -> None:
        """Accepting never waits, and no program that is started inherits the socket."""
        (listener,) = self.bind(LOCAL)
        self.assertFalse(listener.getblocking())
        self.assertFalse(listener.get_inheritable())

    def test_it_can_be_bound_again_at_once(self) -> None:
        """A restart does not wait until the last connections have timed out in the kernel."""
        (listener,) = bind(LOCAL, 5)
        at = parse(text(listener))
        with socket.create_connection((at.host, at.port), timeout=5) as client:
            accepted, _ = listener.accept()
            accepted.close()  # the server closes first, so the server's port is in TIME_WAIT
            client.recv(1)
        listener.close()
        self.assertEqual(text(self.bind(at)[0]), str(at))

    def test_port_in_use(self) -> None:
        """A port in use is refused by name, with the way to find out who uses it."""
        (listener,) = self.bind(LOCAL)
        reason = self.refused(parse(text(listener)))
        self.assertIn(f"cannot listen on {text(listener)}: ", reason)
        self.assertIn("another process listens there", reason)

    def test_an_address_of_another_machine(self) -> None:
        """An address that is none of this machine's is refused by name."""
        reason = self.refused(Address("192.0.2.1", 0))
        self.assertIn("cannot listen on 192.0.2.1:0: ", reason)

    def test_a_port_that_needs_privileges(self) -> None:
        """A port that only root may have is refused, with what it needs."""
        self.patch(sockets, "_listen", failing(PermissionError(errno.EACCES, "Permission denied")))
        reason = self.refused(Address("127.0.0.1", 80))
        self.assertIn("127.0.0.1:80: Permission denied; ports below 1024 need root", reason)

    def test_unknown_host(self) -> None:
        """A host that the resolver does not know is refused by name."""
        unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.patch(socket, "getaddrinfo", failing(unknown))
        reason = self.refused(Address("web.invalid", 80))
        self.assertIn("cannot listen on web.invalid:80: the host 'web.invalid' is unknown", reason)

    def test_a_host_that_is_no_name(self) -> None:
        """A host that cannot even be looked up is refused like an unknown one."""
        for host in ("a..b", "a" * 64):
            self.assertIn(f"cannot listen on {host}:80: ", self.refused(Address(host, 80)))

    def test_a_port_that_is_taken_in_one_family(self) -> None:
        """A free port that the next address cannot have is given up for another one."""
        listen, taken = sockets._listen, {2, 4}
        calls: list[int] = []

        def sometimes_taken(*arguments: Any) -> socket.socket:
            calls.append(arguments[1])
            if len(calls) in taken:
                raise OSError(errno.EADDRINUSE, "Address already in use")
            return listen(*arguments)

        two = [(socket.AF_INET, "127.0.0.1", ()), (socket.AF_INET, "127.0.0.2", ())]
        self.patch(sockets, "_resolve", lambda address: two)
        self.patch(sockets, "_listen", sometimes_taken)
        first, second = self.bind(Address("", 0))
        self.assertEqual(first.getsockname()[1], second.getsockname()[1])
        # More than that if other processes have such a port in truth.
        self.assertGreaterEqual(len(calls), 6)

    def test_looking_for_a_free_port_ends(self) -> None:
        """If no port is free, that is refused and not tried for ever."""
        in_use = OSError(errno.EADDRINUSE, "Address already in use")
        self.patch(sockets, "_listen", failing(in_use))
        self.assertIn("Address already in use", self.refused(Address("", 0)))


def failing(error: Exception) -> Any:
    """A function that raises."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


class AllInterfacesTests(SocketTestCase):
    """IPv4 and IPv6 side by side."""

    skip = why_no_ipv6() or None

    def test_one_port_for_both(self) -> None:
        """`:0` gives a socket of each family, with the same port."""
        bound = self.bind(parse(":0"))
        self.assertEqual([each.family for each in bound], [socket.AF_INET, socket.AF_INET6])
        self.assertEqual(len({each.getsockname()[1] for each in bound}), 1)

    def test_they_do_not_overlap(self) -> None:
        """A client of each family reaches the socket of its family, and only that."""
        four, six = self.bind(parse(":0"))
        port = four.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            self.assertEqual((pending(four), pending(six)), (True, False))
        with socket.create_connection(("::1", port), timeout=5):
            self.assertTrue(pending(six))

    def test_a_port_in_use_in_one_family(self) -> None:
        """If only IPv6 has the port in use, nothing is bound, for IPv4 neither."""
        (listener,) = self.bind(parse("[::]:0"))
        port = listener.getsockname()[1]
        self.assertIn(f"cannot listen on :{port}: ", self.refused(Address("", port)))

    def test_without_ipv6(self) -> None:
        """Where the system has no IPv6, `:0` is IPv4 alone."""
        listen = sockets._listen

        def four_only(family: int, *arguments: Any) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return listen(family, *arguments)

        self.patch(sockets, "_listen", four_only)
        (listener,) = self.bind(parse(":0"))
        self.assertEqual(listener.family, socket.AF_INET)

    def test_a_name_with_two_addresses(self) -> None:
        """A name gives one socket for each of its addresses, all with one port."""
        self.patch(
            socket,
            "getaddrinfo",
            lambda *_, **__: [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
            ],
        )
        six, four = self.bind(Address("localhost", 0))
        port = four.getsockname()[1]
        self.assertEqual([text(six), text(four)], [f"[::1]:{port}", f"127.0.0.1:{port}"])


class ListenersTests(SocketTestCase):
    """The sockets of a process, by name."""

    def test_an_inherited_address_is_not_bound_again(self) -> None:
        """An address that was inherited, by its name, keeps its sockets."""
        inherited = self.bind(LOCAL)
        opened = Listeners([(str(LOCAL), inherited)]).open(LOCAL, 5, 0o666)
        self.assertEqual(opened, inherited)

    def test_whatever_is_spoken_there(self) -> None:
        """A port that turns from plain to TLS, or back, is the same listener."""
        plain, secure = Address("127.0.0.1", 0), Address("127.0.0.1", 0, "https")
        first = Listeners()
        opened = first.open(plain, 5, 0o666)
        self.addCleanup(sockets.close, opened)
        second = Listeners(first.in_use())
        self.assertEqual(second.open(secure, 5, 0o666), opened)
        self.assertEqual(Listeners(second.in_use()).open(plain, 5, 0o666), opened)

    def test_a_new_address_is_bound(self) -> None:
        """An address that was not inherited gets new sockets."""
        inherited = self.bind(LOCAL)
        (new,) = Listeners([(":80", inherited)]).open(LOCAL, 5, 0o666)
        self.addCleanup(new.close)
        self.assertNotIn(new, inherited)

    def test_two_of_the_same_name_keep_their_order(self) -> None:
        """Two servers on any free port have the same two ports in the next generation."""
        first = Listeners()
        opened = [first.open(LOCAL, 5, 0o666), first.open(LOCAL, 5, 0o666)]
        for each in opened:
            self.addCleanup(sockets.close, each)
        self.assertEqual(first.in_use(), [(str(LOCAL), each) for each in opened])
        second = Listeners(first.in_use())
        self.assertEqual([second.open(LOCAL, 5, 0o666), second.open(LOCAL, 5, 0o666)], opened)
        self.assertEqual(second.in_use(), first.in_use())

    def test_any_free_port_again(self) -> None:
        """The free port that an address once got can be asked for; it keeps its name by that."""
        listeners = Listeners()
        (first,) = listeners.open(LOCAL, 5, 0o666)
        where = first.getsockname()
        listeners.close([first])
        (again,) = listeners.open(LOCAL, 5, 0o666, where[1])
        self.addCleanup(again.close)
        self.assertEqual(again.getsockname(), where)
        self.assertEqual(listeners.in_use(), [(str(LOCAL), [again])])

    def test_what_is_not_served_any_more_is_closed(self) -> None:
        """Inherited sockets that no server asked for are closed, all others stay open."""
        used, unused = self.bind(LOCAL), self.bind(LOCAL)
        listeners = Listeners([(str(LOCAL), used), (":80", unused)])
        listeners.open(LOCAL, 5, 0o666)
        listeners.close_unused()
        self.assertEqual((used[0].fileno() >= 0, unused[0].fileno()), (True, -1))
        self.assertEqual(listeners.in_use(), [(str(LOCAL), used)])

    def test_a_successor_inherits_what_is_in_use(self) -> None:
        """Closed sockets are not inherited, and an address can be opened again after a close."""
        listeners = Listeners()
        opened = listeners.open(LOCAL, 5, 0o666)
        listeners.close(opened)
        self.assertEqual((opened[0].fileno(), listeners.in_use()), (-1, []))
        again = listeners.open(LOCAL, 5, 0o666)
        self.addCleanup(sockets.close, again)
        self.assertEqual(listeners.in_use(), [(str(LOCAL), again)])
