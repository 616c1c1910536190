"""The modules of the package, for tests that read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import twisted_graceful

PACKAGE = Path(twisted_graceful.__file__).parent


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package, by its name within it; `__init__` for the package itself."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield (name if name == "__init__" else name.removesuffix(".__init__")), path
