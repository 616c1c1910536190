"""The status line and body of error responses that the server sends itself."""

from __future__ import annotations

from twisted.web.http import RESPONSES

from .head import RequestRejected

CONTENT_TYPE = b"text/plain; charset=utf-8"

_REASONS = {429: b"Too Many Requests", 431: b"Request Header Fields Too Large"}
"""What Twisted's table of reason phrases lacks."""


def reason(status: int) -> bytes:
    """The reason phrase of a status."""
    return _REASONS.get(status) or RESPONSES[status]


def text(refused: RequestRejected) -> bytes:
    """The body of the response: what was rejected, and why."""
    return b"%d %b\n%b\n" % (refused.status, reason(refused.status), refused.detail.encode())
