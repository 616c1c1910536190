"""A WebSocket that takes its leave: twistd -n graceful --app websocket.resource

Needs twisted[websocket], 26.10 or later. Without the goodbye its clients would be closed with
1001 (going away) in the second half of the drain, one after the other.
"""

from twisted.web.resource import Resource
from twisted.web.websocket import WebSocketResource

from twisted_graceful import draining


class Echo:
    def __init__(self, request):
        draining(request).addCallback(self.say_goodbye)

    def say_goodbye(self, _):
        self.transport.sendTextMessage("goodbye")
        self.transport.loseConnection()

    def negotiationStarted(self, transport):
        self.transport = transport

    def negotiationFinished(self):
        self.transport.sendTextMessage("hello")

    def textMessageReceived(self, message):
        self.transport.sendTextMessage(message)

    def bytesMessageReceived(self, data):
        self.transport.sendBytesMessage(data)

    def pongReceived(self, payload):
        pass

    def connectionLost(self, reason):
        pass


class Echoes:
    def buildProtocol(self, request):
        return Echo(request)


resource = Resource()
resource.putChild(b"echo", WebSocketResource(Echoes()))
