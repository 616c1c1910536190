"""From what a user names or passes to a web resource."""

from __future__ import annotations

import calendar
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.web.resource import IResource, Resource

from twisted_graceful.app.conversion import as_resource
from twisted_graceful.app.loading import load
from twisted_graceful.errors import AppError

from ..case import SynchronousTestCase
from .support import temporary_directory


class LoadTests(SynchronousTestCase):
    """Names of attributes in modules of a fresh directory."""

    def setUp(self) -> None:
        """Make a directory with a package importable."""
        self.directory = temporary_directory(self)
        self.patch(sys, "path", [self.directory, *sys.path])
        modules = set(sys.modules)
        self.addCleanup(lambda: [sys.modules.pop(each) for each in set(sys.modules) - modules])
        os.mkdir(os.path.join(self.directory, "pack"))
        self.write("pack/__init__.py", "")
        self.write("pack/web.py", "class Site:\n    root = 'the root'\nresource = 'the resource'\n")

    def path(self, path: str) -> str:
        """Where a module is, or would be."""
        return os.path.join(self.directory, path)

    def write(self, path: str, source: str) -> None:
        """Let a module be there."""
        with open(self.path(path), "w") as file:
            file.write(source)
        importlib.invalidate_caches()

    def fault(self, name: str, *, inside: bool) -> AppError:
        """The error of a name, and whose fault it is."""
        error: AppError = self.assertRaises(AppError, load, name)
        self.assertIn(repr(name), str(error))
        self.assertEqual(error.inside, inside)
        return error

    def test_both_ways_to_write_it(self) -> None:
        """An attribute is found by dots alone, and with a colon after the module."""
        for name in ("pack.web.resource", "pack.web:resource"):
            with self.subTest(name=name):
                self.assertEqual(load(name), "the resource")

    def test_an_attribute_of_an_attribute(self) -> None:
        """An attribute may be a level deeper, in both ways to write it."""
        for name in ("pack.web.Site.root", "pack.web:Site.root"):
            with self.subTest(name=name):
                self.assertEqual(load(name), "the root")

    def test_what_is_no_name(self) -> None:
        """A text that cannot name an attribute of a module is told how one is written."""
        for name in ("", "web", "web.", ".resource", "web:", ":resource", "pack..web.resource"):
            with self.subTest(name=name):
                self.assertIn("write package.module.attribute", str(self.fault(name, inside=False)))

    def test_no_such_module(self) -> None:
        """A module that is not there is what the error names, and where it was looked for."""
        for name, missing in (
            ("nowhere.resource", "nowhere"),
            ("nowhere.web:resource", "nowhere.web"),
            ("pack.nothing:resource", "pack.nothing"),
            ("pack.web.nothing:resource", "pack.web.nothing"),
        ):
            with self.subTest(name=name, missing=missing):
                text = str(self.fault(name, inside=False))
                self.assertIn(f"there is no module '{missing}'", text)
                self.assertIn("the working directory is searched first", text)

    def test_no_such_attribute(self) -> None:
        """An attribute that is not there is what the error names, with the module that is."""
        text = str(self.fault("pack.web.application", inside=False))
        self.assertIn("the module 'pack.web' has no attribute 'application'", text)
        self.assertNotIn("did you mean", text)
        text = str(self.fault("pack.web:Site.application", inside=False))
        self.assertIn("the type 'Site' has no attribute 'application'", text)

    def test_a_misspelt_attribute(self) -> None:
        """A name that is close to one that is there gets a suggestion."""
        self.assertIn(
            "did you mean 'resource'?", str(self.fault("pack.web.resuorce", inside=False))
        )

    def test_another_module_was_found(self) -> None:
        """The file that was found is named, and the one that is hidden, with the reason."""
        os.mkdir(self.path("twice"))
        names = ("calendar.py", "twice.py", "twice/__init__.py")
        for each in names:
            self.write(each, "")
        self.patch(os, "getcwd", lambda: self.directory)
        hidden, module, package = map(self.path, names)
        reason = "Python's standard library has a 'calendar' too, so it needs another name"
        for name, found in (
            (
                "calendar.app",
                f"was found at {calendar.__file__!r}, and {hidden!r} was not imported",
            ),
            ("calendar.web:app", f"'calendar' was found at {calendar.__file__!r}, and {hidden!r}"),
            ("twice.app", f"'twice' was found at {package!r}"),
            ("sys.app", "'sys' is built into Python"),
        ):
            with self.subTest(name=name, found=found):
                text = str(self.fault(name, inside=False))
                self.assertIn(found, text)
                self.assertEqual(reason in text, name.startswith("calendar"))
        self.assertNotIn(module, text)

    def test_it_hides_one_of_python(self) -> None:
        """Where a module of the user's has taken the place of Python's own, the error says so."""
        self.write("antigravity.py", "")  # which would open a browser
        self.write("web.py", "from antigravity import fly")
        self.patch(os, "getcwd", lambda: self.directory)
        error = self.fault("web.app", inside=True)
        self.assertIn(f"{self.path('antigravity.py')!r} hides a module of Python's", str(error))

    def test_a_module_that_raises(self) -> None:
        """A fault of the application's own code is told as such, with its exception."""
        for source, kind in (
            ("1 / 0", ZeroDivisionError),
            ("def resource(:", SyntaxError),
            ("import sys; sys.exit('no configuration')", SystemExit),
            ("from pack.web import nothing", ImportError),
        ):
            with self.subTest(source=source, kind=kind):
                self.write("faulty.py", source)
                error = self.fault("faulty.resource", inside=True)
                self.assertIsInstance(error.__cause__, kind)
                self.assertIn(f"importing 'faulty' failed: {kind.__name__}: ", str(error))

    def test_a_missing_import_inside(self) -> None:
        """A module that the application itself misses is the application's fault."""
        for missing in ("nowhere", "pack.nothing", "pack.broken.nothing"):
            self.write("pack/broken.py", f"import {missing}")
            for name in ("pack.broken.resource", "pack.broken:resource"):
                with self.subTest(missing=missing, name=name):
                    error = self.fault(name, inside=True)
                    self.assertIsInstance(error.__cause__, ModuleNotFoundError)
                    self.assertIn(f"No module named '{missing}'", str(error))

    def test_a_package_that_raises(self) -> None:
        """A fault of a package around the module is the application's too."""
        self.write("pack/__init__.py", "import nowhere")
        self.assertIn("'nowhere'", str(self.fault("pack.web.resource", inside=True)))

    def test_an_attribute_that_raises(self) -> None:
        """A module that makes its attributes on demand, and fails at it, has the fault inside."""
        self.write("lazy.py", "def __getattr__(name): raise RuntimeError('not today')")
        error = self.fault("lazy:resource", inside=True)
        self.assertIsInstance(error.__cause__, RuntimeError)


