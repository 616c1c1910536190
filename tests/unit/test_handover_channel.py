"""The journey of a connection over a control channel, whatever becomes of the two ends."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_graceful.handover_interface import HandedConnection
from twisted_graceful.process.upgrade import handover_protocol
from twisted_graceful.process.upgrade.control_channel import ControlChannel
from twisted_graceful.process.upgrade.handover_protocol import (
    BATCH,
    TIMEOUT,
    VERSION,
    WINDOW,
    ConnectionReceiver,
    ConnectionSender,
)
from twisted_graceful.process.upgrade.messages import Ready

from ..case import SynchronousTestCase
from .support import leaves_nothing_open
from .wire import Wire


class Leaving:
    """A connection that leaves."""

    def __init__(self, unread: bytes = b"", listener: str = "a:80") -> None:
        self.ours, self.clients = socket.socketpair()
        self.handed = HandedConnection(self.ours.fileno(), listener, '{"phase": "idle"}', unread)
        self.fate = ""

    def release(self) -> None:
        """It is another's."""
        self.fate += "gone"
        self.ours.close()

    def take_back(self) -> None:
        """It is ours."""
        self.fate += "back"

    def close(self) -> None:
        """Close what is left."""
        self.ours.close()
        self.clients.close()


class Ends:
    """A sender and a receiver, and the channel between them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.taken: list[HandedConnection] = []
        self.wanted = True
        self.receiver = ConnectionReceiver(self)
        self.sending = ControlChannel({}, self.channel_lost)
        handlers = {Ready: lambda listeners: None, **self.receiver.handlers}
        self.receiving = ControlChannel(handlers, self.channel_lost)
        self.there, self.back = Wire(self.receiving), Wire(self.sending)
        self.sending.makeConnection(self.there)
        self.receiving.makeConnection(self.back)
        self.sender = ConnectionSender(self.clock, self.sending)

    # The owner of both ends, and the recipient

    def channel_lost(self, reason: Failure) -> None:
        """As in a successor."""
        self.receiver.lost()

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether the listener is ours."""
        if handed.listener == "raises":
            raise RuntimeError("on purpose")
        return self.wanted and handed.listener == "a:80"

    def take_up(self, handed: HandedConnection) -> None:
        """Serve it: answer with what came with it."""
        self.taken.append(handed)
        with socket.socket(fileno=handed.descriptor) as connection:
            connection.sendall(b"served " + handed.unread)

    # The test

    def run(self, most: int = 10**6) -> None:
        """Let messages arrive, until none is left."""
        for _ in range(most):
            for wire in (self.there, self.back):
                if wire.queue and not wire.frozen:
                    wire.queue.popleft()()
                    break
            else:
                return

    def end(self) -> None:
        """One of the two processes ends: what was sent arrives, and what it says is lost."""
        for channel in (self.sending, self.receiving):
            channel.connectionLost(Failure(ConnectionDone()))


