"""Stock twisted.web, without the access log that ``twistd web`` always writes.

The argument is a description for `twisted.internet.endpoints.serverFromString`.
"""

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Request, Site
from twisted_app import Root


class SilentSite(Site):
    """Logs no request."""

    def log(self, request: Request) -> None:
        """Nothing."""


serverFromString(reactor, sys.argv[1]).listen(SilentSite(Root()))
reactor.run()
