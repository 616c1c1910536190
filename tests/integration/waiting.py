"""Waiting for something, with a deadline; looking at something all the while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, seconds: float = 15) -> T:
    """Wait until a condition holds.

    Returns:
        What the condition returned.

    Raises:
        AssertionError: it did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} seconds: {what}")
        time.sleep(0.02)
    return result


class Watch:
    """Look at something again and again while the test does something else.

    Args:
        look: returns what is wrong, or nothing.
    """

    def __init__(self, look: Callable[[], str]) -> None:
        self.wrong: list[str] = []
        self.looks = 0
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.005):
            try:
                found = self._look()
            except Exception as error:
                found = repr(error)
            self.looks += 1
            if found:
                self.wrong.append(found)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
