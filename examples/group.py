"""Several servers that stop together: python group.py, then kill its pid"""

from twisted.web.resource import Resource

from twisted_graceful import new, wait_group


class Hello(Resource):
    isLeaf = True

    def __init__(self, whom):
        super().__init__()
        self.whom = whom

    def render_GET(self, request):
        return b"Hello, %s\n" % self.whom


if __name__ == "__main__":
    wait_group(
        new("localhost:8080", Hello(b"world")),
        new("localhost:8081", Hello(b"administrator"), drain_timeout=5),
    )
