"""The ASGI application."""

from answers import GET


async def app(scope, receive, send):
    """A plain one, without a framework."""
    if scope["method"] == "POST":
        length = 0
        more = True
        while more:
            message = await receive()
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
        body = b"%d" % length
    else:
        body = GET[scope["path"]]
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/plain"),
                (b"content-length", b"%d" % len(body)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
