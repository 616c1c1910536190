"""The settings of a server, which serves one application on its addresses."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SettingsError
from .option_types import (
    FileMode,
    FilePath,
    Flag,
    ListOf,
    NetworkList,
    Number,
    Permissions,
    RequestTarget,
    Text,
)
from .setting_fields import CheckedSettings, count, seconds, setting, size


@dataclass(frozen=True, kw_only=True)
class ServerSettings(CheckedSettings):
    """The settings of a server; every field has a production default.

    Raises:
        SettingsError: a value has the wrong type or is out of range.
    """

    # Twisted's 50 drops connections in any burst; 2048 is what gunicorn and uvicorn
    # ask for. The kernel caps it at net.core.somaxconn.
    backlog: int = count(
        2048, "connections", "how many connections the kernel queues for us", minimum=1
    )
    # Its user and its group, to which the proxy's user is added; systemd, nginx, uvicorn and
    # Twisted let everyone on the machine in.
    unix_mode: int = setting(
        FileMode(), Permissions(0o660), "permissions of a new UNIX socket; the umask does not count"
    )
    # As many as there are descriptors for: `http.io.connection_limit` says how that is computed.
    max_connections: int = count(
        0,
        "connections",
        "how many may be open, the kernel queues the others; 0: all servers of the process "
        "together three quarters of RLIMIT_NOFILE",
    )
    # Go's and Kestrel's hosts use 5 to 30; a head fits one segment, so even 5 is much.
    read_header_timeout: float = seconds(
        5,
        "how long a head may take from its first byte, and a new connection be silent; 0: for ever",
    )
    # Kestrel's MinRequestBodyDataRate and MinResponseDataRate: 240 bytes/s after 5 s of grace.
    read_timeout: float = seconds(5, "how long a body may stand still, or be too slow; 0: for ever")
    write_timeout: float = seconds(
        5, "how long a client may not read its answer, or too slowly; 0: for ever"
    )
    # A client that has closed its sending side may wait for its answer, or be gone for good.
    half_close_timeout: float = seconds(
        10, "how long a client that has closed its side may wait in vain; 0: for ever"
    )
    min_rate: float = setting(
        Number("bytes per second", whole=False),
        240,
        "what is too slow, for a body and for a reader, on average",
    )
    # Event streams and long polls take as long as they like.
    handler_timeout: float = seconds(
        0, "how long the application may take to begin its answer; 0: for ever"
    )
    # nginx's client_max_body_size.
    max_body_size: int = size(1 << 20, "the largest body of a request; 0: any")
    # nginx's large_client_header_buffers: 4 of 8 KiB, and a line in one of them.
    max_request_line: int = size(8192, "the longest request line", minimum=1)
    max_header_size: int = size(32768, "the largest head", minimum=1)
    # gunicorn's limit_request_fields.
    max_headers: int = count(100, "fields", "the most header fields of a request", minimum=1)
    # nginx has no limit unless max_ranges is set, but serves no file more than once; Apache's
    # MaxRanges is 200. Readers of PDF files ask for some tens.
    max_ranges: int = count(
        100,
        "ranges",
        "the most parts of a file that a request may ask for (Range); a request for more gets the "
        "whole file; 0: always the whole file",
    )
    # Django's DATA_UPLOAD_MAX_NUMBER_FIELDS; Werkzeug's max_form_parts is 1000, too.
    max_form_fields: int = count(
        1000, "fields", "the most fields or parts of a form; 0: any number"
    )
    # The body's limit, and that of the websockets library; uvicorn's ws_max_size is 16 MiB, which
    # a few clients could fill the memory with.
    max_message_size: int = size(
        1 << 20, "the largest message of a WebSocket, over all its fragments; 0: any"
    )
    max_requests_per_connection: int = count(
        0, "requests", "after how many a connection is closed, with notice; 0: never"
    )
    # What RFC 9113 section 6.5.2 recommends at least; nginx has 128.
    max_concurrent_streams: int = count(
        100, "requests", "how many a client may have open at a time in HTTP/2; 0: HTTP/1.1 only"
    )
    # As much as a socket's receive buffer holds anyway.
    spool_size: int = size(65536, "a larger body is kept in a temporary file")
    tls_cert: str = setting(
        FilePath("the path of a PEM file"),
        "",
        "the certificate, then those that sign it, and the key if that has no file of its own; "
        "with it ports speak TLS, unless they are written with http:",
    )
    tls_key: str = setting(FilePath("the path of a PEM file"), "", "the key of the certificate")
    # Kestrel's HandshakeTimeout; a handshake takes two round trips, and nginx has 60 s.
    tls_handshake_timeout: float = seconds(10, "how long a TLS handshake may take; 0: for ever")
    # Longer than the keep-alive pool of the usual load balancer (60 s at AWS and nginx),
    # so that it is the balancer that closes and not we, racing its next request.
    idle_timeout: float = seconds(
        75, "how long a connection may stay open between requests; 0: for ever"
    )
    # uvicorn's ws_ping_interval and ws_ping_timeout; a NAT forgets a silent connection after
    # minutes, and a client whose network is gone says nothing.
    websocket_ping_interval: float = seconds(
        20, "after how long a silent WebSocket is asked whether its client is there; 0: never"
    )
    websocket_ping_timeout: float = seconds(
        20, "how long a client may not answer that before its WebSocket is closed; 0: for ever"
    )
    # gunicorn's graceful_timeout, Kubernetes' terminationGracePeriodSeconds: 30.
    drain_timeout: float = seconds(
        30, "how long a drain waits for what was begun, then cuts it; 0: at once"
    )
    # None: only who has a load balancer that asks for readiness knows how often that asks.
    shutdown_delay: float = seconds(
        0, "how long a stop goes on accepting, not ready any more, before the drain"
    )
    # Long enough for a client that is about to send, short enough for a deploy.
    idle_grace: float = seconds(
        2, "how long, in a drain, a connection without a request is kept for one more"
    )
    # nginx's lingering_timeout is 5; a peer on a healthy network closes within a round trip.
    linger_timeout: float = seconds(
        2, "how long, after the last answer, a client may send nothing and not close; 0: not at all"
    )
    # None, as in gunicorn and twistd: it grows without end, so who wants one says where.
    access_log: str = setting(
        FilePath("path"),
        "",
        "where each request is logged; - for standard output; nowhere by default",
    )
    access_log_format: str = setting(
        # What every tool that reads logs reads; JSON says more.
        Text("combined or json", ("combined", "json")),
        "combined",
        "how: as Apache and nginx, or as JSON lines with duration, outcome and request id",
    )
    # None: which page opens the database is known to its author only.
    warm_up: tuple[str, ...] = setting(
        ListOf(RequestTarget("path or URL")),
        (),
        "what a new process must answer, in this order, before it serves; an error or a status of "
        "500 and more fails its start, or its upgrade",
    )
    # gunicorn's timeout; a first request may have caches to fill.
    warm_up_timeout: float = seconds(30, "how long each of these answers may take", minimum=0.001)
    # Off, since a proxy that does not set both fields passes on what clients send.
    proxy_headers: bool = setting(
        Flag(), False, "believe X-Forwarded-For and X-Forwarded-Proto of trusted proxies"
    )
    # Off: the header is either always there or never, so that no client can add one.
    proxy_protocol: bool = setting(
        Flag(), False, "every connection begins with a PROXY header, and comes from a trusted proxy"
    )
    # A proxy on the same machine; uvicorn's and gunicorn's default.
    forwarded_allow_ips: str = setting(
        NetworkList("addresses"),
        "127.0.0.1,::1",
        "the proxies that are trusted: addresses and networks, separated by commas; *: any",
    )
    # Twisted's own thread pool has 10.
    wsgi_threads: int = count(10, "threads", "how many threads run a WSGI application", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tls_key and not self.tls_cert:
            raise SettingsError("tls_key", self.tls_key, "given together with tls_cert")
