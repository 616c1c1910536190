"""``--reload``: an upgrade whenever a source file changes, for development."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from threading import Event, Thread

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigError

Changes = Iterable[tuple[object, str]]
"""Changes that happened at about the same time: kinds and paths."""


class AutoReload(Service):
    """Watches files in a thread, and upgrades when some have changed.

    Args:
        reactor: runs ``upgrade``.
        watch: blocks, and yields changes until the event that it is given is set.
        upgrade: called after a change.
        serving: whether this process is the one to upgrade. During an upgrade two processes see
            the same change.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        watch: Callable[[Event], Iterable[Changes]],
        upgrade: Callable[[], None],
        serving: Callable[[], bool],
    ) -> None:
        self._reactor = reactor
        self._watch = watch
        self._upgrade = upgrade
        self._serving = serving
        self._stop = Event()
        self._ended: Deferred[None] = Deferred()

    def startService(self) -> None:
        """Start watching."""
        super().startService()
        self._stop, self._ended = Event(), Deferred()
        # Not from the reactor's thread pool, which is the application's: this thread never ends.
        Thread(target=self._run, args=(self._stop, self._ended), daemon=True).start()

    def stopService(self) -> Deferred[None]:
        """Stop watching.

        Returns:
            A Deferred that fires when the thread has ended.
        """
        super().stopService()
        self._stop.set()
        return self._ended

    def _run(self, stop: Event, ended: Deferred[None]) -> None:
        try:
            for changes in self._watch(stop):
                self._reactor.callFromThread(self._changed, sorted({path for _, path in changes}))
        except Exception:  # no more inotify watches, say
            self._reactor.callFromThread(self._failed, Failure())
        finally:
            self._reactor.callFromThread(ended.callback, None)

    def _changed(self, paths: list[str]) -> None:
        if self.running and self._serving():
            self._log.info("Changed: {files}; upgrading", files=", ".join(map(_short, paths)))
            self._upgrade()

    def _failed(self, failure: Failure) -> None:
        self._log.failure("Changes are not seen any more: {error}", failure, error=failure.value)


def _short(path: str) -> str:
    below = os.path.relpath(path)
    return path if below.startswith(os.pardir) else below


def watch_source(apps: Iterable[str], config: str) -> Callable[[Event], Iterator[Changes]]:
    """The ``watch`` of `AutoReload`, for Python files and the configuration file.

    Args:
        apps: names of applications, loaded or not.
        config: the path of the configuration file; empty if there is none.

    Raises:
        ConfigError: watchfiles is not installed.
    """
    try:
        from watchfiles import Change, PythonFilter, watch
    except ImportError:
        raise ConfigError(
            "--reload needs watchfiles: pip install 'twisted-graceful[reload]'"
        ) from None
    is_python = PythonFilter()
    # Now, before twistd changes to its --rundir.
    config = config and os.path.abspath(config)
    paths = watched_directories(apps, config)

    def counts(change: Change, path: str) -> bool:
        # A file whose name begins with a dot is temporary, or belongs to an editor.
        hidden = os.path.basename(path).startswith(".")
        return path == config or (not hidden and is_python(change, path))

    def changes(stop: Event) -> Iterator[Changes]:
        return watch(
            *paths,
            watch_filter=counts,
            stop_event=stop,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )

    return changes


def watched_directories(apps: Iterable[str], config: str) -> list[str]:
    """The directories of the source: the working directory, and those outside of it.

    A directory is watched and not a file, since editors replace files.

    Args:
        apps: names of applications, loaded or not.
        config: the absolute path of the configuration file; empty if there is none.
    """
    found = [each for name in apps for each in _of_module(re.split("[.:]", name)[0])]
    if config:
        found.append(os.path.dirname(config))
    here = os.getcwd()
    return [here, *sorted({each for each in found if os.path.commonpath([each, here]) != here})]


def _of_module(name: str) -> list[str]:
    module = sys.modules.get(name)
    if module is None:  # a master does not import what its workers serve
        spec = find_spec(name)
        packages = list((spec and spec.submodule_search_locations) or ())
        file = spec.origin if spec and spec.has_location else None
    else:
        packages = list(getattr(module, "__path__", []))  # several, in a namespace package
        file = getattr(module, "__file__", None)
    return [os.path.abspath(each) for each in packages or ([os.path.dirname(file)] if file else [])]
