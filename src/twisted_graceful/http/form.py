"""The fields of a query string or a form, in time that is proportional to their bytes.

Twisted reads forms with Python's parser for mail, before the application has seen the request.
That parser takes quadratic time for some of them: seconds for 50 KB. So forms are read here, when
the application asks for ``request.args``, and with a limit on their fields.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO
from urllib.parse import unquote_to_bytes

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from ..errors import FormError

Fields = dict[bytes, list[bytes]]
"""The values of each name, as in ``request.args``."""

_READ_SIZE = 65536


def parse_query(text: bytes, limit: int = 0) -> Fields:
    """Read a query string, or a form that is written like one.

    Like Twisted's ``parse_qs``: fields with an empty value count, those without ``=`` do not, and
    ``;`` separates fields as ``&`` does.

    Args:
        text: the fields.
        limit: how many there may be; 0 for any number.

    Raises:
        FormError: there are more.
    """
    fields: Fields = {}
    count = 0
    for each in text.replace(b";", b"&").split(b"&"):
        name, equals, value = each.partition(b"=")
        if equals:
            count += 1
            if 0 < limit < count:
                raise _too_many(limit)
            fields.setdefault(_decoded(name), []).append(_decoded(value))
    return fields


def _decoded(text: bytes) -> bytes:
    text = text.replace(b"+", b" ")
    return unquote(text) if b"%" in text else text


_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def unquote(text: bytes) -> bytes:
    """Decode percent-encoding; anything else stays as it is.

    The standard library raises and catches an exception for each ``%`` that does not begin an
    escape, which is slow. For real escapes it is faster.
    """
    if text.count(b"%") * len(b"%00") <= len(text):
        return unquote_to_bytes(text)
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), text)


def _read_multipart(content: IO[bytes], options: Mapping[str, str], limit: int) -> Fields:
    """Read a form in parts (RFC 7578)."""
    fields: Fields = {}
    try:
        # Latin-1, so that a name is the bytes that were sent.
        parser = PushMultipartParser(
            options.get("boundary", "").encode("latin-1"),
            header_charset="latin-1",
        )
        for count, (part, value) in enumerate(_parts(parser, content)):
            if 0 < limit <= count:
                raise _too_many(limit)
            if part.name:
                decode = _DECODERS.get((part.header("Content-Transfer-Encoding") or "").lower())
                fields.setdefault(part.name.encode("latin-1"), []).append(
                    decode(value) if decode else value
                )
    except ParserLimitReached as error:
        raise FormError(413, f"The head of a part of the form is too large: {error}.") from None
    except MultipartError as error:
        raise FormError(400, f"The form is malformed: {error}.") from None
    return fields


def _parts(
    parser: PushMultipartParser, content: IO[bytes]
) -> Iterator[tuple[MultipartSegment, bytes]]:
    """The parts of a form, each with its whole value."""
    part: MultipartSegment | None = None
    value: list[bytes] = []
    for event in parser.parse_blocking(content.read, _READ_SIZE):
        if isinstance(event, MultipartSegment):
            part, value = event, []
        elif event is not None:
            value.append(event)
        elif part is not None:
            yield part, b"".join(value)


def _from_base64(value: bytes) -> bytes:
    try:
        return binascii.a2b_base64(value + b"===")  # the padding may be missing
    except binascii.Error:
        return value


_DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "base64": _from_base64,
    "quoted-printable": binascii.a2b_qp,
}
"""Transfer encodings of parts: deprecated (RFC 7578 section 4.7), but Twisted decodes them."""


def _read_urlencoded(content: IO[bytes], options: Mapping[str, str], limit: int) -> Fields:
    return parse_query(content.read(), limit)


_READERS: Mapping[str, Callable[[IO[bytes], Mapping[str, str], int], Fields]] = {
    "application/x-www-form-urlencoded": _read_urlencoded,
    "multipart/form-data": _read_multipart,
}


def parse_form(content: IO[bytes], content_type: bytes, limit: int) -> Fields:
    """Read a form.

    Args:
        content: the body; its position is restored.
        content_type: a ``Content-Type`` field.
        limit: how many fields there may be; 0 for any number.

    Returns:
        Its fields; none if the body is not a form.

    Raises:
        FormError: it is malformed, or has too many fields.
    """
    kind, options = parse_options_header(content_type.decode("latin-1"))
    reader = _READERS.get(kind)
    if reader is None:
        return {}
    position = content.tell()
    content.seek(0)
    try:
        return reader(content, options, limit)
    finally:
        content.seek(position)


def _too_many(limit: int) -> FormError:
    return FormError(413, f"The form has over {limit} fields.", "max_form_fields")
