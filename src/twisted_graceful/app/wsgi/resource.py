"""The resource that passes requests to a WSGI application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from .call import Call
from .environ import EnvironFactory

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class WSGIResource(Resource):
    """Everything below its path is answered by a WSGI application.

    Twisted's own is not used because it cannot be made to follow PEP 3333 from outside: it leaves
    clients without a response when that cannot be sent, has no back-pressure, and waits for the
    reactor with each piece of a body.

    Args:
        application: as in PEP 3333.
        environ_factory: makes the environ of each request.
        run: runs a call in a thread.
        from_thread: calls a function in the reactor, soon; can be called from any thread.
    """

    isLeaf = True

    def __init__(
        self,
        application: WSGIApplication,
        environ_factory: EnvironFactory,
        run: Callable[[Call], None],
        from_thread: Callable[[Callable[[], None]], object],
    ) -> None:
        super().__init__()
        self.application = application
        self._environ_factory = environ_factory
        self._run = run
        self._from_thread = from_thread

    def render(self, request: Any) -> int:
        """Call the application in a thread."""
        # The body is the thread's from here on. A client that goes must not close it under the
        # application.
        body, request.content = request.content, None
        environ = self._environ_factory.make(request, body)
        self._run(Call(self.application, request, environ, self._from_thread))
        return NOT_DONE_YET
