from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        self.sendMessage(payload, isBinary)


factory = WebSocketServerFactory()
factory.protocol = Echo
root = Resource()
root.putChild(b"ws", WebSocketResource(factory))

if __name__ == "__main__":
    reactor.listenTCP(8080, Site(root), interface="127.0.0.1")
    reactor.run()
