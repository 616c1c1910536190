"""Wraps the producers of applications: an exception in one ends only its own response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProducer, IPullProducer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .. import twisted_internals


@implementer(IPushProducer, IPullProducer)
class Producer:
    """Wraps a producer, and raises none of its exceptions.

    After an exception the producer is stopped, so that it can close its file, and not called again.

    Args:
        producer: the application's.
        failed: is called with the first exception.
    """

    _log = Logger()

    def __init__(self, producer: IProducer, failed: Callable[[Failure], None]) -> None:
        self._producer: Any = producer  # without `pauseProducing` if it is a pull producer
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


@implementer(IPushProducer)
class RegisteredProducer:
    """An application's producer, as a push producer whatever it is; see `Producer`.

    Args:
        producer: the application's.
        streaming: whether it is a push producer.
        consumer: what it writes to.
        failed: is called with its first exception.
    """

    def __init__(
        self,
        producer: IProducer,
        streaming: bool,
        consumer: object,
        failed: Callable[[Failure], None],
    ) -> None:
        guarded = Producer(producer, failed)
        self._pulled = None if streaming else twisted_internals.PullToPush(guarded, consumer)
        self._producer: IPushProducer = guarded if self._pulled is None else self._pulled

    def __repr__(self) -> str:
        return repr(self._producer)

    def start(self) -> None:
        """Let a pull producer produce; a push producer has begun on its own."""
        if self._pulled is not None:
            self._pulled.startStreaming()

    def unregister(self) -> None:
        """Do not call it any more."""
        if self._pulled is not None:
            self._pulled.stopStreaming()

    def pauseProducing(self) -> None:
        """Wait."""
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on."""
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """Stop for good."""
        self._producer.stopProducing()


def check_unregistered(present: object, producer: object) -> None:
    """Check that a consumer has no producer before it gets one.

    Raises:
        RuntimeError: it has.
    """
    if present is not None:
        raise RuntimeError(f"cannot register {producer}: {present} is registered")
