"""The resource that twisted-graceful and twisted.web serve."""

from answers import GET
from twisted.web.resource import Resource
from twisted.web.server import Request

ANSWERS = {path.encode(): answer for path, answer in GET.items()}


class Root(Resource):
    """All of it, without traversal, as the ASGI and WSGI applications beside it."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """The answer of this path."""
        request.setHeader(b"Content-Type", b"text/plain")
        return ANSWERS[request.path]

    def render_POST(self, request: Request) -> bytes:
        """The length of the body."""
        request.setHeader(b"Content-Type", b"text/plain")
        return b"%d" % len(request.content.read())
