"""Servers for your tests: on a free port, or in memory; drained at the end.

In a trial test, on a free port of 127.0.0.1, with the reactor that trial runs::

    class HelloTests(TestCase):
        async def test_hello(self):
            server = await serve(self, Hello())
            response = await treq.get(server.url, persistent=False)

In a pytest-twisted test, with the fixture of `twisted_graceful.testing.fixtures`::

    @pytest_twisted.inlineCallbacks
    def test_hello(graceful_server):
        server = yield graceful_server(Hello())
        response = yield treq.get(server.url, persistent=False)

A client that keeps connections for later, as treq does if it is not told otherwise, leaves
them behind, and trial reports an unclean reactor.

In memory, without a reactor, with a clock that the test moves::

    class HelloTests(SynchronousTestCase):
        def test_hello(self):
            server = MemoryServer(Hello())
            self.assertEqual(server.get("/").body, b"hello")
"""

from __future__ import annotations

from .http_messages import Response
from .memory import MemoryConnection, MemoryServer
from .running import RunningServer, serve

__all__ = ["MemoryConnection", "MemoryServer", "Response", "RunningServer", "serve"]
