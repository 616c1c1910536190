"""What a connection is doing, and what that can lead to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Phase(Enum):
    """What a connection is doing."""

    HANDSHAKING = "in its TLS handshake"
    SILENT = "accepted, not a byte yet"
    IDLE = "between requests"
    READING = "sending its request"
    ANSWERING = "being answered"
    UPGRADED = "speaking WebSocket"
    LEAVING = "closing its WebSocket"
    CLOSING = "reading its last answer"
    MOVING = "on its way to another process"


WAITING = (Phase.SILENT, Phase.IDLE)
"""The phases in which nothing has been begun."""

_WAITING_TO = {
    "a part of a request": Phase.READING,
    "a whole request": Phase.ANSWERING,
    "offered to another process": Phase.MOVING,
    "its time or grace is over": Phase.CLOSING,
}

FOLLOWS: Mapping[Phase, Mapping[str, Phase]] = {
    Phase.HANDSHAKING: {"complete": Phase.SILENT, "failed or too slow": Phase.CLOSING},
    Phase.SILENT: {
        **_WAITING_TO,
        "the first bytes of a TLS handshake": Phase.HANDSHAKING,
        "the preface of HTTP/2": Phase.IDLE,
    },
    Phase.IDLE: _WAITING_TO,
    Phase.READING: {
        "the rest of it": Phase.ANSWERING,
        "half a head, offered": Phase.MOVING,
        "refused, too slow, cut": Phase.CLOSING,
    },
    Phase.ANSWERING: {
        "answered": Phase.IDLE,
        "answered with 101": Phase.UPGRADED,
        "the last answer, or cut": Phase.CLOSING,
    },
    Phase.UPGRADED: {"a Close frame": Phase.LEAVING, "lost or reset": Phase.CLOSING},
    Phase.LEAVING: {"the other Close frame, or none in time": Phase.CLOSING},
    Phase.MOVING: {
        "taken back: silent": Phase.SILENT,
        "taken back: idle": Phase.IDLE,
        "taken back: half a head": Phase.READING,
    },
    Phase.CLOSING: {},
}
"""What each phase is followed by, and when; whoever takes a moved connection up goes on in the
same one. Nothing looks here for each request: `tests/unit/test_phases.py` holds connections to it.
"""
