"""Requests that are passed on to another process, as ``twisted.web.distrib`` does."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.spread import pb
from twisted.web.distrib import ResourcePublisher, ResourceSubscription
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.server import Site as TwistedSite

from twisted_graceful.testing import serve
from twisted_graceful.testing.http_messages import format_request, take_response

from ..case import TestCase
from .web import connect

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close", "Cookie": "k=v"}


class Far(Resource):
    """Is in another process, so to speak."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """Answer with what has come of the request."""
        request.setHeader(b"X-Far", b"1")
        assert request.args is not None
        parts = [request.method, request.uri, request.content.read(), *request.args[b"a"]]
        parts += [request.getHeader(b"Host") or b"", request.received_cookies[b"k"]]
        parts += [request.client.host.encode(), b"/".join(request.prepath or [])]
        request.write(b" ".join(parts))
        request.finish()
        return int(NOT_DONE_YET)


class DistribTests(TestCase):
    """A publisher, and a server that subscribes to it."""

    async def test_passed_on(self) -> None:
        """The other process has the request, and its answer is the client's."""
        from twisted.internet import reactor

        publisher = pb.PBServerFactory(ResourcePublisher(TwistedSite(Far())))
        port = reactor.listenTCP(0, publisher, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        subscription = ResourceSubscription("127.0.0.1", port.getHost().port)
        gone: Deferred[None] = Deferred()
        self.addCleanup(lambda: gone)
        server = await serve(self, subscription)
        client = await connect(server.port)
        client.transport.write(format_request("POST", "/x?b=0", FORM, b"a=1&a=2"))
        response = take_response(bytearray(await client.lost), "POST", ended=True)
        broker = subscription.publisher.broker
        broker.notifyOnDisconnect(lambda: gone.callback(None))
        broker.transport.loseConnection()
        assert response is not None
        self.assertEqual(response.body, b"POST /x?b=0 a=1&a=2 1 2 localhost v 127.0.0.1 ")
        self.assertEqual(response.headers["X-Far"], "1")