class Page(Resource):
    """A resource, and a class without arguments that makes one."""


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    """A WSGI application."""
    return []


class Wrapped(Resource):
    """What stands for the resource that runs a WSGI application."""

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.application = application


async def coroutine(result: Any) -> Any:
    """A coroutine of a result."""
    if isinstance(result, Exception):
        raise result
    return await result if isinstance(result, Deferred) else result


def raising(error: BaseException) -> Callable[[], Any]:
    """A function that raises."""

    def make() -> Any:
        raise error

    return make


class AsResourceTests(SynchronousTestCase):
    """Everything that can be served, and what cannot."""

    def resource(self, app: Any, *, wsgi: bool = False) -> Any:
        """The resource, which is there at once."""
        resource = as_resource(app, Wrapped, wsgi=wsgi)
        if isinstance(resource, Deferred):
            resource = self.successResultOf(resource)
        self.assertTrue(IResource.providedBy(resource))
        return resource

    def fault(self, app: Any, *, inside: bool) -> AppError:
        """The error, raised or in a Deferred, and whose fault it is."""
        try:
            result = as_resource(app, Wrapped)
        except AppError as caught:
            error = caught
        else:
            assert isinstance(result, Deferred)
            failure = self.failureResultOf(result, AppError)
            error = failure.value
        self.assertEqual(error.inside, inside)
        return error

    def test_a_resource(self) -> None:
        """A resource is served as it is."""
        page = Page()
        self.assertIs(self.resource(page), page)

    def test_a_class_or_function(self) -> None:
        """A class or function without arguments is called for the resource."""
        page = Page()
        self.assertIsInstance(self.resource(Page), Page)
        self.assertIs(self.resource(lambda: page), page)
        self.assertIs(self.resource(lambda optional=None: page), page)

    def test_a_resource_later(self) -> None:
        """A Deferred or a coroutine, or a function that returns one, is waited for."""
        page = Page()
        for app in (
            succeed(page),
            coroutine(page),
            lambda: succeed(page),
            lambda: coroutine(page),
            lambda: succeed(coroutine(page)),
        ):
            with self.subTest(app=app):
                self.assertIs(self.resource(app), page)

    def test_it_is_waited_for(self) -> None:
        """As long as the Deferred has not fired there is no resource."""
        later: Deferred[Any] = Deferred()
        waiting = as_resource(lambda: later, Wrapped)
        assert isinstance(waiting, Deferred)
        self.assertNoResult(waiting)
        later.callback(page := Page())
        self.assertIs(self.successResultOf(waiting), page)

    def test_a_klein_app(self) -> None:
        """A Klein app is served by its own resource, found by a function or not."""
        import klein

        app = klein.Klein()
        for each in (app, lambda: app, coroutine(app)):
            with self.subTest(each=each):
                self.assertEqual(type(self.resource(each)).__name__, "KleinResource")

    def test_a_flask_app(self) -> None:
        """A Flask app is run as a WSGI application, found by a factory or not."""
        import flask

        app = flask.Flask("app")
        for each in (app, lambda: app):
            with self.subTest(each=each):
                self.assertIs(self.resource(each).application, app)

    def test_a_wsgi_callable(self) -> None:
        """What takes an environ and a start_response is a WSGI application."""
        for each in (wsgi_app, lambda: wsgi_app, coroutine(wsgi_app)):
            with self.subTest(each=each):
                self.assertIs(self.resource(each).application, wsgi_app)

    def test_wsgi_said_so(self) -> None:
        """With `wsgi=True` any callable is taken for a WSGI application, and is not called."""
        for each in (wsgi_app, lambda *args: [], raising(ValueError())):
            with self.subTest(each=each):
                self.assertIs(self.resource(each, wsgi=True).application, each)

    def test_wsgi_of_what_cannot_be_called(self) -> None:
        """With `wsgi=True` what cannot be called is refused."""
        error = self.assertRaises(AppError, as_resource, 5, Wrapped, wsgi=True)
        self.assertIn("cannot be called", str(error))

    def test_an_ambiguous_callable(self) -> None:
        """What can be called both ways is refused, with the way to say which is meant."""
        for each in (lambda *args: [], lambda environ=None, start_response=None: []):
            with self.subTest(each=each):
                text = str(self.fault(each, inside=False))
                self.assertIn("--wsgi", text)
                self.assertIn("wsgi=True", text)

    def test_a_resource_class_is_not_ambiguous(self) -> None:
        """A resource class with optional arguments makes resources, and is no application."""

        class Configured(Resource):
            def __init__(self, one: int = 1, two: int = 2) -> None:
                super().__init__()

        self.assertIsInstance(self.resource(Configured), Configured)

    def test_what_cannot_be_served(self) -> None:
        """Anything else is refused by its name, with what could be served."""
        for each in (None, 5, "resource", object(), lambda one: one, lambda a, b, c: a):
            with self.subTest(each=each):
                text = str(self.fault(each, inside=False))
                self.assertIn(repr(each), text)
                self.assertIn("nothing that can be served", text)

    def test_what_makes_nothing_that_can_be_served(self) -> None:
        """What a function returns, at once or later, is judged alike; it is not called again."""
        for made in (None, 5, Page):
            for each in (lambda made=made: made, succeed(made), coroutine(made)):
                with self.subTest(made=made, each=each):
                    self.assertIn(repr(made), str(self.fault(each, inside=False)))

    def test_a_factory_that_fails(self) -> None:
        """A fault inside the factory, at once or later, is told as such, with its exception."""
        error = ValueError("no database")
        for app in (raising(error), coroutine(error), lambda: coroutine(error), fail(error)):
            with self.subTest(app=app):
                fault = self.fault(app, inside=True)
                self.assertIs(fault.__cause__, error)
                self.assertIn("ValueError: no database", str(fault))

    def test_a_load_that_is_cancelled(self) -> None:
        """A load that is given up, by a stop, is no fault of the application."""
        for app in (Deferred(), lambda: Deferred(), coroutine(Deferred())):
            with self.subTest(app=app):
                waiting = as_resource(app, Wrapped)
                assert isinstance(waiting, Deferred)
                waiting.cancel()
                self.failureResultOf(waiting, CancelledError)
