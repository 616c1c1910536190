"""The producers of applications, whose exceptions end their own response and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IPushProducer, IPullProducer)
class Producer:
    """Wraps a producer, and raises none of its exceptions.

    After an exception the producer is stopped, so that it can close its file, and not called again.

    Args:
        producer: the application's.
        failed: is called with the first exception.
    """

    _log = Logger()

    def __init__(self, producer: Any, failed: Callable[[Failure], None]) -> None:
        self._producer = producer
        self._failed = failed

    def __repr__(self) -> str:
        return repr(self._producer)

    def resumeProducing(self) -> None:
        """Go on, or produce one more piece."""
        if self._producer is not None:
            self._call(self._producer.resumeProducing)

    def pauseProducing(self) -> None:
        """Wait."""
        if self._producer is not None:
            self._call(self._producer.pauseProducing)

    def stopProducing(self) -> None:
        """Stop for good."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.stopProducing()
            except BaseException:
                self._log.failure("A producer could not be stopped")

    def _call(self, method: Callable[[], None]) -> None:
        try:
            method()
        except BaseException:
            failure = Failure()
            self.stopProducing()
            self._failed(failure)
