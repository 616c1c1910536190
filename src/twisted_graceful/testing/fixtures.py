"""A fixture for pytest-twisted, which must be installed to import this module.

In the ``conftest.py`` of your tests::

    from twisted_graceful.testing.fixtures import graceful_server
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet.defer import Deferred, gatherResults

from .running import RunningServer, start

__all__ = ["graceful_server"]


@pytest_twisted.async_yield_fixture()  # type: ignore[untyped-decorator]
async def graceful_server() -> AsyncGenerator[Callable[..., Deferred[RunningServer]], None]:
    """Run servers in a pytest-twisted test; when the test is over they are drained.

    It is a function: ``server = yield graceful_server(resource, drain_timeout=5)``, with the
    arguments of `twisted_graceful.testing.serve` after the test case.
    """
    running: list[RunningServer] = []

    def run(app: object, **settings: Any) -> Deferred[RunningServer]:
        return start(app, **settings).addCallback(remember)

    def remember(server: RunningServer) -> RunningServer:
        running.append(server)
        return server

    yield run
    await gatherResults([server.stop() for server in running])
