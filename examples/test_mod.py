"""Tests of an application, on a free port and in memory: trial test_mod"""

from mod import Hello
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, readBody

from twisted_graceful.testing import MemoryServer, serve


class HelloTests(TestCase):
    async def test_hello(self):
        server = await serve(self, Hello())
        response = await Agent(reactor).request(b"GET", server.url.encode())
        self.assertEqual(await readBody(response), b"Hello\n")


class HelloInMemoryTests(SynchronousTestCase):
    def test_hello(self):
        server = MemoryServer(Hello())
        self.assertEqual(server.get("/").body, b"Hello\n")
