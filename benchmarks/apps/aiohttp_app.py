"""The aiohttp server, on uvloop and without an access log.

The arguments are the port, and for TLS the files of the certificate and of its key.
"""

import ssl
import sys

import uvloop
from aiohttp import web
from answers import GET


async def get(request: web.Request) -> web.Response:
    """The answer of this path."""
    return web.Response(body=GET[request.path], content_type="text/plain")


async def post(request: web.Request) -> web.Response:
    """The length of the body."""
    return web.Response(body=b"%d" % len(await request.read()), content_type="text/plain")


port, *files = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if files else None
if context is not None:
    context.load_cert_chain(*files)
application = web.Application()
application.add_routes([*(web.get(path, get) for path in GET), web.post("/length", post)])
web.run_app(
    application,
    host="127.0.0.1",
    port=int(port),
    ssl_context=context,
    loop=uvloop.new_event_loop(),
    access_log=None,
    print=None,
)
