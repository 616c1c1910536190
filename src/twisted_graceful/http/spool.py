"""Keeps the body of a request that is, or may become, too large for memory."""

from __future__ import annotations

import io
import sys
from tempfile import SpooledTemporaryFile


class Spool(SpooledTemporaryFile[bytes]):
    """A file in memory that becomes a temporary one when it is large.

    Before Python 3.11 that of the standard library lacks methods that `io.TextIOWrapper`, `zipfile`
    and others need. Bodies of any size must work with them, as with Twisted.
    """

    if sys.version_info < (3, 11):

        def readable(self) -> bool:
            """It can be read."""
            return True

        def writable(self) -> bool:
            """It can be written."""
            return True

        def seekable(self) -> bool:
            """It can be read again."""
            return True

        def read1(self, size: int = -1) -> bytes:
            """Read at most so many bytes."""
            return self.read(size)

        def readinto(self, buffer: bytearray | memoryview) -> int:
            """Read into a buffer."""
            return int(self._file.readinto(buffer))

        def readinto1(self, buffer: bytearray | memoryview) -> int:
            """Read into a buffer."""
            return self.readinto(buffer)

        def detach(self) -> None:
            """It has no raw file that could be used alone."""
            raise io.UnsupportedOperation("detach")


if sys.version_info < (3, 11):
    io.BufferedIOBase.register(Spool)
