"""What a successor is told: the environment variable and the descriptors."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from typing import Any

from twisted_graceful.errors import ActivationError, InheritanceError
from twisted_graceful.process.listeners.listener import Listener
from twisted_graceful.process.listeners.unix_files import SocketFile
from twisted_graceful.process.upgrade import handed_over
from twisted_graceful.process.upgrade.handed_over import HandedOver
from twisted_graceful.process.upgrade.inheritance import VARIABLE, Inheritance
from twisted_graceful.process.upgrade.spawn import descriptors_for_child

from ..case import SynchronousTestCase
from .support import temporary_directory


class InheritanceTests(SynchronousTestCase):
    """An inheritance of real descriptors."""

    def setUp(self) -> None:
        """Open what a predecessor would leave."""
        self.listener = self.opened(socket.create_server(("127.0.0.1", 0)))
        self.control = self.opened(socket.socket())
        self.inheritance = Inheritance(
            generation=3,
            control=self.control.fileno(),
            stdout=self.duplicate(self.control),
            stderr=self.duplicate(self.control),
            listeners=((":80", (self.duplicate(self.listener),)), (":0", ())),
            pid_file="/run/app.pid",
        )

    def opened(self, each: socket.socket) -> socket.socket:
        """A socket that is closed after the test."""
        self.addCleanup(each.close)
        return each

    def duplicate(self, each: socket.socket) -> int:
        """A descriptor that programs inherit, closed after the test if it is open then."""
        duplicate = each.dup()
        duplicate.set_inheritable(True)
        self.opened(duplicate)
        return duplicate.fileno()

    def variable(self, **changes: Any) -> str:
        """The environment variable, with other fields than it should have."""
        return json.dumps({**json.loads(self.inheritance.encode()), **changes})

    def refused(self, text: str) -> str:
        """Why a text in the variable is refused."""
        return str(self.assertRaises(InheritanceError, Inheritance.take, {VARIABLE: text}))

    def test_it_is_read_as_it_was_written(self) -> None:
        """A successor reads what its predecessor wrote, in the same order."""
        taken = Inheritance.take({VARIABLE: self.inheritance.encode()})
        self.assertEqual(taken, self.inheritance)

    def test_nobodys_successor(self) -> None:
        """Without the variable there is no inheritance, and nothing is changed."""
        environ = {"PATH": "/bin"}
        self.assertIsNone(Inheritance.take(environ))
        self.assertEqual(environ, {"PATH": "/bin"})

    def test_the_variable_is_removed(self) -> None:
        """What the application starts does not see the variable, even if it made no sense."""
        for text in (self.inheritance.encode(), "nonsense"):
            with self.subTest(text=text):
                environ = {VARIABLE: text, "PATH": "/bin"}
                try:
                    Inheritance.take(environ)
                except InheritanceError:
                    self.assertEqual(text, "nonsense")
                self.assertEqual(environ, {"PATH": "/bin"})

    def test_the_descriptors_are_not_passed_on(self) -> None:
        """What the application starts inherits none of the descriptors."""
        Inheritance.take({VARIABLE: self.inheritance.encode()})
        descriptors = self.inheritance.descriptors()
        self.assertEqual(len(descriptors), 4)
        self.assertEqual([each for each in descriptors if os.get_inheritable(each)], [])

    def test_unknown_fields_are_ignored(self) -> None:
        """A predecessor of a newer release may say more than this one understands."""
        taken = Inheritance.take({VARIABLE: self.variable(colour="blue")})
        self.assertEqual(taken, self.inheritance)

    def test_a_pid_file_is_optional(self) -> None:
        """Without a word of a pid file there is none."""
        fields = json.loads(self.inheritance.encode())
        del fields["pid_file"]
        taken = Inheritance.take({VARIABLE: json.dumps(fields)})
        assert taken is not None
        self.assertEqual(taken.pid_file, "")

    def handed_over(self, **fields: object) -> HandedOver:
        """What a process that is a successor was handed."""
        return HandedOver({VARIABLE: self.variable(**fields)}, os.getpid())

    def test_a_pid_file_can_be_noted(self) -> None:
        """What runs before the application adds the pid file, and changes nothing else."""
        handed = self.handed_over(pid_file="")
        handed.note_pid_file("/run/app.pid")
        self.assertEqual(handed.claim_inheritance(), self.inheritance)

    def test_it_is_out_of_reach(self) -> None:
        """Nothing that the process starts afterwards finds the variables."""
        manager = {"NOTIFY_SOCKET": "@x", "LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}
        environ = {VARIABLE: self.variable(), "PATH": "/bin", **manager}
        handed = HandedOver(environ, os.getpid())
        self.assertEqual(environ, {"PATH": "/bin"})
        self.assertTrue(handed.is_successor)
        self.assertEqual((handed.worker, handed.supervision.socket), (0, "@x"))

    def test_a_worker(self) -> None:
        """A worker knows its number, and dies with its master from the first moment."""
        calls: list[str] = []
        self.patch(handed_over, "die_with_parent", lambda: calls.append("die with parent"))
        self.assertEqual((self.handed_over(worker=2).worker, calls), (2, ["die with parent"]))

    def test_a_second_claim_is_refused(self) -> None:
        """Two services of one process are told that they cannot share an inheritance."""
        handed = self.handed_over()
        handed.claim_inheritance()
        error = self.assertRaises(InheritanceError, handed.claim_inheritance)
        self.assertIn("give all servers to one", str(error))

    def test_nobody_inherits_in_the_first_generation(self) -> None:
        """A process that is nobody's successor has nothing to claim, as often as it asks."""
        first = HandedOver({}, os.getpid())
        self.assertEqual([first.claim_inheritance() for _ in range(2)], [None, None])
        self.assertEqual(
            (first.claim_activated(), first.is_successor, first.worker), ([], False, 0)
        )

    def test_an_error_is_for_the_service(self) -> None:
        """What makes no sense is an error when a service claims it, and not before."""
        broken = {VARIABLE: "{}", "LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}
        handed = HandedOver(broken, os.getpid())
        self.assertTrue(handed.is_successor)
        self.assertRaises(InheritanceError, handed.claim_inheritance)
        self.assertRaises(ActivationError, handed.claim_activated)

    def test_another_version_is_refused(self) -> None:
        """A version that this one cannot read is named, beside the one that it can."""
        self.assertIn("version 2, and this is version 1", self.refused(self.variable(version=2)))

    def test_what_makes_no_sense_is_refused(self) -> None:
        """Whatever else is in the variable, the error shows it, and says what to do."""
        for text in ("", "nonsense", "null", "[]", "{}", '{"version": 1}', "{"):
            with self.subTest(text=text):
                error = self.refused(text)
                self.assertIn(VARIABLE, error)
                self.assertIn(repr(text), error)
                self.assertIn("remove it from the environment", error)

    def test_fields_of_the_wrong_kind_are_refused(self) -> None:
        """A field that is no number or no list of listeners is refused."""
        for wrong in (
            {"control": "three"},
            {"control": None},
            {"generation": []},
            {"listeners": 5},
            {"listeners": [":80"]},
            {"listeners": [[":80", 5]]},
            {"listeners": [[":80", ["five"]]]},
        ):
            with self.subTest(wrong=wrong):
                self.refused(self.variable(**wrong))

    def test_a_descriptor_that_is_not_open_is_refused(self) -> None:
        """A descriptor that is closed is refused."""
        for number in (-1, 1_000_000):
            with self.subTest(number=number):
                self.refused(self.variable(control=number))

    def test_a_descriptor_that_no_system_has_is_refused(self) -> None:
        """A number that is too large for any descriptor is refused like any other."""
        self.refused(self.variable(control=2**70))

    def test_listeners_become_sockets(self) -> None:
        """Each listener is a socket that listens where it did, by its name, in order."""
        inheritance = Inheritance(
            1, 0, 1, 2, listeners=((":80", (self.listener.dup().detach(),)), (":0", ()))
        )
        first, second = inheritance.take_listeners()
        (sock,) = first.sockets
        self.opened(sock)
        self.assertEqual((first.name, second.name, second.sockets), (":80", ":0", ()))
        self.assertEqual(sock.getsockname(), self.listener.getsockname())
        self.assertFalse(sock.getblocking())
        self.assertEqual((first.is_inherited, first.owns_file), (True, False))

    def test_listeners_pass_through(self) -> None:
        """What a parent says of listeners is what its child makes of it, file and origin too."""
        path = f"{temporary_directory(self)}/app.sock"
        unix = self.opened(socket.socket(socket.AF_UNIX))
        unix.bind(path)
        unix.listen()
        datagrams = self.opened(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        file = SocketFile.at(path)
        given = [
            Listener(":80", [self.listener, datagrams], is_activated=True),
            Listener(f"unix:{path}", [unix], file=file),
        ]
        told, descriptors = descriptors_for_child(1, 0, (1, 2), 0, (1, 2), given, {}, 0)
        here = {number: os.dup(descriptors[number]) for number in told.listening()}
        taken = replace(
            told,
            listeners=tuple(
                (name, tuple(here[it] for it in each)) for name, each in told.listeners
            ),
            files=tuple((here[number], *rest) for number, *rest in told.files),
            activated=tuple(here[it] for it in told.activated),
        ).take_listeners()
        for listener in taken:
            self.addCleanup(listener.close)
        self.assertEqual(
            [(each.name, each.inodes, each.file, each.is_activated) for each in taken],
            [(each.name, each.inodes, each.file, each.is_activated) for each in given],
        )

    def test_what_a_service_manager_has_bound(self) -> None:
        """It is known as such in every generation; older releases do not say it of any."""
        taken = Inheritance.take({VARIABLE: self.variable(activated=[7])})
        assert taken is not None
        self.assertEqual(taken.activated, (7,))
        fields = json.loads(self.inheritance.encode())
        del fields["activated"]
        self.assertEqual(Inheritance.take({VARIABLE: json.dumps(fields)}), self.inheritance)
        one, other = (self.listener.dup().detach() for _ in range(2))
        inheritance = Inheritance(
            1, 0, 1, 2, listeners=((":80", (one,)), (":81", (other,))), activated=(other,)
        )
        listeners = inheritance.take_listeners()
        for listener in listeners:
            self.opened(listener.sockets[0])
        self.assertEqual([each.is_activated for each in listeners], [False, True])

    def not_listening(self, descriptor: int) -> str:
        """Why a descriptor is no listener."""
        wrong = Inheritance(1, 0, 1, 2, listeners=((":80", (descriptor,)),))
        return str(self.assertRaises(InheritanceError, wrong.take_listeners))

    def test_a_socket_that_does_not_listen_is_refused(self) -> None:
        """A socket that does not listen is refused, by its name and number."""
        descriptor = socket.socket().detach()
        self.assertIn(
            f"listener :80 (descriptor {descriptor}) does not listen",
            self.not_listening(descriptor),
        )

    def test_a_file_is_no_listener(self) -> None:
        """A descriptor that is no socket is refused, by its name and number."""
        with open(os.devnull) as file:
            text = self.not_listening(file.fileno())
            self.assertIn(f"listener :80 (descriptor {file.fileno()}) is no socket", text)
