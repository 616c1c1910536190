"""Coroutines that await Deferreds, and asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure

from twisted_graceful.app.conversion import as_resource
from twisted_graceful.coroutines import as_deferred
from twisted_graceful.errors import AppError

from ..case import SynchronousTestCase


async def turn() -> str:
    """Let the loop of asyncio go on."""
    await asyncio.sleep(0)
    return "turned"


class AsDeferredTests(SynchronousTestCase):
    """`as_deferred`, inside of a loop of asyncio and outside."""

    def within(self, make: Callable[[], Awaitable[Any]], cancel: bool = False) -> Any:
        """What comes of an awaitable in a loop: its result, or the exception."""
        results: list[Any] = []

        async def main() -> None:
            deferred = as_deferred(make())
            deferred.addBoth(results.append)
            if cancel:
                await turn()
                deferred.cancel()
            while not results:
                await turn()
            await turn()

        asyncio.run(main())
        [result] = results
        return result.value if isinstance(result, Failure) else result

    def test_both(self) -> None:
        """In a loop, Deferreds and what asyncio has can be awaited, in turns and as often."""
        later: list[Deferred[str]] = []

        async def make() -> list[Any]:
            got: list[Any] = [await turn(), await succeed("fired")]
            deferred: Deferred[str] = Deferred()
            asyncio.get_running_loop().call_soon(deferred.callback, "later")
            later.append(deferred)
            got += [await deferred, *await asyncio.gather(turn(), turn())]
            for error in (fail(KeyError("a")), asyncio.wait_for(asyncio.Event().wait(), 0)):
                try:
                    await error
                except (KeyError, asyncio.TimeoutError) as caught:
                    got.append(type(caught))
            return got

        expected = ["turned", "fired", "later", "turned", "turned", KeyError, asyncio.TimeoutError]
        self.assertEqual(self.within(make), expected)

    def test_errors(self) -> None:
        """What it raises fails the Deferred, also what would end the loop."""

        async def make(error: BaseException) -> None:
            await turn()
            raise error

        for error in (ValueError("x"), SystemExit(1), asyncio.CancelledError()):
            with self.subTest(error=error):
                self.assertIs(self.within(lambda error=error: make(error)), error)

    def test_cancelled(self) -> None:
        """A Deferred that is cancelled cancels what is awaited, of either kind."""
        ended: list[str] = []

        async def make(awaited: Awaitable[Any]) -> None:
            try:
                await awaited
            finally:
                ended.append("ended")

        def never() -> Any:
            return make(asyncio.Event().wait())

        def never_fires() -> Any:
            return make(Deferred(lambda _: ended.append("cancelled")))

        self.assertIsInstance(self.within(never, cancel=True), CancelledError)
        self.assertIsInstance(self.within(never_fires, cancel=True), CancelledError)
        self.assertEqual(sorted(ended), ["cancelled", "ended", "ended"])

    def test_without_a_loop(self) -> None:
        """Where no loop runs, a factory that awaits asyncio is told which reactor has one."""

        async def awaits_a_future() -> None:
            loop = asyncio.new_event_loop()
            self.addCleanup(loop.close)
            await loop.create_future()

        def needs_a_loop() -> Any:
            return asyncio.get_running_loop()

        for make in (lambda: asyncio.sleep(1), awaits_a_future):
            with self.subTest(make=make):
                failure = self.failureResultOf(as_resource(make, None), AppError)  # type: ignore
                self.assertIn("use twistd --reactor=asyncio", str(failure.value))
        error = self.assertRaises(AppError, as_resource, needs_a_loop, None)
        self.assertIn("use twistd --reactor=asyncio", str(error))
        self.assertEqual(self.successResultOf(as_deferred(succeed(1))), 1)
