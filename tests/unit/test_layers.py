"""Imports go down only, and none of them installs a reactor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import twisted_graceful

from .support import run_python

PACKAGE = Path(twisted_graceful.__file__).parent

LAYERS = [
    {"coroutines", "errors", "networks"},
    {"address", "clock", "twisted_internals", "handover_interface"},
    {"config"},
    {"http", "process", "app"},
    {"services"},
    {"ctl", "admin"},
    {"run", "cli"},
    {"testing"},
]
"""Lowest first. A part imports lower layers, and itself, but no other part of its layer."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package, by its name within it; `__init__` for the package itself."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield (name if name == "__init__" else name.removesuffix(".__init__")), path


def imports(name: str, path: Path) -> Iterator[str]:
    """The modules of the package that a module imports, in functions and for types too."""
    parents = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["twisted_graceful", *parents][: 2 - node.level + len(parents)]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            # `from . import x` imports a module, `from .x import y` may or may not.
            found = [f"{base}.{each.name}" for each in node.names]
        else:
            continue
        for each in found:
            if each.startswith("twisted_graceful."):
                yield each.removeprefix("twisted_graceful.")


class LayerTests(SynchronousTestCase):
    """All modules of the package."""

    def test_every_part_has_its_layer(self) -> None:
        """Each module and subpackage is in exactly one layer."""
        parts = {name.split(".")[0] for name, _ in modules()} - {"__init__"}
        self.assertEqual(sorted(parts), sorted(part for layer in LAYERS for part in layer))

    def test_imports_go_down_only(self) -> None:
        """No module imports another part of its own layer or of a higher one."""
        layer_of = {part: level for level, layer in enumerate(LAYERS) for part in layer}
        upward = [
            f"{name} imports {imported}"
            for name, path in modules()
            for imported in imports(name, path)
            if name != "__init__"  # the public names, loaded when they are used
            and (part := name.split(".")[0]) != (target := imported.split(".")[0])
            and layer_of[target] >= layer_of[part]
        ]
        self.assertEqual(upward, [])

    def test_imports_are_seen(self) -> None:
        """The test sees the imports of each form that the package uses."""
        seen = {name: set(imports(name, path)) for name, path in modules()}
        self.assertIn("errors.SettingsError", seen["config.settings"])
        self.assertIn("process.listeners.sockets", seen["services.listening"])
        self.assertIn("config.settings.Settings", seen["http.site"])
        self.assertIn("process.upgrade.inheritance.claim", seen["services.service"])

    def test_no_module_installs_a_reactor(self) -> None:
        """Whoever imports a module of ours can still choose the reactor."""
        names = [f"twisted_graceful.{name}" for name, _ in modules() if name != "__init__"]
        # One process for all: as long as none is found, each has been seen without.
        done = run_python(
            "-c",
            "import importlib, sys\n"
            "for name in ['twisted_graceful', *sys.argv[1:]]:\n"
            "    importlib.import_module(name)\n"
            "    assert 'twisted.internet.reactor' not in sys.modules, name\n"
            "print(len(sys.argv))",
            *names,
        )
        self.assertEqual((done.stderr, done.stdout), ("", f"{len(names) + 1}\n"))
