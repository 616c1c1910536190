"""The threads that run WSGI applications. A drain waits for them; the exit does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import IResource

from ...reactors import IServerReactor
from ...timer import Timer
from .call import Call
from .environ import EnvironFactory
from .resource import WSGIResource

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def _daemon_thread(*args: Any, **kwargs: Any) -> threading.Thread:
    return threading.Thread(*args, **kwargs, daemon=True)


class _DaemonThreadPool(ThreadPool):
    # The interpreter waits for other threads at exit, for ever if one hangs.
    threadFactory = staticmethod(_daemon_thread)  # type: ignore[assignment]


class Threads:
    """The threads of one server; none are started before an application needs them.

    Args:
        reactor: writes the responses.
        size: the most threads at a time.
        extra: what every environ has beside the variables of PEP 3333.
        multiprocess: whether other processes run the same applications; asked for each request.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        size: int,
        extra: Mapping[str, object],
        multiprocess: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reactor = reactor
        self._size = size
        self._environ_factory = EnvironFactory(
            extra, multithread=size > 1, multiprocess=multiprocess
        )
        self._pool: ThreadPool | None = None
        self._calls: set[Call] = set()
        self._waiting: list[Deferred[None]] = []
        self._abandoned = False

    def resource(self, application: WSGIApplication) -> IResource:
        """A resource that runs a WSGI application in these threads."""
        if self._pool is None:
            self._pool = _DaemonThreadPool(0, self._size, name="wsgi")
            self._pool.start()
        return WSGIResource(
            application, self._environ_factory, self._run, self._reactor.callFromThread
        )

    @property
    def busy(self) -> int:
        """How many requests are in the application, or wait for a thread."""
        return len(self._calls)

    def _run(self, call: Call) -> None:
        assert self._pool is not None
        self._calls.add(call)
        call.when_over(self._over)
        self._pool.callInThread(call.run)

    def _over(self, call: Call) -> None:
        self._calls.discard(call)
        if not self._calls:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def finished(self, timeout: float) -> Deferred[None]:
        """Wait for the requests whose clients have gone, or have their response already.

        No connection waits for these, but the application may be in the middle of its work.

        Args:
            timeout: seconds.

        Returns:
            A Deferred that fires when no thread is busy, after the timeout, or with `abandon`.
        """
        if not self._calls or self._abandoned:
            return succeed(None)
        finished: Deferred[None] = Deferred()
        self._waiting.append(finished)
        timer = Timer(self._reactor)
        timer.start(timeout, self._tell_waiting)
        return finished.addCallback(lambda _: timer.cancel())

    def abandon(self) -> None:
        """Wait no longer, now or later."""
        self._abandoned = True
        self._tell_waiting()

    def stop(self) -> None:
        """Let the threads end; one that is still in the application does not hold the caller."""
        pool, self._pool = self._pool, None
        if pool is not None:
            # `stop` joins every thread: one whose request was cut may never return.
            threading.Thread(target=pool.stop, daemon=True, name="wsgi-stop").start()
