"""The h2 library's state machine of a connection, adapted.

It gets one whole frame at a time, from a reader that has checked the size and the rate of frames
(`frames`). It does not check header fields, since it would end the connection for a fault in one
request, and sees no GOAWAY of the client, which it would treat as the end of all streams. Our own
GOAWAYs are made here for the same reason.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RemoteSettingsChanged
from h2.settings import SettingCodes
from h2.settings import Settings as H2Settings
from hyperframe.frame import GoAwayFrame

from ...config.server_settings import ServerSettings
from .field_decoder import FieldDecoder
from .frames import MAX_FRAME_SIZE, PREFACE

WINDOW = 1 << 20
"""Bytes that a client may send ahead, on a stream and on the connection, as Go's server has it.

It costs no memory: what arrives goes to the body's file at once.
"""

ALL_STREAMS = 2**31 - 1
"""A GOAWAY that names this one refuses none yet (RFC 9113 section 6.8)."""

_H2_DEFAULTS = {
    SettingCodes.HEADER_TABLE_SIZE: 4096,
    SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_SIZE,
}

_TABLE_SIZE = 4096
"""Bytes of the table that compresses responses; a client could make it grow without bound."""


class H2Machine(H2Connection):
    """Keeps the states of the streams and the windows of a connection, and makes its frames.

    Args:
        settings: the limits, of which the client is told.
    """

    # Of streams that have ended h2 remembers how; the default is 2 ** 16, some 10 MiB.
    MAX_CLOSED_STREAMS = 1000

    decoder: FieldDecoder

    def __init__(self, settings: ServerSettings) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                # What fields say is checked in `fields`.
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.local_settings = H2Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: settings.max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: settings.max_header_size,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            },
        )
        self.decoder = FieldDecoder(settings.max_header_size, settings.max_headers)
        self.initiate_connection()
        # A stream too many is not an error of the connection: a client that has not seen our
        # settings may open it. It is refused on its own.
        self.local_settings.max_concurrent_streams = 2**31 - 1
        self.local_settings.acknowledge()
        self.increment_flow_control_window(WINDOW - self.inbound_flow_control_window)
        self.receive_data(PREFACE)

    def limit_memory(self, event: RemoteSettingsChanged) -> None:
        """Keep no settings that mean nothing, and no larger table than we like."""
        for code in event.changed_settings:
            if not isinstance(code, SettingCodes):
                self.remote_settings.pop(code, None)
        changed = event.changed_settings.get(SettingCodes.HEADER_TABLE_SIZE)
        if changed is None:
            return
        encoder = self.encoder
        encoder.header_table_size = min(changed.new_value, _TABLE_SIZE)
        sizes = encoder.table_size_changes
        if len(sizes) > 1:
            # Only the smallest and the last are told (RFC 7541 section 4.2).
            encoder.table_size_changes = [min(sizes), sizes[-1]]

    def frame_size(self, number: int) -> int:
        """How much the client lets us send on a stream in one frame."""
        window = self.local_flow_control_window(number)
        return min(window, self.max_outbound_frame_size, MAX_FRAME_SIZE)


def comes_from_h2(first: RemoteSettingsChanged) -> bool:
    """Whether a client is built on the h2 library.

    It is recognized by its first SETTINGS, which spell out defaults of the protocol. (Another
    client that does so only learns later that the connection ends.)

    Args:
        first: the first settings of the client.
    """
    found = {code: changed.new_value for code, changed in first.changed_settings.items()}
    return found.items() >= _H2_DEFAULTS.items()


def goaway(last: int, code: ErrorCodes = ErrorCodes.NO_ERROR, detail: str = "") -> bytes:
    """A GOAWAY frame; after one of h2's own nothing could be sent any more.

    Args:
        last: the last stream that may have been answered.
        code: why.
        detail: for who reads the client's log.
    """
    frame = GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=detail.encode())
    return frame.serialize()
