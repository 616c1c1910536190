from klein import Klein
from twisted.internet import reactor
from twisted.internet.task import deferLater

app = Klein()
resource = app.resource
FORM = '<form method="post"><input name="text"><button>Send</button></form>'


@app.route("/", methods=["GET"])
def form(request):
    request.setHeader("Content-Type", "text/html")
    return FORM


@app.route("/", methods=["POST"])
def send(request):
    (text,) = request.args[b"text"]
    return b"Thank you for %d characters" % len(text.decode())


@app.route("/files", methods=["POST"])
def upload(request):
    (file,) = request.args[b"file"]
    return b"%d bytes" % len(file)


@app.route("/slow/<int:milliseconds>")
async def slow(request, milliseconds):
    await deferLater(reactor, milliseconds / 1000)
    return b"done"
