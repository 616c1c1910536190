"""Counts and times the requests of a site, for the admin endpoints."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from .access_log import Loggable, RequestLog
from .drain_report import Outcome

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: the upper bounds of the histogram's buckets. Those of Prometheus' clients, and some more
at both ends, for responses from memory and for long polls."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What is counted by name; any other method is ``other``, for clients can invent as many as they
like."""

OTHER = "other"

_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Of statuses, by their first digit; 0 is none of them."""

_ANSWERED = Outcome.ANSWERED


class RequestMetrics:
    """Counts each request of a site, once, when it is over.

    It has the interface of an access log, and takes its place, so a site without metrics pays
    nothing.

    Args:
        clock: what the durations are measured with.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._seconds = clock.seconds
        self._other = [0] * len(_CLASSES)
        self._counts = {each.encode(): [0] * len(_CLASSES) for each in METHODS}
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._took = 0.0
        self._sent = 0
        self._ended_otherwise: dict[tuple[str, int], int] = {}

    def write(
        self,
        request: Loggable,
        begun: float,
        outcome: Outcome = _ANSWERED,
        *,
        status: int | None = None,
        sent: int | None = None,
    ) -> None:
        """Count a request; the arguments are those of `AccessLog.write`."""
        code = request.code if status is None else status
        counts = self._counts.get(request.head.method, self._other)
        counts[code // 100 if 100 <= code < 600 else 0] += 1
        took = self._seconds() - begun
        self._buckets[bisect_left(BOUNDS, took)] += 1
        self._took += took
        self._sent += request.sentLength if sent is None else sent
        if outcome is not _ANSWERED:
            # Applications choose statuses, but not of these.
            key = outcome.value, code
            self._ended_otherwise[key] = self._ended_otherwise.get(key, 0) + 1

    @property
    def counters(self) -> Mapping[str, float]:
        """All that was counted, by names with their labels behind commas.

        ``requests`` with method and class of the status; ``unanswered``, those of them that the
        application did not answer, with outcome and status; ``bucket`` with its upper bound in
        seconds, of requests that are in no smaller one; ``seconds``, how long all requests took
        together, from the first byte to the end; ``sent``, bytes of the bodies of responses.
        """
        counters = {"seconds": self._took, "sent": float(self._sent)}
        for method, counts in (*self._counts.items(), (OTHER.encode(), self._other)):
            for status, count in zip(_CLASSES, counts, strict=True):
                if count:
                    counters[f"requests,{method.decode()},{status}"] = count
        for (outcome, code), count in self._ended_otherwise.items():
            counters[f"unanswered,{outcome},{code or 'none'}"] = count
        for bound, count in zip((*BOUNDS, float("inf")), self._buckets, strict=True):
            counters[f"bucket,{bound}"] = count
        return counters


class TeeRequestLog:
    """Passes each request to two logs.

    Args:
        logs: what is told of each request, in this order.
    """

    def __init__(self, *logs: RequestLog) -> None:
        self._logs = logs

    def write(self, *args: Any, **options: Any) -> None:
        """Tell both."""
        for each in self._logs:
            each.write(*args, **options)
