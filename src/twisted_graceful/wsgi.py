"""Threads for WSGI applications, which outlive no drain and hinder no exit."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from twisted.python.threadpool import ThreadPool
from twisted.web.resource import IResource
from twisted.web.wsgi import WSGIResource


def _daemon_thread(*args: Any, **kwargs: Any) -> threading.Thread:
    return threading.Thread(*args, **kwargs, daemon=True)


class _DaemonThreadPool(ThreadPool):
    # The interpreter waits for other threads at exit, for ever if one hangs.
    threadFactory = staticmethod(_daemon_thread)  # type: ignore[assignment]


class Threads:
    """The threads of one server; none are started before an application needs them.

    Args:
        reactor: what answers are written in.
        size: how many threads at the most.
        environ: what every application finds in its environ beside what PEP 3333 says.
    """

    def __init__(self, reactor: Any, size: int, environ: Mapping[str, Any]) -> None:
        self._reactor = reactor
        self._size = size
        self._environ = environ
        self._pool: ThreadPool | None = None

    def resource(self, application: Any) -> IResource:
        """A resource that runs a WSGI application in these threads."""
        if self._pool is None:
            self._pool = _DaemonThreadPool(0, self._size, name="wsgi")
            self._pool.start()

        def with_environ(environ: dict[str, Any], start_response: Any) -> Any:
            environ.update(self._environ)
            return application(environ, start_response)

        resource: IResource = WSGIResource(self._reactor, self._pool, with_environ)
        return resource

    def stop(self) -> None:
        """Let the threads end; one that is still in the application does not hold the caller."""
        pool, self._pool = self._pool, None
        if pool is not None:
            # `stop` joins every thread: one whose request was cut may never return.
            threading.Thread(target=pool.stop, daemon=True, name="wsgi-stop").start()
