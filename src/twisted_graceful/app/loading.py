"""From what a user names or passes to a web resource."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from ..coroutines import as_deferred
from ..errors import AppError, GracefulError

MakeWSGIResource = Callable[[Any], IResource]


def load(name: str) -> Any:
    """Import what a dotted name names.

    Args:
        name: ``package.module.attribute`` or ``package.module:attribute.attribute``.

    Returns:
        The attribute.

    Raises:
        AppError: it says which part of the name failed; `AppError.inside` is set, and the
            cause is the application's exception, if its own code raised.
    """
    module_name, colon, attributes = name.partition(":")
    if not colon:
        module_name, _, attributes = name.rpartition(".")
    if not module_name or not attributes or not all(f"{module_name}.{attributes}".split(".")):
        raise AppError(
            f"{name!r} names no application: write package.module.attribute "
            "or package.module:attribute"
        )
    while True:
        module = _import(name, module_name)
        if module is not None or colon or "." not in module_name:
            break
        # package.module.Class.attribute: the module is further to the left.
        module_name, _, more = module_name.rpartition(".")
        attributes = f"{more}.{attributes}"
    if module is None:
        first = name.partition(":")[0] if colon else name.rpartition(".")[0]
        raise AppError(
            f"{name!r}: there is no module {first!r}; "
            f"the working directory is searched first, then sys.path{_found(first)}"
        )
    found = module
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise AppError(_no_attribute(name, found, attribute)) from None
        except Exception as error:
            raise _inside(name, f"looking up {attribute!r} failed", error) from error
    return found


def _import(name: str, module_name: str) -> Any:
    """The module; None if there is no such module."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Missing is the module itself or a package around it, or something that it imports.
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            return None
        raise _inside(name, f"importing {module_name!r} failed", error) from error
    except (Exception, SystemExit) as error:
        raise _inside(name, f"importing {module_name!r} failed", error) from error


def _inside(name: str, what: str, error: BaseException) -> AppError:
    text = f"{name!r}: {what}: {type(error).__name__}: {error}{_hiding()}"
    return AppError(text, inside=True)


def _hiding() -> str:
    """Which modules in the working directory hide some of Python's own; empty if none do."""
    hiding = [
        place
        for name in sorted(sys.stdlib_module_names & sys.modules.keys())
        if (place := _place(sys.modules[name])) and place == _place_here(name)
    ]
    if not hiding:
        return ""
    return f"; {', '.join(map(repr, hiding))} hides a module of Python's standard library"


def _no_attribute(name: str, owner: Any, attribute: str) -> str:
    where = getattr(owner, "__name__", repr(owner))
    kind = "module" if inspect.ismodule(owner) else type(owner).__name__
    text = f"{name!r}: the {kind} {where!r} has no attribute {attribute!r}"
    close = difflib.get_close_matches(attribute, dir(owner), n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return text + meant + (_found(owner.__name__) if inspect.ismodule(owner) else "")


def _found(module_name: str) -> str:
    """Where the module of a name, or the package that it should be in, was found.

    It may not be the one that the user means: each name is imported once, and much of the standard
    library has been imported by then.
    """
    first = module_name.partition(".")[0]
    module = sys.modules.get(module_name) or sys.modules.get(first)
    if module is None:
        return ""
    where, name = _place(module), module.__name__
    text = f"; {name!r} was found at {where!r}" if where else f"; {name!r} is built into Python"
    mine = _place_here(first)
    if mine and mine != _place(sys.modules[first]):
        text += f", and {mine!r} was not imported"
        if first in sys.stdlib_module_names:
            text += f": Python's standard library has a {first!r} too, so it needs another name"
    return text


def _place_here(name: str) -> str:
    """The file of the module of a name in the working directory; empty if there is none."""
    with suppress(OSError):  # the directory may have been removed
        spec = PathFinder.find_spec(name, [os.getcwd()])
        return spec.origin or "" if spec else ""
    return ""


def _place(module: Any) -> str:
    """The file of a module, or the folder of a package that has none; empty if it has neither."""
    file = getattr(module, "__file__", None)
    if file:
        return str(file)
    return next(iter(getattr(module, "__path__", ())), "")


def as_resource(
    app: Any, make_wsgi_resource: MakeWSGIResource, *, wsgi: bool = False
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


def log_not_served(log: Logger, what: str, failure: Failure) -> None:
    """Log why something is not served.

    With a traceback only if the fault is inside of the application, and then with its own,
    or if nobody foresaw it.

    Args:
        log: where to.
        what: is not served.
        failure: why.
    """
    error = failure.value
    extra: dict[str, Failure] = {}
    if not isinstance(error, GracefulError):
        extra["log_failure"] = failure
    elif isinstance(error, AppError) and error.inside and error.__cause__ is not None:
        cause = error.__cause__
        extra["log_failure"] = Failure(cause, type(cause), cause.__traceback__)
    log.critical("{what} is not served: {error}", what=what, error=error, **extra)


def _failed(failure: Failure) -> Any:
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


def _is_klein(app: Any) -> bool:
    # By its name, so that Klein, which installs the reactor, is imported by its users only.
    return any(
        cls.__module__.split(".")[0] == "klein" and cls.__name__ == "Klein"
        for cls in type(app).__mro__
    )


def _makes_resources(app: Callable[..., Any]) -> bool:
    return isinstance(app, type) and bool(IResource.implementedBy(app))


def _accepts(app: Callable[..., Any], count: int) -> bool:
    """Whether a callable can be called with this many positional arguments."""
    try:
        inspect.signature(app).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True
