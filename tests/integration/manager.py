"""A service manager, as its services see it: a socket that they tell things; sd_notify(3)."""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import tempfile
import uuid
from types import TracebackType
from typing import NamedTuple

CREDENTIALS = struct.Struct("3i")


class Said(NamedTuple):
    """One datagram."""

    pid: int
    text: str


class Manager:
    """A notification socket.

    Args:
        abstract: whether it has a name in the abstract namespace instead of a path.

    Attributes:
        variables: what a service finds in its environment.
    """

    def __init__(self, *, abstract: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="manager-")
        where = f"@{uuid.uuid4().hex}" if abstract else f"{self._directory.name}/notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + where[1:] if abstract else where)
        self._barriers: list[int] = []
        self.variables = {"NOTIFY_SOCKET": where}

    def __enter__(self) -> Manager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lift()
        self._socket.close()
        self._directory.cleanup()

    def hears_nothing(self) -> bool:
        """Whether nothing has been said that was not read."""
        return not select.select([self._socket], [], [], 0)[0]

    def hear(self, seconds: float = 15) -> Said:
        """The next datagram; its time, which nobody can know, is 0.

        The descriptor of a barrier is kept until `lift`.

        Raises:
            TimeoutError: nothing was said in time.
        """
        self._socket.settimeout(seconds)
        room = socket.CMSG_SPACE(CREDENTIALS.size) + socket.CMSG_SPACE(8)
        data, ancillary, _, _ = self._socket.recvmsg(65536, room)
        pid = 0
        for _, kind, value in ancillary:
            if kind == socket.SCM_CREDENTIALS:
                pid = CREDENTIALS.unpack(value)[0]
            elif kind == socket.SCM_RIGHTS:
                self._barriers += struct.unpack(f"{len(value) // 4}i", value)
        return Said(pid, re.sub("MONOTONIC_USEC=[0-9]+", "MONOTONIC_USEC=0", data.decode()))

    def lift(self) -> int:
        """Let everybody know that all has been heard; how many waited for it."""
        count = len(self._barriers)
        while self._barriers:
            os.close(self._barriers.pop())
        return count
