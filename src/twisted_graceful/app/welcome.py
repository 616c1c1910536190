"""The page that is served when no application is named."""

from __future__ import annotations

from twisted.web.resource import Resource
from twisted.web.server import Request

_PAGE = b"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>twisted-graceful</title>
<h1>It works</h1>
<p>This is twisted-graceful. Serve your own application with
<code>twistd -n graceful --app package.module.attribute</code>.
</html>
"""


class Welcome(Resource):
    """One page, at the root only."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        """The page itself for ``/``, else 404."""
        if path == b"" and not request.postpath:
            return self
        child: Resource = super().getChild(path, request)
        return child

    def render_GET(self, request: Request) -> bytes:
        """The page."""
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        return _PAGE
