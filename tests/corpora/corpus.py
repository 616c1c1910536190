"""Cases of another server's suite: bytes, and what that server makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import SkipTest

from tests.unit.streams import Asked, serve

from ..case import SynchronousTestCase

VARIABLE = "TWISTED_GRACEFUL_CORPORA"
HOST = b"Host: added.example\r\n"


@dataclass(frozen=True)
class Expected:
    """A request that is to be accepted; None where the suite does not say."""

    method: bytes
    target: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] | None = None


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: what it is called there.
        stream: the bytes of a connection.
        accepted: the requests in it, up to the first that is none.
        refused: whether what follows them is refused, or is no whole request.
    """

    name: str
    stream: bytes
    accepted: tuple[Expected, ...]
    refused: bool


def directory(pattern: str) -> Path:
    """Where a distribution is unpacked.

    Raises:
        SkipTest: it is not there.
    """
    root = os.environ.get(VARIABLE)
    if not root:
        raise SkipTest(f"{VARIABLE} names no directory of source distributions")
    found = sorted(Path(root).glob(pattern))
    if not found:
        raise SkipTest(f"there is no {pattern} in {root}")
    return found[-1]


def with_host(stream: bytes) -> bytes:
    """The stream with the `Host` that HTTP/1.1 asks for, and that many suites leave out."""
    if b"\nhost" in stream.lower():
        return stream
    for version in (b" HTTP/1.1\r\n", b" HTTP/1.2\r\n"):
        stream = stream.replace(version, version + HOST)
    return stream


def agrees(case: Case) -> bool:
    """Whether our verdict on a case is the one of the suite."""
    outcome = serve(with_host(case.stream))
    if len(outcome.asked) != len(case.accepted):
        return False
    if not all(map(is_same, case.accepted, outcome.asked)):
        return False
    if case.refused:
        return bool(outcome.refusal) or not outcome.ended  # or it waits for what will not come
    return not outcome.refusal


def is_same(expected: Expected, asked: Asked) -> bool:
    """Whether a request is the one that is expected."""
    if (expected.method, expected.target, expected.body) != (
        asked.method,
        asked.target,
        asked.body,
    ):
        return False
    if expected.headers is None:
        return True
    added = (b"host", HOST[6:-2])
    sent = [field for field in asked.headers if field != added]
    return sent == list(Asked.of(b"", b"", b"", expected.headers, b"").headers)


class CorpusTestCase(SynchronousTestCase):
    """What the suites share."""

    def check(self, cases: Iterable[Case], deviations: Mapping[str, str], at_least: int) -> None:
        """We agree in all cases but those that are listed, with reasons; and there not.

        Args:
            cases: the suite.
            deviations: why our verdict is another one, by the name of the case.
            at_least: how many cases there are, so that none gets lost unnoticed.
        """
        cases = list(cases)
        self.assertGreaterEqual(len(cases), at_least)
        differing = {case.name for case in cases if not agrees(case)}
        self.assertEqual(differing, set(deviations))
