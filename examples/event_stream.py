"""Server-sent events that end well: twistd -n graceful --app event_stream.Clock

An event stream never ends by itself, so every stop would wait for it until the drain
deadline and then cut it. `draining` lets it say goodbye: the client reconnects, and finds
the next generation.
"""

from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_graceful import draining


class Clock(Resource):
    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")

        def tick():
            request.write(b"data: %d\n\n" % reactor.seconds())

        def goodbye(_):
            request.write(b"event: goodbye\nretry: 100\ndata:\n\n")
            request.finish()

        ticking = LoopingCall(tick)
        request.notifyFinish().addBoth(lambda _: ticking.stop())
        draining(request).addCallback(goodbye)
        ticking.start(1.0)
        return NOT_DONE_YET
