"""An application file: twistd -y hello.tac, or daemonized, and upgraded with
kill -USR2 $(cat twistd.pid)
"""

from twisted.application.service import Application
from twisted.web.resource import Resource

from twisted_graceful import GracefulService, new


class Hello(Resource):
    isLeaf = True

    def __init__(self, whom):
        super().__init__()
        self.whom = whom

    def render_GET(self, request):
        return b"Hello, %s\n" % self.whom


application = Application("hello")
GracefulService(
    new("localhost:8080", Hello(b"world")),
    new("localhost:8081", Hello(b"administrator")),
    signals=True,
).setServiceParent(application)
