"""What the documentation must have, and a build of it does not notice."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import SkipTest

from twisted.python import usage
from twisted.scripts.twistd import ServerOptions

import twisted_graceful
from twisted_graceful.cli.plugin import Options

from ..case import SynchronousTestCase

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

    def test_newsfragments(self) -> None:
        """towncrier, which knows numbers as suffixes only, can tell all newsfragments apart."""
        counted = []
        for each in (ROOT / "newsfragments").glob("*.rst"):
            issue, kind, *rest = each.name.split(".")
            counted.append((issue, kind, rest[0] if rest[0].isdigit() else "0"))
        self.assertEqual(sorted(counted), sorted(set(counted)))

    def test_modules(self) -> None:
        """Every module that the page on the architecture names exists."""
        page = (self.docs / "architecture.rst").read_text()
        package = Path(twisted_graceful.__file__).parent
        named = set(re.findall(r"``(?!tests/)([a-z0-9_]+(?:/[a-z0-9_]+)+)(?:\.\w+)?``", page))
        self.assertIn("process/upgrade/generation", named)
        exist = {each for each in named if (package / f"{each}.py").exists()}
        packages = {each for each in named if (package / each).is_dir()}
        self.assertEqual(named - exist - packages, set())

    def test_options(self) -> None:
        """Every option that the page on migrating names as ours is one, of the plugin or twistd."""
        ours = self.options(Options()) | self.options(ServerOptions())
        named: set[str] = set()
        begin = 0
        for row in (self.docs / "migrating.rst").read_text().splitlines():
            if row.startswith("==="):
                begin = row.find(" ") + 1
            # Before that column is what another server has.
            named |= set(re.findall(r"--[a-z][\w-]+", row[begin:]))
        self.assertIn("--drain-timeout", named)
        self.assertEqual(named - ours, set())

    def options(self, options: usage.Options) -> set[str]:
        """All long options."""
        return {f"--{each.rstrip('=')}" for each in options.longOpt}

    def test_code(self) -> None:
        """Python on a page comes from a file of the examples, all of which are run."""
        for page in self.docs.glob("*.rst"):
            with self.subTest(page=page):
                found = re.findall(
                    r"^\.\. code(?:-block)?:: *python", page.read_text(), re.MULTILINE
                )
                self.assertEqual(found, [], page.name)

    def test_examples(self) -> None:
        """The text of every example that is run is on a page."""
        shown = "".join(page.read_text() for page in self.docs.glob("*.rst"))
        examples = [each.name for each in (ROOT / "examples").iterdir() if each.is_file()]
        self.assertEqual([each for each in examples if each not in shown], [])
