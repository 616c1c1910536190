"""To accept where the system may refuse."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from twisted_graceful.process.listeners.listener import Listener
from twisted_graceful.process.upgrade import accept_retry
from twisted_graceful.process.upgrade.accept_retry import (
    AGAIN,
    SPARE_DESCRIPTORS,
    Acceptor,
    require_descriptors,
)

from ..case import SynchronousTestCase
from .support import leaves_nothing_open

FULL = OSError(errno.EMFILE, "Too many open files")


class AcceptorTests(SynchronousTestCase):
    """A process that is to accept, and a system that refuses that once or more often."""

    def setUp(self) -> None:
        """It does not refuse."""
        self.clock = Clock()
        self.refusals: list[OSError] = []
        self.tried: list[float] = []
        self.is_wanted = True
        self.acceptor = Acceptor(self.clock, self.accept, lambda: self.is_wanted)

    def accept(self) -> None:
        """What is served accepts, if the system lets it."""
        self.tried.append(self.clock.seconds())
        if self.refusals:
            raise self.refusals.pop()

    def test_it_accepts(self) -> None:
        """Once, and then nothing waits for a time."""
        self.acceptor.accept()
        self.assertEqual((self.tried, self.clock.getDelayedCalls()), ([0], []))

    def test_it_tries_again(self) -> None:
        """Until it may, and the log says why it had to."""
        self.refusals = [FULL, FULL]
        with capturedLogs() as events:
            self.acceptor.accept()
            self.clock.pump([AGAIN] * 4)
        self.assertEqual(self.tried, [0, AGAIN, 2 * AGAIN])
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["Cannot accept: [Errno 24] Too many open files; trying again"] * 2,
        )

    def test_not_wanted_any_more(self) -> None:
        """It does not try again when it drains meanwhile."""
        self.refusals = [FULL]
        self.acceptor.accept()
        self.is_wanted = False
        self.clock.pump([AGAIN] * 2)
        self.assertEqual(self.tried, [0])


class RequireDescriptorsTests(SynchronousTestCase):
    """A process that has room for so many descriptors."""

    def requires(self, room: int) -> None:
        """Look, with two listeners."""
        opened = iter(range(room))

        def open_one(*arguments: object, open_file: object = os.open) -> int:
            if next(opened, None) is None:
                raise FULL
            return open_file(*arguments)  # type: ignore[operator]

        with socket.socket() as one, socket.socket() as other, leaves_nothing_open(self):
            patch = self.patch(accept_retry.os, "open", open_one)
            try:
                require_descriptors([Listener(":80", [one]), Listener(":81", [other])])
            finally:
                patch.restore()

    def test_enough(self) -> None:
        """One for each listener, and some to spare, are enough, and are closed again."""
        self.requires(SPARE_DESCRIPTORS + 2)

    def test_too_few(self) -> None:
        """One less is too few, and none of them stays open."""
        self.assertRaises(OSError, self.requires, SPARE_DESCRIPTORS + 1)
