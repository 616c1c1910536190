"""What holds for the tests themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ..case import SynchronousTestCase

TESTS = Path(__file__).parents[1]


def imports() -> Iterator[tuple[str, str]]:
    """All imports of the tests: the module that imports, and what."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = str(path.relative_to(TESTS))
            if isinstance(node, ast.ImportFrom):
                yield from ((name, f"{node.module or ''}.{each.name}") for each in node.names)
            elif isinstance(node, ast.Import):
                yield from ((name, each.name) for each in node.names)


class ImportTests(SynchronousTestCase):
    """What test modules import."""

    def test_helpers_are_not_in_test_modules(self) -> None:
        """No module imports from a test module: what two modules need has a module of its own."""
        found = [
            each for each in imports() if any(x.startswith("test_") for x in each[1].split("."))
        ]
        self.assertEqual(found, [])

    def test_every_subtest_works(self) -> None:
        """No module takes its test cases from trial, whose `subTest` ends at the first failure."""
        found = {each for each, name in imports() if name.startswith("twisted.trial")}
        self.assertEqual(found, {"case.py"})