class JourneyTests(SynchronousTestCase):
    """Connections on their way."""

    def setUp(self) -> None:
        """Open a channel; whatever happens, no descriptor may be left open."""
        nothing = leaves_nothing_open(self)
        nothing.__enter__()
        self.ends = Ends()
        self.leaving: list[Leaving] = []

        def end() -> None:
            self.ends.run()
            self.ends.end()
            for each in self.leaving:
                each.close()
            nothing.__exit__(None, None, None)

        self.addCleanup(end)

    def send(self, count: int = 1, **arguments: Any) -> list[Leaving]:
        """Let connections leave."""
        leaving = [Leaving(**arguments) for _ in range(count)]
        self.leaving += leaving
        self.ends.sender.send(list(leaving))
        return leaving

    def fates(self) -> list[str]:
        """What became of each."""
        return [each.fate for each in self.leaving]

    def test_taken(self) -> None:
        """The receiver serves the very connection, with what was read of it."""
        [one] = self.send(unread=b"GET")
        self.ends.run()
        self.assertEqual(one.fate, "gone")
        self.assertEqual(one.clients.recv(99), b"served GET")
        self.assertEqual(one.clients.recv(99), b"")

    def test_not_touched_before_the_grant(self) -> None:
        """As long as the sender can take it back, the receiver does nothing with it."""
        self.send()
        self.ends.back.frozen = True
        self.ends.run()
        self.assertEqual((self.ends.taken, self.fates()), ([], [""]))

    def test_refused(self) -> None:
        """What the receiver has no listener for stays, and the others of the batch go."""
        self.send(listener="a:80")
        more = [Leaving(), Leaving(listener="b:80"), Leaving(listener="raises"), Leaving()]
        self.leaving += more
        self.ends.sender.send(list(more))
        self.ends.run()
        self.assertEqual(self.fates(), ["gone", "gone", "back", "back", "gone"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_no_descriptor_left_in_the_receiver(self) -> None:
        """A descriptor that the kernel has dropped does not mix up the others."""
        self.ends.there.lose = 1
        leaving = [Leaving(unread=b"%d" % each) for each in range(3)]
        self.leaving += leaving
        self.ends.sender.send(list(leaving))
        self.ends.run()
        self.assertEqual(self.fates(), ["back", "gone", "gone"])
        self.assertEqual(
            [each.clients.recv(99) for each in leaving[1:]], [b"served 1", b"served 2"]
        )

    def test_no_descriptor_left_in_the_sender(self) -> None:
        """Without a descriptor for the journey a connection stays; the next one goes."""
        calls = [0]

        def dup(descriptor: int, dup: Callable[[int], int] = os.dup) -> int:
            calls[0] += 1
            if calls[0] == 2:
                raise OSError(errno.EMFILE, "too many open files")
            return dup(descriptor)

        with self.subTest("the second"):
            patch = self.patch(handover_protocol.os, "dup", dup)
            self.send(3)
            patch.restore()
        self.ends.run()
        self.assertEqual(self.fates(), ["gone", "back", "back"])
        [after] = self.send()
        self.ends.run()
        self.assertEqual(after.fate, "gone")

    def test_silent(self) -> None:
        """From a receiver that stands still a connection is taken back in time, and never served
        twice: awake again, it closes what it was offered."""
        self.ends.there.frozen = True
        [one] = self.send()
        self.ends.run()
        self.ends.clock.advance(TIMEOUT)
        self.assertEqual(one.fate, "back")
        one.close()  # its number may be another's now
        other = socket.socket()
        self.addCleanup(other.close)
        self.ends.there.frozen = False
        self.ends.run()
        self.assertEqual((self.ends.taken, one.fate), ([], "back"))

    def test_silent_after_the_answer(self) -> None:
        """An answer that comes too late changes nothing."""
        self.ends.back.frozen = True
        [one] = self.send()
        self.ends.run()
        self.ends.clock.advance(TIMEOUT)
        self.ends.back.frozen = False
        self.ends.run()
        self.assertEqual((self.ends.taken, one.fate), ([], "back"))

    def test_nothing_more_for_the_silent(self) -> None:
        """Nothing more is sent to a receiver that has stood still."""
        self.ends.there.frozen = True
        self.send()
        self.ends.clock.advance(TIMEOUT)
        self.assertFalse(self.ends.sender.is_open)
        self.assertEqual(self.ends.sender.room, 0)
        [late] = self.send()
        self.assertEqual(late.fate, "back")

    def test_the_end_at_any_moment(self) -> None:
        """If a process dies after any number of messages, each connection is served by one of
        them or by nobody, and never by both."""
        for messages in range(12):
            with self.subTest(messages=messages):
                ends = self.ends = Ends()
                leaving = self.send(2)
                ends.run(messages)
                ends.end()
                served = {each.unread for each in ends.taken}
                for each in leaving:
                    self.assertIn(each.fate, ("back", "gone"))
                    each.ours.close()
                if served:
                    self.assertEqual([each.fate for each in leaving], ["gone", "gone"])
        self.ends = Ends()

    def test_after_the_end(self) -> None:
        """To a receiver that has ended nothing is sent."""
        self.ends.end()
        [one] = self.send()
        self.assertEqual(one.fate, "back")
        self.ends = Ends()

    def test_the_receiver_stops(self) -> None:
        """A receiver that stops takes what it has said it would, and nothing more."""
        self.send()
        self.ends.back.frozen = True
        self.ends.run()
        self.ends.receiver.stop()
        self.send()
        self.ends.back.frozen = False
        self.ends.run()
        self.assertEqual(self.fates(), ["gone", "back"])

    def test_another_version(self) -> None:
        """A receiver of another version refuses, and the channel lives on."""
        self.patch(handover_protocol, "VERSION", VERSION + 1)
        self.ends.there.frozen = True
        [one] = self.send()
        self.patch(handover_protocol, "VERSION", VERSION)
        self.ends.there.frozen = False
        self.ends.run()
        self.assertEqual(one.fate, "back")
        self.assertTrue(self.ends.sender.is_open)

    def test_a_receiver_that_knows_no_offers(self) -> None:
        """To a predecessor of this version nothing can be handed over, and the channel lives on."""
        locate = self.ends.receiving.locateResponder
        known = {Ready.commandName}
        self.ends.receiving.locateResponder = (  # type: ignore[method-assign]
            lambda name: locate(name) if name in known else None
        )
        [one] = self.send()
        self.ends.run()
        self.assertEqual(one.fate, "back")
        self.assertFalse(self.ends.sender.is_open)
        answers: list[object] = []
        self.ends.sending.callRemote(Ready).addCallback(answers.append)
        self.ends.run()
        self.assertEqual(answers, [{}])

    def test_bounded(self) -> None:
        """Few are on their way at a time; when they have arrived there is room for more."""
        sender = self.ends.sender
        self.send(WINDOW - BATCH)
        self.assertEqual(sender.room, BATCH)
        self.send(BATCH)
        self.assertEqual(sender.room, 0)
        room: list[int] = []
        for _ in range(2):  # servers that send connections
            sender.call_when_room(lambda: room.append(sender.room))
        self.ends.run()
        self.assertEqual(room[::2], [BATCH, 2 * BATCH, 3 * BATCH, WINDOW])
        self.assertEqual(room[1::2], room[::2])

    def test_large(self) -> None:
        """What fits no message stays, and what fits goes, in several."""
        self.send(unread=b"x" * 60_000)
        self.send(5, unread=b"x" * 20_000)
        self.ends.run()
        self.assertEqual(self.fates(), ["back", *["gone"] * 5])

    def test_no_text(self) -> None:
        """What no message can say, a path that is no text, keeps nothing and nobody waiting."""
        [one] = self.send(listener="unix:/\udcff")
        self.assertEqual(one.fate, "back")

    def test_lost_by_the_recipient(self) -> None:
        """A recipient that fails loses one connection, and not the others."""
        self.send(3)
        served: list[HandedConnection] = []

        def take_up(handed: HandedConnection) -> None:
            served.append(handed)
            os.close(handed.descriptor)
            if len(served) == 1:
                raise RuntimeError("on purpose")

        self.ends.take_up = take_up  # type: ignore[method-assign]
        self.ends.run()
        self.assertEqual(len(served), 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_descriptors_are_not_inherited(self) -> None:
        """What the application starts gets nothing of it."""
        inheritable: list[bool] = []

        def take_up(handed: HandedConnection) -> None:
            inheritable.append(os.get_inheritable(handed.descriptor))
            os.close(handed.descriptor)

        self.ends.take_up = take_up  # type: ignore[method-assign]
        self.send()
        self.ends.run()
        self.assertEqual(inheritable, [False])
