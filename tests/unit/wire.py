"""A control channel in memory, which the test carries message by message."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from twisted_graceful.process.upgrade.control_channel import ControlChannel


class Wire:
    """One direction of a channel, and what it carries: bytes and descriptors."""

    def __init__(self, channel: ControlChannel) -> None:
        self.to = channel
        self.queue: deque[Callable[[], None]] = deque()
        self.frozen = False
        self.lose = 0  # descriptors that the receiver has no room for

    def write(self, data: bytes) -> None:
        """Bytes leave."""
        self.queue.append(lambda: self.to.dataReceived(data))

    def writeSequence(self, data: list[bytes]) -> None:
        """Bytes leave."""
        self.write(b"".join(data))

    def sendFileDescriptor(self, descriptor: int) -> None:
        """A descriptor leaves; it is sent when its turn has come, as by Twisted."""

        def deliver() -> None:
            duplicate = os.dup(descriptor)
            if self.lose:
                self.lose -= 1
                os.close(duplicate)
            else:
                self.to.fileDescriptorReceived(duplicate)

        self.queue.append(deliver)

    def loseConnection(self) -> None:
        """AMP does so when it gives up."""
        raise AssertionError("the channel was closed")
