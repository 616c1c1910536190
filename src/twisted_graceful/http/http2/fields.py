"""Makes a `Head` of the field list of an HTTP/2 request, and a field list of a response.

Nothing in here does I/O. The sections are those of RFC 9113 where no other is named.
"""

from __future__ import annotations

import re

from twisted.web.http_headers import Headers

from ...config.server_settings import ServerSettings
from .. import head as heads
from ..head import Head, RequestRejected
from .field_decoder import FieldDecoder, Fields

_PSEUDO = (b":method", b":scheme", b":authority", b":path")

_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""What has no meaning in HTTP/2 (section 8.2.2)."""

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(rb"/[!\"$-~]*|\*")


class MalformedRequest(Exception):
    """A malformed request, which is an error of its stream (section 8.1.1).

    Args:
        detail: what was wrong.
    """


def read(fields: Fields) -> Head:
    """The head of a request, which has still to be checked.

    Args:
        fields: of its header.

    Raises:
        MalformedRequest: it cannot be told what was meant.
    """
    pseudo, regular = _split(fields)
    head = Head(_method(pseudo), _target(pseudo), b"HTTP/2", {})
    headers = head.headers
    for name, value in regular:
        known = _known(name)
        if known in headers:
            headers[known].append(value)
        else:
            headers[known] = [value]
    if len(headers.get(b"Cookie", ())) > 1:
        headers[b"Cookie"] = [b"; ".join(headers[b"Cookie"])]  # section 8.2.3
    _set_host(headers, pseudo.get(b":authority"))
    return head


def check(head: Head, exceeded: str, settings: ServerSettings, *, ended: bool) -> None:
    """Check a head, and take note of the body that it announces.

    Args:
        head: what `read` has returned.
        exceeded: the setting that its field list exceeds, as `FieldDecoder` says; empty if none.
        settings: the limits.
        ended: whether no body will come.

    Raises:
        RequestRejected: it is over a limit, or no valid request.
        MalformedRequest: it promises a body that does not come.
    """
    if head.method == b"CONNECT":
        raise RequestRejected(501, "This server is no tunnel.")
    # What the same request has in HTTP/1.1.
    if len(head.method) + len(head.target) + len(b"  HTTP/2") > settings.max_request_line:
        raise RequestRejected(
            414, f"The request line is over {settings.max_request_line} bytes.", "max_request_line"
        )
    if exceeded == "max_header_size":
        raise RequestRejected(
            431, f"The header is over {settings.max_header_size} bytes.", "max_header_size"
        )
    # A client may send each cookie as a field of its own: `read` has made one of them.
    if exceeded or sum(map(len, head.headers.values())) > settings.max_headers:
        raise RequestRejected(
            431, f"There are over {settings.max_headers} header fields.", "max_headers"
        )
    heads.check(head)
    if ended:
        if head.length:
            raise MalformedRequest("the body is shorter than its Content-Length")
    elif b"Content-Length" not in head.headers:
        head.length = None


def check_trailer(decoded: FieldDecoder) -> None:
    """Section 8.1: what comes after the body has no pseudo-header fields.

    Raises:
        MalformedRequest: it has, or is over a limit.
    """
    if decoded.exceeded:
        raise MalformedRequest("the trailer is too large")
    if any(name[:1] == b":" for name, _ in decoded.fields):
        raise MalformedRequest("the trailer has a pseudo-header field")


def response_fields(code: bytes, headers: Headers) -> Fields:
    """The fields of a response, without those that have no meaning in HTTP/2."""
    fields = [(b":status", code)]
    dropped = _CONNECTION_SPECIFIC
    options = headers.getRawHeaders(b"Connection")
    if options is not None:
        named = b",".join(options).lower().split(b",")
        dropped = dropped.union(option.strip() for option in named)
    for name, values in headers.getAllRawHeaders():
        for value in values:
            if value not in heads.SENDABLE:
                heads.check_sendable(name, value)
        lowered = name.lower()
        if lowered not in dropped:
            fields += [(lowered, value.strip(b" \t")) for value in values]
    return fields


def _split(fields: Fields) -> tuple[dict[bytes, bytes], Fields]:
    """The pseudo-header fields, and the others; sections 8.2 and 8.3."""
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in _PSEUDO:
            raise MalformedRequest("a pseudo-header field is unknown, or there twice")
        pseudo[name] = value
    regular = fields[len(pseudo) :]
    for name, value in regular:
        if name != name.lower() or name[:1] in (b":", b""):
            raise MalformedRequest("the name of a field is in upper case, empty, or out of place")
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
            raise MalformedRequest("a field is about the connection")
        if value != value.strip(b" \t"):
            raise MalformedRequest("the value of a field begins or ends with white space")
    text = b"".join(value for _, value in fields)
    if len(text.translate(None, heads.CONTROLS)) != len(text):
        raise MalformedRequest("a field holds a control character")
    return pseudo, regular


def _method(pseudo: dict[bytes, bytes]) -> bytes:
    method = pseudo.get(b":method", b"")
    if _METHOD.fullmatch(method) is None:
        raise MalformedRequest("the method is missing or malformed")
    return method


def _target(pseudo: dict[bytes, bytes]) -> bytes:
    """Section 8.3.1, and 8.5 for CONNECT."""
    target = pseudo.get(b":path", b"")
    if pseudo[b":method"] == b"CONNECT":
        authority = pseudo.get(b":authority", b"")
        if not authority or target or b":scheme" in pseudo:
            raise MalformedRequest("CONNECT has an authority, and nothing else")
        return authority
    if not pseudo.get(b":scheme"):
        raise MalformedRequest("the scheme is missing")
    if _PATH.fullmatch(target) is None:
        raise MalformedRequest("the path is missing or malformed")
    return target


def _known(name: bytes) -> bytes:
    try:
        return heads.known_name(name)
    except RequestRejected as refused:
        raise MalformedRequest(refused.detail) from None


def _set_host(headers: dict[bytes, list[bytes]], authority: bytes | None) -> None:
    """Section 8.3.1: the authority is the host."""
    if authority is None:
        return
    hosts = headers.setdefault(b"Host", [authority])
    if len(hosts) == 1 and hosts[0].lower() != authority.lower():
        raise MalformedRequest("the authority and the Host field differ")
    headers[b"Host"] = [authority, *hosts[1:]]
