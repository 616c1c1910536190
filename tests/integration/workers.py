"""Servers with workers."""

from __future__ import annotations

from . import proc
from .harness import Server, served
from .waiting import until

PROGRAM = """\
import app, twisted_graceful
twisted_graceful.listen_and_serve_forever("127.0.0.1:0", app.resource, workers=2, probation=0)
"""
BROKEN = 'raise RuntimeError("the new code is broken")\n'


def with_workers(*options: str, count: int = 2) -> Server:
    """A server with workers."""
    return served("--workers", str(count), *options)


def workers(server: Server, count: int = 2) -> set[int]:
    """The processes that serve, once there are as many as that and each answers."""
    master = server.pid

    def all_answer() -> set[int]:
        there = set(filter(proc.alive, proc.children(master)))
        seen = {int(server.get("/pid").body) for _ in range(4 * count)}
        return there if len(there) == count and seen == there else set()

    return until(all_answer, f"{count} workers answer")
