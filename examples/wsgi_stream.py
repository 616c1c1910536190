"""A stream of a WSGI application that ends well: twistd -n graceful --app wsgi_stream.app

A WSGI application sees no request to ask `draining` about; it finds a function in its environ.
"""

import time


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return ticks(environ["twisted_graceful.is_draining"])


def ticks(is_draining):
    while not is_draining():
        yield b"data: tick\n\n"
        time.sleep(0.2)
    yield b"event: goodbye\ndata:\n\n"
