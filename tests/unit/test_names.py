"""A name in the package means one thing."""

from __future__ import annotations

import ast
from collections import Counter

from ..case import SynchronousTestCase
from .modules import modules

PLAIN_BY_PACKAGE = {"connection", "frames", "interfaces"}
"""The modules that several packages have; the package says which protocol they are of."""


class NameTests(SynchronousTestCase):
    """The names of modules and classes, private ones too."""

    def test_modules(self) -> None:
        """No two modules have the same name, except where the package makes the meaning plain."""
        counts = Counter(
            name.rpartition(".")[2] for name, path in modules() if path.name != "__init__.py"
        )
        twice = {name for name, count in counts.items() if count > 1}
        self.assertEqual(twice, PLAIN_BY_PACKAGE)

    def test_classes(self) -> None:
        """No two classes have the same name."""
        counts = Counter(
            node.name
            for _, path in modules()
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
        )
        self.assertEqual([name for name, count in counts.items() if count > 1], [])
