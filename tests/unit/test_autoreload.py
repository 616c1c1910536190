"""Watching the source."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Iterator
from threading import Event
from types import ModuleType
from typing import Any
from unittest import SkipTest
from unittest.mock import patch

from twisted_graceful.cli.autoreload import AutoReload, Changes, watch_source, watched_directories
from twisted_graceful.errors import ConfigError

from ..case import SynchronousTestCase
from .support import temporary_directory

SECONDS = 10
"""What a thread may take on a busy machine."""


class HandReactor:
    """A reactor that does what other threads ask of it when it is told to."""

    def __init__(self) -> None:
        self._calls: queue.Queue[Any] = queue.Queue()

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        """Note a call."""
        self._calls.put((function, arguments))

    def turn(self) -> None:
        """Wait for the next call, and make it."""
        function, arguments = self._calls.get(timeout=SECONDS)
        function(*arguments)


class ReloadTests(SynchronousTestCase):
    """The service, with changes from the test."""

    def setUp(self) -> None:
        """A service that is started."""
        self.reactor = HandReactor()
        self.changes: queue.Queue[Any] = queue.Queue()
        self.upgrades = 0
        self.serving = True
        self.reload = AutoReload(self.reactor, self.watch, self.upgrade, lambda: self.serving)
        self.reload.startService()

    def watch(self, stop: Event) -> Iterator[Changes]:
        """Yield what the test puts there, and raise its errors, until it is told to stop."""
        while not stop.is_set():
            try:
                found = self.changes.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(found, Exception):
                raise found
            yield found

    def upgrade(self) -> None:
        """Count an upgrade."""
        self.upgrades += 1

    def change(self, *paths: str) -> None:
        """Let files change, and the reactor know."""
        self.changes.put({("modified", path) for path in paths})
        self.reactor.turn()

    def stop(self) -> None:
        """Stop the service, and wait for the end of its thread."""
        stopped = self.reload.stopService()
        self.assertNoResult(stopped)
        self.reactor.turn()
        self.successResultOf(stopped)

    def test_a_change_is_an_upgrade(self) -> None:
        """Files that change together are one upgrade, and each later change is another."""
        self.change("/a.py", "/b.py")
        self.assertEqual(self.upgrades, 1)
        self.change("/a.py")
        self.assertEqual(self.upgrades, 2)
        self.stop()

    def test_who_does_not_serve_does_nothing(self) -> None:
        """A change is left to the other process while that one serves, and not for longer."""
        self.serving = False
        self.change("/a.py")
        self.assertEqual(self.upgrades, 0)
        self.serving = True
        self.change("/a.py")
        self.assertEqual(self.upgrades, 1)
        self.stop()

    def test_a_change_at_the_stop(self) -> None:
        """A change that is heard of after the stop is nothing any more."""
        self.changes.put({("modified", "/a.py")})
        while not self.changes.empty():
            pass
        stopped = self.reload.stopService()
        while not stopped.called:
            self.reactor.turn()
        self.assertEqual(self.upgrades, 0)

    def test_started_again(self) -> None:
        """A service that was stopped can be started again."""
        self.stop()
        self.reload.startService()
        self.change("/a.py")
        self.assertEqual(self.upgrades, 1)
        self.stop()

    def test_a_system_that_does_not_watch(self) -> None:
        """If the system cannot watch, that is logged, and the stop does not wait."""
        self.changes.put(OSError("no inotify watches left"))
        self.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.stop()


class SourceTests(SynchronousTestCase):
    """What is watched."""

    def setUp(self) -> None:
        """Be in an empty directory."""
        self.addCleanup(os.chdir, os.getcwd())
        self.directory = temporary_directory(self)
        os.chdir(self.directory)

    def module(self, name: str, **attributes: object) -> None:
        """Have a module imported."""
        module = ModuleType(name)
        vars(module).update(attributes)
        sys.modules[name] = module
        self.addCleanup(sys.modules.pop, name)

    def test_directories(self) -> None:
        """The working directory is watched, and what of application and file is outside of it."""
        elsewhere = temporary_directory(self)
        package = os.path.join(elsewhere, "package")
        self.module("reload_inside", __file__=os.path.join(self.directory, "reload_inside.py"))
        self.module("reload_module", __file__=os.path.join(elsewhere, "reload_module.py"))
        self.module("reload_package", __file__=f"{package}/__init__.py", __path__=[package])
        self.module("reload_built_in")
        for apps, config, found in (
            ([], "", []),
            (["reload_inside.app"], "", []),
            (["reload_module:app"], "", [elsewhere]),
            (["reload_package.part.app", "reload_built_in.x"], "", [package]),
            ([], os.path.join(elsewhere, "graceful.toml"), [elsewhere]),
            ([], os.path.join(self.directory, "graceful.toml"), []),
        ):
            with self.subTest(apps=apps, config=config):
                self.assertEqual(watched_directories(apps, config), [self.directory, *found])

    def test_an_application_that_is_not_loaded(self) -> None:
        """A master, which loads none, watches where its workers find theirs; if there are any."""
        elsewhere = temporary_directory(self)
        self.patch(sys, "path", [elsewhere, *sys.path])
        for name in ("reload_single.py", "reload_several/__init__.py"):
            path = os.path.join(elsewhere, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        apps = ["reload_single.app", "reload_several.part.app", "reload_nowhere.app"]
        found = [elsewhere, os.path.join(elsewhere, "reload_several")]
        self.assertEqual(watched_directories(apps, ""), [self.directory, *found])
        self.assertNotIn("reload_single", sys.modules)

    def test_without_the_extra(self) -> None:
        """Without watchfiles the error says what to install."""
        with patch.dict(sys.modules, {"watchfiles": None}):
            error = self.assertRaises(ConfigError, watch_source, [], "")
        self.assertIn("pip install 'twisted-graceful[reload]'", str(error))

    def test_files_that_count(self) -> None:
        """Python files and the configuration count; hidden, compiled and other files do not."""
        try:
            import watchfiles
        except ImportError:
            raise SkipTest("watchfiles is not installed") from None
        asked: dict[str, Any] = {}

        def watch(*paths: str, **how: Any) -> Iterator[Changes]:
            asked.update(how, paths=paths)
            return iter(())

        self.patch(watchfiles, "watch", watch)
        stop = Event()
        changes = watch_source([], "graceful.toml")
        os.chdir("/")  # as twistd does, later
        list(changes(stop))
        self.assertEqual((asked["paths"], asked["stop_event"]), ((self.directory,), stop))
        for name, counts in (
            ("app.py", True),
            ("package/module.py", True),
            ("graceful.toml", True),
            ("other.toml", False),
            ("package/graceful.toml", False),
            (".app.py", False),
            ("app.pyc", False),
            ("__pycache__/app.py", False),
            (".git/hook.py", False),
        ):
            with self.subTest(name=name, counts=counts):
                path = os.path.join(self.directory, name)
                self.assertIs(asked["watch_filter"](watchfiles.Change.modified, path), counts)
