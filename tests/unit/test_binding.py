"""Binding the addresses of IPv4 and IPv6; those of UNIX sockets are in `test_unix`."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted_graceful.address import Address, parse
from twisted_graceful.errors import BindError
from twisted_graceful.process.listeners import binding
from twisted_graceful.process.listeners.listener import bound_address, has_pending_connection

from ..case import SynchronousTestCase
from .support import leaves_nothing_open, why_no_ipv6

LOCAL = Address("127.0.0.1", 0)


class SocketTestCase(SynchronousTestCase):
    """A test whose sockets are closed after it."""

    def bind(self, address: Address) -> list[socket.socket]:
        """Bind, and close after the test."""
        listener = binding.bind(address, 5, 0o666)
        self.addCleanup(listener.close)
        return list(listener.sockets)

    def refused(self, address: Address) -> str:
        """Why an address cannot be bound; nothing is left open by that."""
        with leaves_nothing_open(self):
            return str(self.assertRaises(BindError, binding.bind, address, 5, 0o666))


class BindTests(SocketTestCase):
    """One address."""

    def test_it_listens_where_it_says(self) -> None:
        """A client reaches the socket at the address that the listener shows."""
        (listener,) = self.bind(LOCAL)
        self.assertFalse(has_pending_connection(listener))
        at = parse(bound_address(listener))
        with socket.create_connection((at.host, at.port), timeout=5):
            self.assertTrue(has_pending_connection(listener))

    def test_it_does_not_block_and_is_not_inherited(self) -> None:
        """Accepting never waits, and no program that is started inherits the socket."""
        (listener,) = self.bind(LOCAL)
        self.assertFalse(listener.getblocking())
        self.assertFalse(listener.get_inheritable())

    def test_it_can_be_bound_again_at_once(self) -> None:
        """A restart does not wait until the last connections have timed out in the kernel."""
        (listener,) = self.bind(LOCAL)
        at = parse(bound_address(listener))
        with socket.create_connection((at.host, at.port), timeout=5) as client:
            accepted, _ = listener.accept()
            accepted.close()  # the server closes first, so the server's port is in TIME_WAIT
            client.recv(1)
        listener.close()
        self.assertEqual(bound_address(self.bind(at)[0]), str(at))

    def test_port_in_use(self) -> None:
        """A port in use is refused by name, with the way to find out who uses it."""
        (listener,) = self.bind(LOCAL)
        reason = self.refused(parse(bound_address(listener)))
        self.assertIn(f"cannot listen on {bound_address(listener)}: ", reason)
        self.assertIn("another process listens there", reason)

    def test_an_address_of_another_machine(self) -> None:
        """An address that is none of this machine's is refused by name."""
        reason = self.refused(Address("192.0.2.1", 0))
        self.assertIn("cannot listen on 192.0.2.1:0: ", reason)

    def test_a_port_that_needs_privileges(self) -> None:
        """A port that only root may have is refused, with what it needs."""
        self.patch(binding, "_listen", failing(PermissionError(errno.EACCES, "Permission denied")))
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
            with self.subTest(host=host):
                self.assertIn(f"cannot listen on {host}:80: ", self.refused(Address(host, 80)))

    def test_a_port_that_is_taken_in_one_family(self) -> None:
        """A free port that the next address cannot have is given up for another one."""
        listen, taken = binding._listen, {2, 4}
        calls: list[int] = []

        def sometimes_taken(*arguments: Any) -> socket.socket:
            calls.append(arguments[1])
            if len(calls) in taken:
                raise OSError(errno.EADDRINUSE, "Address already in use")
            return listen(*arguments)

        two = [(socket.AF_INET, "127.0.0.1", ()), (socket.AF_INET, "127.0.0.2", ())]
        self.patch(binding, "_resolve", lambda address: two)
        self.patch(binding, "_listen", sometimes_taken)
        first, second = self.bind(Address("", 0))
        self.assertEqual(first.getsockname()[1], second.getsockname()[1])
        # More than that if other processes have such a port in truth.
        self.assertGreaterEqual(len(calls), 6)

    def test_looking_for_a_free_port_ends(self) -> None:
        """If no port is free, that is refused and not tried for ever."""
        in_use = OSError(errno.EADDRINUSE, "Address already in use")
        self.patch(binding, "_listen", failing(in_use))
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
            self.assertEqual(
                (has_pending_connection(four), has_pending_connection(six)), (True, False)
            )
        with socket.create_connection(("::1", port), timeout=5):
            self.assertTrue(has_pending_connection(six))

    def test_a_port_in_use_in_one_family(self) -> None:
        """If only IPv6 has the port in use, nothing is bound, for IPv4 neither."""
        (listener,) = self.bind(parse("[::]:0"))
        port = listener.getsockname()[1]
        self.assertIn(f"cannot listen on :{port}: ", self.refused(Address("", port)))

    def test_without_ipv6(self) -> None:
        """Where the system has no IPv6, `:0` is IPv4 alone."""
        listen = binding._listen

        def four_only(family: int, *arguments: Any) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return listen(family, *arguments)

        self.patch(binding, "_listen", four_only)
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
        self.assertEqual(
            [bound_address(six), bound_address(four)], [f"[::1]:{port}", f"127.0.0.1:{port}"]
        )
