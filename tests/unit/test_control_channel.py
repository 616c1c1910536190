"""The control channel between processes of different versions."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure

from twisted_graceful.process.upgrade.control_channel import HEARD_TIMEOUT, ControlChannel
from twisted_graceful.process.upgrade.messages import (
    Failed,
    Goodbye,
    NotNow,
    Ready,
    Stopping,
    Upgrade,
)

from ..case import SynchronousTestCase


class Novel(amp.Command):
    """A command of a version to come."""

    arguments = [(b"content", amp.String())]


class NovelTold(Novel):
    """The same, without an answer."""

    requiresAnswer = False


class Owner:
    """The owner of one end: notes the commands that arrive, and may fail at them."""

    def __init__(self) -> None:
        commands = (Failed, Goodbye, Ready, Stopping, Upgrade)
        handlers = {each: partial(self.received, each) for each in commands}
        self.channel = ControlChannel(handlers, self.channel_lost)
        self.commands: list[tuple[type[amp.Command], dict[str, Any]]] = []
        self.fault: Exception | None = None
        self.lost = False

    def received(self, command: type[amp.Command], **arguments: Any) -> None:
        """A command."""
        self.commands.append((command, arguments))
        if self.fault is not None:
            raise self.fault

    def channel_lost(self, reason: Failure) -> None:
        """The end."""
        self.lost = True


class ChannelTests(SynchronousTestCase):
    """Two ends of a channel, with the bytes carried by hand."""

    def setUp(self) -> None:
        """Connect them."""
        self.owners = Owner(), Owner()
        self.ends = self.owners[0].channel, self.owners[1].channel
        self.wires = StringTransport(), StringTransport()
        for end, wire in zip(self.ends, self.wires, strict=True):
            end.makeConnection(wire)

    def carry(self) -> None:
        """Carry all bytes, both ways."""
        for sender, receiver in ((0, 1), (1, 0), (0, 1)):
            data = self.wires[sender].value()
            self.wires[sender].clear()
            self.ends[receiver].dataReceived(data)

    def ask(self, command: type[amp.Command], **arguments: Any) -> Any:
        """Let the first end send a command, and carry it; its answer, or what was refused."""
        outcome: list[Any] = []
        # AMP drops the channel when an error comes that nobody waits for.
        self.ends[0].callRemote(command, **arguments).addBoth(outcome.append)
        self.carry()
        [answer] = outcome
        return answer.value if isinstance(answer, Failure) else answer

    def write(self, **fields: bytes) -> bytes:
        """Let the first end send a command that is made by hand; the bytes of the answer."""
        named = {name.encode(): value for name, value in fields.items()}
        self.ends[0].sendBox(amp.AmpBox({b"_ask": b"a1", **named}))
        self.ends[1].dataReceived(self.wires[0].value())
        answer = self.wires[1].value()
        for wire in self.wires:
            wire.clear()
        return answer

    def check_whole(self) -> None:
        """The channel still carries a command, and its answer."""
        self.owners[1].fault = None
        self.assertEqual(self.ask(Upgrade), {})
        self.assertEqual(self.owners[1].commands[-1], (Upgrade, {}))
        self.assertEqual([wire.disconnecting for wire in self.wires], [False, False])

    def test_a_command_and_its_answer(self) -> None:
        """What one end sends the other one receives, and the first learns that it has."""
        self.assertEqual(self.ask(Failed, reason="it fell"), {})
        self.assertEqual(self.owners[1].commands, [(Failed, {"reason": "it fell"})])

    def test_the_end_between_two_messages(self) -> None:
        """If a message ends this process, those that came with it are ignored."""
        first, second = (self.ends[0].callRemote(Goodbye) for _ in range(2))

        def end(answer: object) -> None:
            self.ends[0].connectionLost(Failure(ConnectionDone()))

        first.addCallback(end)
        second.addErrback(lambda failure: failure.trap(ConnectionDone))
        self.carry()
        self.successResultOf(second)
        self.assertTrue(self.owners[0].lost)

    def test_an_unknown_command(self) -> None:
        """A command of another version is answered as unknown; the channel stays whole."""
        self.assertIsInstance(self.ask(Novel, content=b"x" * 60000), amp.UnhandledCommand)
        self.check_whole()

    def test_an_unknown_command_that_is_told(self) -> None:
        """One whose answer nobody waits for changes nothing; the channel stays whole."""
        self.ends[0].tell(Novel, content=b"")
        self.carry()
        self.ends[0].callRemote(NovelTold, content=b"")
        self.carry()
        self.assertEqual(self.owners[1].commands, [])
        self.check_whole()

    def test_an_unknown_argument(self) -> None:
        """An argument of another version is ignored."""
        self.assertIn(b"_answer", self.write(_command=b"Stopping", since=b"now"))
        self.assertEqual(self.owners[1].commands, [(Stopping, {})])
        self.check_whole()

    def test_a_missing_argument(self) -> None:
        """A reason that another version does not give is None."""
        self.assertIn(b"_answer", self.write(_command=b"Failed"))
        self.assertEqual(self.owners[1].commands, [(Failed, {"reason": None})])
        self.check_whole()

    def test_an_argument_that_makes_no_sense(self) -> None:
        """Bytes that are no text are an error of this command, and of nothing else."""
        self.assertIn(b"_error", self.write(_command=b"Failed", reason=b"\xff"))
        self.assertEqual(self.owners[1].commands, [])
        self.assertEqual(len(self.flushLoggedErrors(UnicodeDecodeError)), 1)
        self.check_whole()

    def test_the_listeners_of_a_successor(self) -> None:
        """It names those that it serves, be it none; a version that names none says nothing."""
        for served in ([], [5, 2**40]):
            with self.subTest(served=served):
                self.assertEqual(self.ask(Ready, listeners=served), {})
                self.assertEqual(self.owners[1].commands[-1], (Ready, {"listeners": served}))
        self.assertIn(b"_answer", self.write(_command=b"Ready"))
        self.assertEqual(self.owners[1].commands[-1], (Ready, {"listeners": None}))

    def test_a_refusal(self) -> None:
        """A refusal reaches the sender as what it is."""
        self.owners[1].fault = NotNow("too late")
        self.assertIsInstance(self.ask(Ready), NotNow)
        self.check_whole()

    def test_a_fault(self) -> None:
        """A fault in what a command leads to is logged and answered; the channel stays whole."""
        self.owners[1].fault = ZeroDivisionError("a fault")
        self.assertIsInstance(self.ask(Goodbye), amp.RemoteAmpError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.check_whole()

    def test_whoever_asks_goes_on(self) -> None:
        """Be it answered, refused or unknown there, or the channel open no more, or not yet."""
        self.owners[1].fault = NotNow("too late")
        for command in (Goodbye, Ready, Novel):
            with self.subTest(command=command):
                asked = self.ends[0].ask(command, **({"content": b""} if command is Novel else {}))
                self.assertNoResult(asked)
                self.carry()
                self.successResultOf(asked)
        self.flushLoggedErrors(NotNow)  # no answer to a Goodbye
        asked = self.ends[0].ask(Goodbye)
        self.ends[0].connectionLost(Failure(ConnectionDone()))
        for each in (asked, self.ends[0].ask(Goodbye), Owner().channel.ask(Goodbye)):
            with self.subTest(each=each):
                self.successResultOf(each)

    def test_whoever_informs_goes_on_soon(self) -> None:
        """It waits for the answer of an end that stands still, but not for long."""
        clock = Clock()
        told = self.ends[0].ask_briefly(clock, Failed, reason="it fell")
        clock.advance(HEARD_TIMEOUT - 0.1)
        self.assertNoResult(told)
        clock.advance(0.1)
        self.successResultOf(told)
        self.carry()
        self.check_whole()

    def test_the_end(self) -> None:
        """After the end of the channel nothing is an error that is only told."""
        self.ends[0].connectionLost(Failure(ConnectionResetError()))
        self.assertTrue(self.owners[0].lost)
        self.ends[0].tell(Upgrade)
        self.failureResultOf(self.ends[0].callRemote(Goodbye), ConnectionResetError)
