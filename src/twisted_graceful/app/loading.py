"""Import the application that a dotted name names."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from types import ModuleType

from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import AppError, GracefulError


def load(name: str) -> object:
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


def _import(name: str, module_name: str) -> ModuleType | None:
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


def _no_attribute(name: str, owner: object, attribute: str) -> str:
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


def _place(module: ModuleType) -> str:
    """The file of a module, or the folder of a package that has none; empty if it has neither."""
    file = getattr(module, "__file__", None)
    if file:
        return str(file)
    return next(iter(getattr(module, "__path__", ())), "")


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
