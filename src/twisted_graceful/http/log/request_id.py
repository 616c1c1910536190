"""The ID that names a request in the logs of all servers that it passes."""

from __future__ import annotations

import re
import secrets
from itertools import count

_ACCEPTED = re.compile(rb"[0-9A-Za-z._~+/=:@-]{1,128}")

_PROCESS = secrets.token_hex(8)
"""Two processes number their requests alike, and two hosts may."""

_NUMBERS = count(1)


def new_request_id() -> str:
    """An identifier that no other request has, in this process or in any other."""
    return f"{_PROCESS}-{next(_NUMBERS):x}"


def accepted(value: bytes) -> str | None:
    """An identifier that a proxy gave to a request; None if it cannot stand in a log as it is."""
    return value.decode("ascii") if _ACCEPTED.fullmatch(value) else None
