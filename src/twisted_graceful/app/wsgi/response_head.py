"""The head of a WSGI response, which is checked before any of it is sent."""

from __future__ import annotations

import re
from typing import NamedTuple

from twisted.web.http_headers import Headers

# Of a final response (RFC 9110 section 15). PEP 3333 asks for a reason; that may be empty.
_STATUS = re.compile(r"([2-5][0-9]{2}) (.*)", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_ABOUT_THE_CONNECTION = {
    *(b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Te", b"Trailer"),
    *(b"Transfer-Encoding", b"Upgrade"),
}
"""Fields that only the server sets (RFC 9110 section 7.6.1)."""

_NAMES: dict[str, bytes] = {}
"""Names that applications have used, in Twisted's spelling, so that each is checked once."""

_NAMES_LIMIT = 1000


class ResponseHead(NamedTuple):
    """The status and the fields of a response.

    Attributes:
        status: its code.
        reason: its reason phrase.
        fields: names, in Twisted's spelling, and values.
        length: what ``Content-Length`` says; None if there is none.
    """

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    length: int | None


def response_head(status: object, headers: object) -> ResponseHead:
    """The head that an application passes to ``start_response``.

    Fields about the connection are dropped, as gunicorn does; but ``Connection: close`` is kept,
    which ends it.

    Raises:
        TypeError: something is not of the type that PEP 3333 says.
        ValueError: it cannot be sent.
    """
    if not isinstance(status, str):
        raise TypeError(f"the status must be a str such as '200 OK', not {status!r}")
    found = _STATUS.fullmatch(status)
    if found is None:
        raise ValueError(f"the status must be like '200 OK', from 200 to 599, not {status!r}")
    reason = _encoded(found[2], "the status", status)
    if not isinstance(headers, list):
        raise TypeError(f"the headers must be a list of tuples, not {type(headers).__name__}")
    fields: list[tuple[bytes, bytes]] = []
    length: int | None = None
    for each in headers:
        if not isinstance(each, tuple) or len(each) != 2:
            raise TypeError(f"a header must be a tuple of a name and a value, not {each!r}")
        given, value = each
        if not isinstance(given, str) or not isinstance(value, str):
            raise TypeError(f"the name and the value of a header must be str, not {each!r}")
        name = _NAMES.get(given) or _learn(given)
        if name == b"Content-Length":
            if length is not None or _LENGTH.fullmatch(value) is None:
                raise ValueError(
                    f"there must be one Content-Length, and it must be a number, not {value!r}"
                )
            length = int(value)
        elif name in _ABOUT_THE_CONNECTION:
            if name == b"Connection" and value.lower() == "close":
                fields.append((name, b"close"))
            continue
        fields.append((name, _encoded(value, f"the header {given}", value)))
    return ResponseHead(int(found[1]), reason, fields, length)


def _encoded(text: str, what: str, whole: str) -> bytes:
    if _CONTROL.search(text):
        raise ValueError(f"{what} contains a control character: {whole!r}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"{what} contains characters outside Latin-1, which HTTP cannot send: {whole!r}"
        ) from None


def _learn(name: str) -> bytes:
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"the name of a header is malformed: {name!r}")
    [(spelled, _)] = Headers({name.encode("ascii"): [b""]}).getAllRawHeaders()
    if len(_NAMES) < _NAMES_LIMIT:
        _NAMES[name] = spelled
    return spelled
