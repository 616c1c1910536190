"""The numbers of all processes in the exposition format of Prometheus.

The client library only formats the text. Its own counters are not used, since the numbers come from
several processes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..http.log.request_metrics import BOUNDS
from ..process.host.process_status import Status

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

MISSING = (
    "metrics need the library prometheus-client: pip install 'twisted-graceful[metrics]'; "
    "/status has the same numbers without it"
)


class Family(NamedTuple):
    """A metric family: its name, its help and its labels.

    Attributes:
        name: in the exposition, without the suffix ``_total``.
        help: a sentence.
        labels: of its numbers, in the order of their keys.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


COUNTERS: Mapping[str, Family] = {
    "requests": Family(
        "graceful_http_requests", "Requests that are over.", ("method", "status_class")
    ),
    "unanswered": Family(
        "graceful_http_requests_unanswered",
        "Those of them that the application did not answer: limits, time-outs, cuts, clients gone.",
        ("outcome", "status"),
    ),
    "limits": Family(
        "graceful_limits_hit",
        "How often a limit was hit, by the name of its setting.",
        ("limit",),
    ),
    "received": Family(
        "graceful_http_request_body_bytes", "Bytes of the bodies of requests that were read."
    ),
    "sent": Family("graceful_http_response_body_bytes", "Bytes of the bodies of answers."),
    "handed_over": Family(
        "graceful_connections_handed_over", "Connections that moved, open, to another process."
    ),
    "told_to_close": Family(
        "graceful_connections_told_to_close",
        "Connections whose client was told, in a drain, that an answer is the last.",
    ),
    "report_failures": Family(
        "graceful_report_failures", "How often a connection could not be reported on."
    ),
    "upgrades": Family("graceful_upgrades", "Upgrades by what came of them.", ("result",)),
    "rolls": Family("graceful_rolling_restarts", "Rolling restarts by result.", ("result",)),
    "worker_restarts": Family(
        "graceful_worker_restarts", "Workers that died, and were started again."
    ),
    "log_lines_lost": Family(
        "graceful_log_lines_lost", "Log lines that were dropped because they could not be written."
    ),
}

GAUGES: Mapping[str, Family] = {
    "in_flight": Family(
        "graceful_http_requests_in_flight", "Requests that are being read or answered."
    ),
    "connections": Family("graceful_connections", "Open connections by what they do.", ("phase",)),
}

DURATION = Family(
    "graceful_http_request_duration_seconds",
    "How long requests took, from the first byte to the end of the answer.",
)
DRAINS = Family("graceful_drain_duration_seconds", "How long drains took.")


SERVING: Mapping[str, Family] = {
    "generation": Family("graceful_generation", "The generation that serves."),
    "ready": Family("graceful_ready", "Whether new clients are welcome."),
    "workers_wanted": Family("graceful_workers_wanted", "Workers that there shall be."),
    "workers_ready": Family("graceful_workers_ready", "Workers that serve."),
    "certificate_expiry": Family(
        "graceful_certificate_expiry_timestamp_seconds",
        "When the certificate of a listener expires, in seconds since the epoch.",
        ("listener",),
    ),
    "certificate_days_left": Family(
        "graceful_certificate_days_left",
        "Days until the certificate of a listener expires; negative if it has.",
        ("listener",),
    ),
}
"""Of the process that serves alone, and no sums."""


def exposition(status: Status, serving: Mapping[str, float]) -> tuple[bytes, str]:
    """The text, and its media type.

    Args:
        status: the sums over all processes.
        serving: what is so of the process that serves, as in `SERVING`.

    Raises:
        ImportError: there is no prometheus-client.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(status, serving))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Families:
    """The collector that the client library asks for its metrics."""

    def __init__(self, status: Status, serving: Mapping[str, float]) -> None:
        self._status = status
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
            SummaryMetricFamily,
        )

        counters = self._status.counters
        yield from _families(CounterMetricFamily, COUNTERS, counters)
        yield from _families(GaugeMetricFamily, GAUGES, self._status.gauges)
        yield from _families(GaugeMetricFamily, SERVING, self._serving)
        duration = HistogramMetricFamily(DURATION.name, DURATION.help)
        duration.add_metric([], _buckets(counters), counters.get("seconds", 0.0))
        yield duration
        drains = SummaryMetricFamily(DRAINS.name, DRAINS.help)
        drains.add_metric([], int(counters.get("drains", 0)), counters.get("drain_seconds", 0.0))
        yield drains


def _families(
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    families: Mapping[str, Family],
    numbers: Mapping[str, float],
) -> Iterator[Metric]:
    by_name: defaultdict[str, list[tuple[list[str], float]]] = defaultdict(list)
    for text, number in numbers.items():
        name, *labels = text.split(",")
        by_name[name].append((labels, number))
    for name, family in families.items():
        made = kind(family.name, family.help, labels=family.labels)
        samples: Iterable[tuple[list[str], float]] = by_name[name]
        if not family.labels and not samples:
            samples = [([], 0.0)]
        for labels, number in samples:
            if len(labels) == len(family.labels):  # else it is of another version
                made.add_metric(labels, number)
        yield made


def _buckets(counters: Mapping[str, float]) -> list[tuple[str, float]]:
    """Those of a histogram, each of which counts what is in the smaller ones too."""
    found, so_far = [], 0.0
    for bound in (*BOUNDS, float("inf")):
        so_far += counters.get(f"bucket,{bound}", 0)
        found.append(("+Inf" if bound == float("inf") else str(bound), so_far))
    return found
