"""Every reactor that can wait for a descriptor will do."""

from __future__ import annotations

import pytest

from ..case import SynchronousTestCase
from .harness import FOREGROUND, PATIENCE, PORT, Server

pytestmark = pytest.mark.timeout(60)

FACTORY = """\
import asyncio
from twisted.internet.task import deferLater
from app import Root
async def make():
    from twisted.internet import reactor
    await asyncio.sleep(0.01)
    await deferLater(reactor, 0.01)
    return Root()
"""


class ReactorTests(SynchronousTestCase):
    """``twistd --reactor``."""

    def assertServes(self, reactor: str, app: str = "app.resource") -> None:
        """Under this reactor it answers on one connection, upgrades, and stops."""
        command = (*FOREGROUND, "--reactor", reactor, "graceful", *PORT, *PATIENCE)
        server = Server("--app", app, command=command)
        server.write("factory.py", FACTORY)
        with server:
            server.serving(0)
            client = server.connect()
            self.assertEqual([client.ask("/").body for _ in range(3)], ["1"] * 3)
            server.deploy("2")
            server.upgrade()
            self.assertEqual(client.ask("/").body, "2")
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.stop(), 0)

    def test_select(self) -> None:
        """With select(2)."""
        self.assertServes("select")

    def test_poll(self) -> None:
        """With poll(2)."""
        self.assertServes("poll")

    def test_asyncio(self) -> None:
        """With the event loop of asyncio, which an application can await while it is made."""
        self.assertServes("asyncio", "factory.make")
