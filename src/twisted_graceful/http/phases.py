"""The phases of a connection, and which can follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class ConnectionPhase(Enum):
    """What a connection is doing."""

    HANDSHAKING = "in its TLS handshake"
    SILENT = "accepted, not a byte yet"
    IDLE = "between requests"
    READING = "sending its request"
    RESPONDING = "being answered"
    WEBSOCKET = "speaking WebSocket"
    WEBSOCKET_CLOSING = "closing its WebSocket"
    CLOSING = "reading its last answer"
    HANDING_OVER = "on its way to another process"


WAITING = (ConnectionPhase.SILENT, ConnectionPhase.IDLE)
"""The phases in which nothing has been begun."""

_WAITING_TO = {
    "a part of a request": ConnectionPhase.READING,
    "a whole request": ConnectionPhase.RESPONDING,
    "offered to another process": ConnectionPhase.HANDING_OVER,
    "its time or grace is over": ConnectionPhase.CLOSING,
}

FOLLOWS: Mapping[ConnectionPhase, Mapping[str, ConnectionPhase]] = {
    ConnectionPhase.HANDSHAKING: {
        "complete": ConnectionPhase.SILENT,
        "failed or too slow": ConnectionPhase.CLOSING,
    },
    ConnectionPhase.SILENT: {
        **_WAITING_TO,
        "the first bytes of a TLS handshake": ConnectionPhase.HANDSHAKING,
        "the preface of HTTP/2": ConnectionPhase.IDLE,
    },
    ConnectionPhase.IDLE: _WAITING_TO,
    ConnectionPhase.READING: {
        "the rest of it": ConnectionPhase.RESPONDING,
        "half a head, offered": ConnectionPhase.HANDING_OVER,
        "refused, too slow, cut": ConnectionPhase.CLOSING,
    },
    ConnectionPhase.RESPONDING: {
        "answered": ConnectionPhase.IDLE,
        "answered with 101": ConnectionPhase.WEBSOCKET,
        "the last answer, or cut": ConnectionPhase.CLOSING,
    },
    ConnectionPhase.WEBSOCKET: {
        "a Close frame": ConnectionPhase.WEBSOCKET_CLOSING,
        "lost or reset": ConnectionPhase.CLOSING,
    },
    ConnectionPhase.WEBSOCKET_CLOSING: {
        "the other Close frame, or none in time": ConnectionPhase.CLOSING
    },
    ConnectionPhase.HANDING_OVER: {
        "taken back: silent": ConnectionPhase.SILENT,
        "taken back: idle": ConnectionPhase.IDLE,
        "taken back: half a head": ConnectionPhase.READING,
    },
    ConnectionPhase.CLOSING: {},
}
"""Which phase can follow each phase, and when.

A connection that was handed over continues in the same phase in the other process. Each request
changes the phase twice, so nothing is looked up here in production; in the unit tests every change
is checked, and an illegal one raises and changes nothing (`tests/unit/checked_phase.py`).
"""
