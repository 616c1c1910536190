"""What ps(1) shows."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from unittest.mock import patch

from twisted_graceful.process.host.title import set_title, title

from ..case import SynchronousTestCase
from .support import run_python


class TitleTests(SynchronousTestCase):
    """Titles of all kinds of processes."""

    def test_words(self) -> None:
        """A title says the role, the generation, and what is served."""
        self.assertEqual(
            [
                title(2, role="master", served="app.resource"),
                title(2, role="worker 3", served="a.one, b.two"),
                title(0),
            ],
            [
                "twisted-graceful: master, generation 2 [app.resource]",
                "twisted-graceful: worker 3, generation 2 [a.one, b.two]",
                "twisted-graceful: generation 0",
            ],
        )

    def test_without_the_extra(self) -> None:
        """If the library is not there nothing happens."""
        with patch.dict(sys.modules, {"setproctitle": None}):
            set_title("hello")

    def test_with_the_extra(self) -> None:
        """If it is there it is told the title."""
        said: list[str] = []
        module = ModuleType("setproctitle")
        module.setproctitle = said.append  # type: ignore[attr-defined]
        with patch.dict(sys.modules, {"setproctitle": module}):
            set_title("hello")
        self.assertEqual(said, ["hello"])

    def test_other_locales(self) -> None:
        """Whatever the locale, names are shown as they were typed, and none prevents a start."""
        code = (
            "import sys\n"
            "from twisted_graceful.process.host.title import set_title\n"
            "set_title(f'{sys.argv[1]} %s')\n"
            "print(ascii(open('/proc/self/cmdline', 'rb').read().strip(b'\\0 ').decode()))"
        )
        plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        for environ in ({"LC_ALL": "C", **plain}, {"LC_ALL": "POSIX"}, {"LC_ALL": "C.UTF-8"}):
            for more in ("", "\\u0142"):
                with self.subTest(environ=environ, more=more):
                    done = run_python(
                        "-c", code % more, "\u0142.app", env={**os.environ, **environ}
                    )
                    shown = ascii("\u0142.app" + (" \u0142" if more else ""))
                    self.assertEqual((done.stdout, done.stderr), (f"{shown}\n", ""))

    def test_the_system_shows_it(self) -> None:
        """The system's list of processes has it in the place of the command line."""
        done = run_python(
            "-c",
            "from twisted_graceful.process.host.title import set_title\n"
            "set_title('hello')\n"
            "print(open('/proc/self/cmdline').read().strip('\\0 '))",
        )
        self.assertEqual(done.stdout, "hello\n", done.stderr)
