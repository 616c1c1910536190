"""A plain script that upgrades itself: python script.py, then kill -USR2 its pid"""

from twisted.web.resource import Resource

from twisted_graceful import listen_and_serve_forever


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request):
        return b"Hello\n"


if __name__ == "__main__":
    listen_and_serve_forever("localhost:8080", Hello())
