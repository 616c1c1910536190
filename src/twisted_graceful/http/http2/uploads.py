"""Detects request bodies of an HTTP/2 connection that arrive too slowly."""

from __future__ import annotations

from collections.abc import Iterable

from ...config.server_settings import ServerSettings
from ..data_rate import RateWatch
from .frames import MAX_FRAME_SIZE
from .stream import Stream


class Uploads:
    """Checks that the bodies on a connection arrive at the minimal rate.

    A client may share its bandwidth among its streams as it likes, within limits, as long as all
    bodies together arrive at that rate times their number: a slow client sends a large frame of
    each of them in turn.

    Args:
        settings: ``read_timeout`` and ``min_rate`` are read.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._timeout = settings.read_timeout
        self._rate = settings.min_rate
        self._progress: RateWatch | None = None

    def slow(
        self, streams: Iterable[Stream], received: int, arriving: int, now: float
    ) -> list[Stream]:
        """The streams whose bodies do not come fast enough.

        Args:
            streams: all of the connection.
            received: bytes of bodies that have come on it.
            arriving: bytes that have come of what is not complete, and may belong to any of them.
            now: seconds.
        """
        coming = [(each, each.progress) for each in streams if each.progress is not None]
        if not coming:
            self._progress = None
            return []
        if self._progress is None:
            self._progress = RateWatch(now, received - sum(each.received for each, _ in coming))
        share, timeout, rate = len(coming), self._timeout, self._rate
        if not self._progress.is_slow(now, received + arriving, timeout, rate * share):
            arriving = 0
            if timeout and rate:
                timeout = max(timeout, MAX_FRAME_SIZE / rate)
            timeout *= share
            rate /= share
        return [
            each
            for each, progress in coming
            if progress.is_slow(now, each.received + arriving, timeout, rate)
        ]
