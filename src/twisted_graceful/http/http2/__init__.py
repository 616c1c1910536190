"""HTTP/2 (RFC 9113), on the h2 library.

h2 keeps the frames, the states of the streams and the windows. What requests and responses say is
checked here, so that a fault of one stream ends that stream alone.

The face is `http2_connection`. This module can be imported without h2; the others cannot.
"""

from __future__ import annotations

from importlib.util import find_spec

from ..base_connection import Connection

AVAILABLE = find_spec("h2") is not None
"""Whether the library is installed: the extra ``http2``."""


def http2_connection() -> Connection:
    """A new connection; only the first one of a process imports the library."""
    from .connection import Http2Connection

    return Http2Connection()
