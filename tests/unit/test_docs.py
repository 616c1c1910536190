"""What the documentation must have, and a build of it does not notice."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import twisted_graceful

ROOT = Path(__file__).parents[2]


class DocumentationTests(SynchronousTestCase):
    """The pages in docs/."""

    def setUp(self) -> None:
        """Find them; they are not beside the tests of a built wheel."""
        self.docs = ROOT / "docs"
        if not self.docs.is_dir():
            raise SkipTest("the documentation is not here")

    def test_public_names(self) -> None:
        """The API page has every public name."""
        words = set(re.findall(r"\w+", (self.docs / "api.rst").read_text()))
        self.assertEqual(set(twisted_graceful.__all__) - words, set())

    def test_pages_of_the_readme(self) -> None:
        """Every file that the README names is there, and it names every page."""
        named = re.findall(
            r"``((?:docs|examples|benchmarks|tests)/[\w./-]+)``", (ROOT / "README.rst").read_text()
        )
        self.assertIn("docs/restart.rst", named)
        self.assertEqual([each for each in named if not (ROOT / each).exists()], [])
        pages = {f"docs/{each.name}" for each in self.docs.glob("*.rst")}
        self.assertEqual(pages - set(named), {"docs/contributing.rst", "docs/index.rst"})

    def test_modules(self) -> None:
        """The page on the architecture has the name of every module."""
        package = Path(twisted_graceful.__file__).parent
        page = (self.docs / "architecture.rst").read_text()
        named = set(re.findall(r"\w+", " ".join(re.findall(r"``([^`]+)``", page))))
        names = {each.stem for each in package.rglob("*.py")} - {"__init__"}
        self.assertEqual(names - named, set())

    def test_examples(self) -> None:
        """The text of every example that is run is on a page."""
        shown = "".join(page.read_text() for page in self.docs.glob("*.rst"))
        examples = [each.name for each in (ROOT / "examples").iterdir() if each.is_file()]
        self.assertEqual([each for each in examples if each not in shown], [])
