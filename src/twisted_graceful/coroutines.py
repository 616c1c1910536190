"""Coroutines that await Deferreds, and asyncio futures if the reactor is asyncio's."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")


def is_asyncio_reactor(reactor: object) -> bool:
    """Whether a reactor is asyncio's loop, which runs only in calls that the reactor makes."""
    module = sys.modules.get("twisted.internet.asyncioreactor")
    return module is not None and isinstance(reactor, module.AsyncioSelectorReactor)


def as_deferred(awaitable: Awaitable[T]) -> Deferred[T]:
    """A Deferred of what an awaitable returns or raises.

    If a loop of asyncio is running, one of its tasks runs the awaitable, otherwise Twisted does.
    """

    async def wait() -> T:
        return await awaitable

    loop = _running_loop()
    if loop is None:
        return ensureDeferred(wait())

    async def run() -> None:
        try:
            result = await _Both(wait(), loop)
        except BaseException:  # a task would let SystemExit end the loop
            result = Failure()
        if not finished.called:
            finished.callback(result)

    # The loop itself keeps no task alive.
    task = loop.create_task(run())
    finished: Deferred[T] = Deferred(lambda _: task.cancel())
    return finished


def _running_loop() -> Any:
    # Most programs do without asyncio, whose import takes its time.
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio and asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Both:
    """Lets a task of asyncio await a coroutine that awaits Deferreds as well.

    Args:
        steps: the coroutine.
        loop: of the task.
    """

    def __init__(self, steps: Coroutine[object, object, object], loop: AbstractEventLoop) -> None:
        self._steps = steps
        self._loop = loop

    def __await__(self) -> Generator[object, object, Any]:
        steps = self._steps
        go_on: Callable[[Any], object] = steps.send
        value: object = None
        while True:
            try:
                awaited = go_on(value)
            except StopIteration as stop:
                return stop.value
            try:
                if isinstance(awaited, Deferred):
                    value = yield from self._fired(awaited)
                else:
                    value = yield awaited
                go_on = steps.send
            except BaseException as error:
                go_on, value = steps.throw, error

    def _fired(self, deferred: Deferred[object]) -> Generator[object, object, Any]:
        """Wait for a Deferred, and keep its result in it."""
        future = self._loop.create_future()

        def fired(result: object) -> object:
            if not future.done():
                future.set_result(None)
            return result

        deferred.addBoth(fired)
        try:
            yield from future
        except BaseException:  # the task was cancelled
            deferred.addErrback(lambda _: None)
            deferred.cancel()
            raise
