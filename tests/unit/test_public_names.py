"""What `from twisted_graceful import ...` gives."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import twisted_graceful

from ..case import SynchronousTestCase
from .support import run_python


def imported_for_types() -> dict[str, str]:
    """The names that a type checker sees, and the module each comes from."""
    source = Path(inspect.getfile(twisted_graceful)).read_text()
    (block,) = (each for each in ast.parse(source).body if isinstance(each, ast.If))
    return {
        name.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }


class PublicNamesTests(SynchronousTestCase):
    """The public names, as Python, editors and type checkers see them."""

    def test_type_checkers_see_the_same_names(self) -> None:
        """What a type checker sees is what Python loads, name by name and module by module."""
        self.assertEqual(imported_for_types(), twisted_graceful._HOMES)

    def test_all_is_complete_and_sorted(self) -> None:
        """`__all__` has every public name, once, in alphabetical order."""
        self.assertEqual(twisted_graceful.__all__, sorted(twisted_graceful._HOMES))
        self.assertEqual(dir(twisted_graceful), twisted_graceful.__all__)

    def test_each_can_be_imported(self) -> None:
        """Each name is the one of the module that it lives in."""
        for name, home in twisted_graceful._HOMES.items():
            with self.subTest(name=name, home=home):
                module = importlib.import_module(f"twisted_graceful.{home}")
                value = getattr(twisted_graceful, name)
                self.assertIs(value, getattr(module, name))
                self.assertEqual(value.__module__, module.__name__)

    def test_each_is_documented(self) -> None:
        """Each public name has a docstring of its own."""
        for name in twisted_graceful.__all__:
            with self.subTest(name=name):
                self.assertTrue(getattr(twisted_graceful, name).__doc__)

    def test_every_error_that_can_be_raised_is_public(self) -> None:
        """A user can catch each error of the package by a public name."""
        from twisted_graceful import errors

        # An upgrade that is refused is logged, as is a worker that fails, and a wrong configuration
        # ends the command; nothing raises any of these to a user.
        kinds = {
            name
            for name, value in vars(errors).items()
            if inspect.isclass(value) and issubclass(value, errors.GracefulError)
        }
        public = set(twisted_graceful.__all__)
        self.assertLessEqual(kinds - {"ConfigError", "UpgradeRefused", "WorkerError"}, public)

    def test_no_other_name(self) -> None:
        """A name that is not there is an AttributeError which says so."""
        error = self.assertRaises(AttributeError, getattr, twisted_graceful, "nothing")
        self.assertIn("'twisted_graceful' has no attribute 'nothing'", str(error))

    def test_the_package_alone_is_light(self) -> None:
        """Importing the package, and its settings, does not import Twisted's web server."""
        done = run_python(
            "-c",
            "import sys, twisted_graceful\n"
            "from twisted_graceful import Settings\n"
            "print([each for each in sys.modules if each.startswith('twisted.')])",
        )
        self.assertEqual((done.stdout, done.stderr), ("[]\n", ""))

    def test_all_names_at_once(self) -> None:
        """A star import gives every public name and no other."""
        done = run_python(
            "-c",
            "from twisted_graceful import *\n"
            "print(sorted(name for name in dir() if not name.startswith('__')))",
        )
        self.assertEqual(done.stdout, f"{twisted_graceful.__all__}\n")
