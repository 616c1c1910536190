"""The bodies that come on a connection, and whether they come fast enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...settings import Settings
from ..progress import Progress
from .frames import MAX_FRAME_SIZE
from .stream import Stream


class Uploads:
    """Holds a client to the rate that it must keep, on all of its streams together.

    It may share that rate among them, and each must get its part: of a client at the lowest
    rate a frame of the largest size comes on each of them in turn.

    Args:
        arrived: tells how many bytes have come on the connection.
        settings: ``read_timeout`` and ``min_rate`` are read.
    """

    def __init__(self, arrived: Callable[[], int], settings: Settings) -> None:
        self._arrived = arrived
        self._timeout = settings.read_timeout
        self._rate = settings.min_rate
        self._progress: Progress | None = None

    def slow(self, streams: Iterable[Stream], now: float) -> list[Stream]:
        """The streams whose bodies do not come fast enough.

        Args:
            streams: all of the connection.
            now: seconds.
        """
        coming = [(each, each.progress) for each in streams if each.progress is not None]
        if not coming:
            self._progress = None
            return []
        arrived = self._arrived()
        if self._progress is None:
            self._progress = Progress(now, arrived)
        if self._progress.is_slow(now, arrived, self._timeout, self._rate):
            return [each for each, _ in coming]
        share, timeout = len(coming), self._timeout
        if timeout and self._rate:
            timeout = max(timeout, MAX_FRAME_SIZE / self._rate)
        return [
            each
            for each, progress in coming
            if progress.is_slow(now, each.received, timeout * share, self._rate / share)
        ]
