"""The WSGI application."""

from answers import GET


def app(environ, start_response):
    """A plain one, without a framework."""
    if environ["REQUEST_METHOD"] == "POST":
        body = b"%d" % len(environ["wsgi.input"].read())
    else:
        body = GET[environ["PATH_INFO"]]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
