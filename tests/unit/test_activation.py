"""What a service manager passes: the environment variables and the descriptors."""

from __future__ import annotations

import os
import socket

from twisted_graceful.address import Address, parse
from twisted_graceful.errors import ActivationError, BindError
from twisted_graceful.process.listeners import activation
from twisted_graceful.process.listeners.activation import Activation
from twisted_graceful.process.listeners.sockets import Listeners, close

from ..case import SynchronousTestCase
from .support import temporary_directory


class TakeTests(SynchronousTestCase):
    """The environment variables, as process 5 finds them."""

    def setUp(self) -> None:
        """The first two descriptors are somewhere where they are ours."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        first = max(int(name) for name in os.listdir("/dev/fd")) + 1
        for descriptor in (first, first + 1):
            os.dup2(listener.fileno(), descriptor, inheritable=True)
            self.addCleanup(os.close, descriptor)
        self.patch(activation, "FIRST", first)
        self.first = first

    def test_it_is_taken(self) -> None:
        """The variables are gone, and no program that is started inherits the descriptors."""
        environ = {"LISTEN_FDS": "2", "LISTEN_PID": "5", "LISTEN_FDNAMES": "a:b", "PATH": "/bin"}
        taken = Activation.take(environ, 5)
        self.assertEqual(taken.names, ("a", "b"))
        self.assertEqual(environ, {"PATH": "/bin"})
        self.assertFalse(os.get_inheritable(self.first) or os.get_inheritable(self.first + 1))

    def test_names(self) -> None:
        """Where there is no name for each there is none for any."""
        for names in ({}, {"LISTEN_FDNAMES": ""}, {"LISTEN_FDNAMES": "a"}):
            taken = Activation.take({"LISTEN_FDS": "2", "LISTEN_PID": "5", **names}, 5)
            self.assertEqual(taken.names, ("unknown", "unknown"))

    def test_that_is_none_of_ours(self) -> None:
        """What is meant for another process is left as it is."""
        environ = {"LISTEN_FDS": "2", "LISTEN_PID": "6"}
        self.assertEqual(Activation.take(environ, 5), Activation())
        self.assertEqual(environ, {"LISTEN_FDS": "2", "LISTEN_PID": "6"})
        self.assertEqual(Activation.take({}, 5), Activation())

    def test_nonsense(self) -> None:
        """A number that is none, or of descriptors that are not open, is an error."""
        for count, reason in (("two", "'two'"), ("", "''"), ("3", f"descriptor {self.first + 2}")):
            environ = {"LISTEN_FDS": count, "LISTEN_PID": "5"}
            error = self.assertRaises(ActivationError, Activation.take, environ, 5)
            self.assertIn(reason, str(error))


class ListenersTests(SynchronousTestCase):
    """Which address an activated socket serves."""

    def listener(self, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
        """A socket on a free port."""
        listener = socket.create_server((host, 0))
        self.addCleanup(listener.close)
        return listener, listener.getsockname()[1]

    def test_the_one_that_it_is_bound_to(self) -> None:
        """It serves the address that it is bound to, under that name, and the others do not."""
        other, _ = self.listener()
        listener, port = self.listener()
        listeners = Listeners((), [("a", other), ("b", listener)])
        address = Address("127.0.0.1", port)
        self.assertEqual(listeners.open(address, 5, 0o666), [listener])
        self.assertEqual(listeners.in_use(), [(address.name, [listener])])
        self.assertEqual([name for name, _ in listeners.not_served()], ["a"])

    def test_all_interfaces(self) -> None:
        """One that is bound to all interfaces serves a port without a host, and no host."""
        listener, port = self.listener("0.0.0.0")
        self.assertEqual(
            Listeners((), [("a", listener)]).open(Address("", port), 5, 0o666), [listener]
        )
        listeners = Listeners((), [("a", listener)])
        address = Address("127.0.0.1", port)
        error = self.assertRaises(BindError, listeners.open, address, 5, 0o666)
        self.assertIn(f"The service manager passed 0.0.0.0:{port} (a)", str(error))

    def test_unix_sockets(self) -> None:
        """A UNIX socket serves the port of its path, or abstract name; both can be told."""
        path = f"{temporary_directory(self)}/app.sock"
        for where, shown in ((path, path), ("\0" + path, "@" + path)):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(where)
                listener.listen()
                listeners = Listeners((), [("a", listener)])
                self.assertEqual(listeners.not_served(), [("a", f"unix:{shown}")])
                address = parse(f"unix:{shown}")
                self.assertEqual(listeners.open(address, 5, 0o666), [listener])
                listeners.remove_files([listener])
                self.assertEqual(os.path.exists(path), True)
                self.addCleanup(close, listeners.open(LOCAL, 5, 0o666))

    def test_any_free_port(self) -> None:
        """Port 0 is not the port of any."""
        listener, _ = self.listener()
        listeners = Listeners((), [("a", listener)])
        opened = listeners.open(LOCAL, 5, 0o666)
        self.addCleanup(close, opened)
        self.assertNotEqual(opened, [listener])

    def test_what_is_inherited_comes_first(self) -> None:
        """A successor serves what it inherited."""
        old, _ = self.listener()
        listener, port = self.listener()
        address = Address("127.0.0.1", port)
        listeners = Listeners([(address.name, [old])], [("a", listener)])
        self.assertEqual(listeners.open(address, 5, 0o666), [old])


LOCAL = Address("127.0.0.1", 0)
