"""Readiness for a load balancer: twistd -n graceful --shutdown-delay 10 --app readiness.resource

From the first moment of a stop ``/readyz`` answers 503. For 10 seconds all else is served as ever,
so that the load balancer can notice; then the server drains. ``/healthz`` says that the process
lives, and goes on to do so: who is told otherwise may kill it in the middle of its drain.
"""

from twisted.web.resource import Resource

from twisted_graceful import is_ready


class Ready(Resource):
    isLeaf = True

    def render_GET(self, request):
        if is_ready(request):
            return b"ready\n"
        request.setResponseCode(503)
        return b"stopping\n"


class Text(Resource):
    isLeaf = True

    def __init__(self, text):
        super().__init__()
        self.text = text

    def render_GET(self, request):
        return self.text


resource = Resource()
resource.putChild(b"", Text(b"Hello\n"))
resource.putChild(b"healthz", Text(b"alive\n"))
resource.putChild(b"readyz", Ready())
