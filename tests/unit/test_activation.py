"""What a service manager passes: the environment variables and the descriptors."""

from __future__ import annotations

import os
import socket

from twisted_graceful.errors import ActivationError
from twisted_graceful.process.listeners import activation
from twisted_graceful.process.listeners.activation import Activation

from ..case import SynchronousTestCase


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
            with self.subTest(names=names):
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
            with self.subTest(count=count, reason=reason):
                environ = {"LISTEN_FDS": count, "LISTEN_PID": "5"}
                error = self.assertRaises(ActivationError, Activation.take, environ, 5)
                self.assertIn(reason, str(error))
