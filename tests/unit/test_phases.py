"""The table of the phases of connections, held against what connections do."""

from __future__ import annotations

from typing import Any
from unittest import defaultTestLoader

from twisted.trial.unittest import SynchronousTestCase

from twisted_graceful.http.base_connection import Connection
from twisted_graceful.http.phases import FOLLOWS, ConnectionPhase
from twisted_graceful.http.websocket.connection import WebSocket
from twisted_graceful.testing import MemoryServer

from .generations import GET, Generation

WALKS = (
    "test_registry",
    "test_handover.OnTheirWayTests",
    "test_http2.RequestTests",
    "test_tls.HandshakeTests.test_dripping",
    "test_websocket.HandshakeTests",
    "test_websocket.GoingAwayTests",
    "test_websocket.FlowTests",
)
"""Tests in which connections go all ways that there are; none is one of Hypothesis."""


class Recorder:
    """Stands in the place of the attribute `phase`, and keeps each change of it.

    Args:
        first: the phase before any was set.
    """

    def __init__(self, first: ConnectionPhase | None) -> None:
        self.first = first
        self.seen: set[tuple[ConnectionPhase, ConnectionPhase]] = set()

    def __get__(self, connection: Any, owner: Any) -> Any:
        return (
            vars(connection).get("phase", self.first or ConnectionPhase.SILENT)
            if connection
            else self
        )

    def __set__(self, connection: Any, phase: ConnectionPhase) -> None:
        before = vars(connection).get("phase", self.first)
        vars(connection)["phase"] = phase
        if before not in (None, phase):
            self.seen.add((before, phase))


class PhaseTests(SynchronousTestCase):
    """`FOLLOWS`."""

    def test_every_phase(self) -> None:
        """Each phase has a row."""
        self.assertEqual(set(FOLLOWS), set(ConnectionPhase))

    def take_back(self) -> None:
        """Offer a connection between requests, and in the head of one, and take it back."""
        server = MemoryServer(Generation(0))
        client = server.connect()
        client.send(GET)
        [connection] = server.connections
        for more in b"", GET[:9], b"\0" + GET[9:]:
            client.send(more)
            if connection.detach() is not None:
                connection.take_back()

    def test_changes(self) -> None:
        """Connections go all ways of the table, and no other."""
        recorders = Recorder(None), Recorder(ConnectionPhase.RESPONDING)
        for owner, recorder in zip((Connection, WebSocket), recorders, strict=True):
            self.patch(owner, "phase", recorder)
        names = [f"tests.unit.{each}" for each in WALKS]
        result = self.defaultTestResult()
        defaultTestLoader.loadTestsFromNames(names).run(result)
        self.take_back()
        self.flushLoggedErrors()  # which those tests have looked at
        self.assertEqual((result.errors, result.failures), ([], []))
        seen = recorders[0].seen | recorders[1].seen
        # When a handshake is complete another object takes its place.
        seen.add((ConnectionPhase.HANDSHAKING, ConnectionPhase.SILENT))
        table = {(before, after) for before, row in FOLLOWS.items() for after in row.values()}
        self.assertEqual(seen - table, set())
        self.assertEqual(table - seen, set())
