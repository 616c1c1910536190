"""The smallest application: twistd -n graceful --app mod.resource"""

from twisted.web.resource import Resource


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request):
        return b"Hello\n"


resource = Hello()
