"""Producers that fail: their response ends, and nothing else does."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from twisted_graceful import twisted_internals
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.memory_transport import SEND_BUFFER

from ..case import SynchronousTestCase


class Failing:
    """Fails in some of its methods.

    Args:
        methods: which.

    Attributes:
        calls: all that were called.
    """

    def __init__(self, *methods: str) -> None:
        self._methods = methods
        self.calls: list[str] = []

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method in self._methods:
            raise ValueError("as the test wants it")

    def resumeProducing(self) -> None:
        """Go on."""
        self._called("resume")

    def pauseProducing(self) -> None:
        """Wait."""
        self._called("pause")

    def stopProducing(self) -> None:
        """Stop."""
        self._called("stop")


class Produced(Resource):
    """Lets a producer make its response."""

    isLeaf = True

    def __init__(self, producer: Failing, begun: bytes, streaming: bool) -> None:
        super().__init__()
        self.producer = producer
        self._begun = begun
        self._streaming = streaming
        self.lost: list[Any] = []

    def render_GET(self, request: Request) -> int:
        """Begin."""
        request.notifyFinish().addBoth(self.lost.append)
        if self._begun:
            request.write(self._begun)
        request.registerProducer(self.producer, self._streaming)
        if self._begun:
            request.write(b"x" * 2 * SEND_BUFFER)
        return NOT_DONE_YET


class FailingTests(SynchronousTestCase):
    """Each way to fail, at each time."""

    def serve(self, producer: Failing, begun: bytes = b"", *, streaming: bool) -> Any:
        """Ask for what it makes."""
        self.server = MemoryServer(Produced(producer, begun, streaming))
        cooperator = Cooperator(scheduler=lambda call: self.server.clock.callLater(0.1, call))
        # The global one would need the reactor to run.
        module = sys.modules[twisted_internals.PullToPush.__module__]
        self.patch(module, "cooperate", cooperator.cooperate)
        client = self.server.connect()
        client.reading = False
        client.request("GET", "/")
        return client

    def test_before_the_response(self) -> None:
        """A pull producer that fails at once causes a 500, and the connection continues."""
        producer = Failing("resume")
        client = self.serve(producer, streaming=False)
        client.reading = True
        self.server.advance(1)
        self.assertEqual([each.status for each in client.responses()], [500])
        self.assertFalse(client.closed)
        self.assertEqual(producer.calls, ["resume", "stop"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_in_the_response(self) -> None:
        """If it fails later, its connection is reset, since the response is incomplete."""
        for streaming, methods in ((False, ["resume"]), (True, ["pause"]), (True, ["resume"])):
            with self.subTest(streaming=streaming, methods=methods):
                producer = Failing(*methods, "stop")
                client = self.serve(producer, b"begun", streaming=streaming)
                client.reading = True
                self.server.advance(1)
                self.assertTrue(client.reset)
                self.assertEqual(len(self.server.connections), 0)
                self.assertEqual(producer.calls[-1], "stop")
                self.assertEqual(producer.calls.count("stop"), 1)
                (lost,) = self.server.site.resource.lost
                self.assertIsInstance(lost, Failure)
                self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_after_the_response(self) -> None:
        """A producer that fails after its response is finished does it no harm."""
        producer = Failing()
        client = self.serve(producer, streaming=False)
        client.reading = True

        class Finishing(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> int:
                def resume() -> None:
                    request.unregisterProducer()
                    request.finish()
                    raise ValueError("as the test wants it")

                producer.resumeProducing = resume  # type: ignore[method-assign]
                request.registerProducer(producer, False)
                return NOT_DONE_YET

        self.server.site.resource = Finishing()
        client = self.server.connect()
        client.request("GET", "/")
        self.server.advance(1)
        self.assertEqual([each.status for each in client.responses()], [200])
        self.assertFalse(client.closed)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
