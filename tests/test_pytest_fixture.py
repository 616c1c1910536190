"""The fixture for pytest-twisted, in a project of its own.

It runs in a process of its own: once pytest-twisted has started the reactor, trial's test
cases of the same process cannot start it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.unit.support import run_python, temporary_directory

from .case import SynchronousTestCase

ROOT = Path(__file__).parents[1]

CONFTEST = """
from twisted_graceful.testing.fixtures import graceful_server
"""

TESTS = """
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.unit.web import GET, Echo, connect, fetch, is_refused
from twisted_graceful import AppError

seen = {}


@pytest_twisted.inlineCallbacks
def test_yields(graceful_server):
    server = yield graceful_server(Echo())
    body = yield fetch(server.url + "/x")
    assert body == b"GET /x "


@pytest_twisted.ensureDeferred
async def test_awaits(graceful_server):
    first, second = await graceful_server(Echo()), await graceful_server(Echo, drain_timeout=5)
    assert first.port != second.port
    assert second.service.settings.drain_timeout == 5
    seen["ports"] = [first.port, second.port]


def test_every_server_has_been_stopped():
    assert all(is_refused(port) for port in seen["ports"])


@pytest_twisted.ensureDeferred
async def test_leaves_a_request_behind(graceful_server):
    app = Echo(hold=True)
    server = await graceful_server(app)
    client = await connect(server.port)
    client.transport.write(GET)
    while not app.held:
        await deferLater(reactor, 0.01)
    reactor.callLater(0.2, app.answer)
    seen["client"] = client


@pytest_twisted.ensureDeferred
async def test_the_request_has_been_answered():
    received = await seen["client"].lost
    assert b"GET /x " in received
    assert b"Connection: close" in received


@pytest_twisted.ensureDeferred
async def test_failing(graceful_server):
    def broken():
        raise ZeroDivisionError

    with pytest.raises(AppError):
        await graceful_server(broken)


@pytest_twisted.ensureDeferred
async def test_stopped_by_the_test(graceful_server):
    server = await graceful_server(Echo())
    await server.stop()
    assert is_refused(server.port)
"""


class FixtureTests(SynchronousTestCase):
    """``graceful_server``, imported in the conftest of a project."""

    def test_fixture(self) -> None:
        """It runs servers for pytest-twisted tests, and drains them when each test is over."""
        directory = Path(temporary_directory(self))
        (directory / "conftest.py").write_text(CONFTEST)
        (directory / "test_project.py").write_text(TESTS)
        path = [str(ROOT), *sys.path]
        done = run_python(
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory)),
            *("--reactor", "default", str(directory)),
            cwd=directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTEST_ADDOPTS": ""},
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("7 passed", done.stdout)
