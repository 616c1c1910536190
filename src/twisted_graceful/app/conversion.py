"""Make a web resource of anything that can be served."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from ..coroutines import as_deferred
from ..errors import AppError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MakeWSGIResource = Callable[["WSGIApplication"], IResource]


def as_resource(
    app: object, make_wsgi_resource: MakeWSGIResource, *, wsgi: bool = False
) -> IResource | Deferred[IResource]:
    """A web resource, from anything that can be served.

    Args:
        app: an `IResource`; a Klein app; a WSGI callable; a class or function without
            arguments that returns one of these, at once, as a Deferred or coroutine.
        make_wsgi_resource: wraps a WSGI callable.
        wsgi: take ``app`` for a WSGI callable, whatever it looks like.

    Returns:
        The resource, or a Deferred of it, which fails with `AppError`.

    Raises:
        AppError: it is nothing that can be served, or its code raised.
    """
    if wsgi:
        if not callable(app):
            raise AppError(f"{app!r} is no WSGI application: it cannot be called")
        return make_wsgi_resource(app)
    return _convert(app, make_wsgi_resource, called=False)


def _convert(
    app: Any, make_wsgi_resource: MakeWSGIResource, *, called: bool
) -> IResource | Deferred[IResource]:
    if IResource.providedBy(app):
        resource: IResource = app
        return resource
    if _is_klein(app):
        klein_resource: IResource = app.resource()
        return klein_resource
    if isinstance(app, (Deferred, Awaitable)):
        waited: Deferred[Any] = app if isinstance(app, Deferred) else as_deferred(app)
        return waited.addCallbacks(
            lambda result: _convert(result, make_wsgi_resource, called=True),
            _failed,
        )
    if callable(app):
        nothing, two = _accepts(app, 0), _accepts(app, 2) and not _makes_resources(app)
        if nothing and two:
            raise AppError(
                f"{app!r} could be a WSGI application or a function that returns one: "
                "say --wsgi, or wsgi=True, if it is the former"
            )
        if two:
            return make_wsgi_resource(app)
        if nothing and not called:
            try:
                made = app()
            except Exception as error:
                raise AppError(
                    f"calling {app!r} failed: {type(error).__name__}: {error}"
                    f"{_reactor_hint(error)}",
                    inside=True,
                ) from error
            return _convert(made, make_wsgi_resource, called=True)
    raise AppError(
        f"{app!r} is nothing that can be served: the type {type(app).__name__} is neither an "
        "IResource, a Klein app nor a WSGI application, nor a class or function without "
        "arguments that returns one"
    )


def _failed(failure: Failure) -> Failure:
    if failure.check(AppError, CancelledError):
        return failure
    # The failure has taken the traceback off its exception.
    error: BaseException = failure.value  # type: ignore[assignment]
    cause = error.with_traceback(failure.getTracebackObject())
    raise AppError(
        f"the application could not be made: {type(cause).__name__}: {cause}{_reactor_hint(cause)}",
        inside=True,
    ) from cause


_NO_LOOP = re.compile("event loop|await wasn't used with future|async (library|context)")
"""What asyncio, and the libraries on top of it, say outside its loop."""


def _reactor_hint(error: BaseException) -> str:
    if isinstance(error, RuntimeError) and _NO_LOOP.search(str(error)):
        return (
            "; code that awaits asyncio needs its reactor: use twistd --reactor=asyncio, or call "
            "twisted.internet.asyncioreactor.install() at the start of the program"
        )
    return ""


def _is_klein(app: object) -> bool:
    # By its name, so that Klein, which installs the reactor, is imported by its users only.
    return any(
        cls.__module__.split(".")[0] == "klein" and cls.__name__ == "Klein"
        for cls in type(app).__mro__
    )


def _makes_resources(app: Callable[..., object]) -> bool:
    return isinstance(app, type) and bool(IResource.implementedBy(app))


def _accepts(app: Callable[..., object], count: int) -> bool:
    """Whether a callable can be called with this many positional arguments."""
    try:
        inspect.signature(app).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True
