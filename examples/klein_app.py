"""A Klein application: twistd -n graceful --port 8080 --app klein_app.app"""

from klein import Klein
from twisted.internet import reactor
from twisted.internet.task import deferLater

app = Klein()


@app.route("/")
def hello(request):
    return b"Hello from Klein\n"


@app.route("/slow")
async def slow(request):
    # A stop or an upgrade that begins now waits for this answer.
    await deferLater(reactor, 1.0)
    return b"done\n"
