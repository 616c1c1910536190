"""What the site forwards requests to: a server of HTTP, and a distributed one on a UNIX socket."""

import sys

from twisted.internet import reactor
from twisted.spread.pb import PBServerFactory
from twisted.web.distrib import ResourcePublisher
from twisted.web.resource import Resource
from twisted.web.server import Site


class Backend(Resource):
    isLeaf = True

    def __init__(self, name):
        super().__init__()
        self.name = name

    def render(self, request):
        return b"%s %s %s" % (self.name, request.method, request.content.read())


reactor.listenTCP(int(sys.argv[1]), Site(Backend(b"proxied")), interface="127.0.0.1")
published = ResourcePublisher(Site(Backend(b"distributed")))
reactor.listenUNIX("backend.sock", PBServerFactory(published))
reactor.run()
