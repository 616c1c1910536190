"""Merges the ranges of a file that a client asks for, before an application sees them.

Twisted's ``static.File`` serves all that is asked for, even the whole file 4,000 times. RFC 9110
section 14.2 lets a server ignore such requests; section 15.3.7.2 lets it coalesce ranges.
"""

from __future__ import annotations

import re
from math import ceil

from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.static import File

_OTHER_UNIT = re.compile(rb"(?!bytes[ \t]*=)[!#$%&'*+\-.^_`|~0-9A-Za-z]+=.*", re.IGNORECASE)
_RANGES = re.compile(rb"bytes[ \t]*=(.*)", re.IGNORECASE)
# 18 digits are more bytes than any file has.
_RANGE = re.compile(rb"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")

_NO_END = 10**18


def coalesced(value: bytes) -> list[bytes] | None:
    """The ranges of a ``Range`` field, of which no two overlap.

    Ranges that overlap or adjoin become one, at the position of the first. Of ranges that count
    from the end (``-500``) only the longest remains. So a response has each byte twice at most.

    Args:
        value: the field.

    Returns:
        The ranges; an empty list if the field is malformed, None if its unit is not bytes.
    """
    match = _RANGES.fullmatch(value)
    if match is None:
        return None if _OTHER_UNIT.fullmatch(value) else []
    suffix = -1  # the longest that counts from the end
    suffix_at = 0
    asked: list[tuple[int, int, int]] = []  # first, last, place
    for at, each in enumerate(match[1].split(b",")):
        each = each.strip(b" \t")
        if not each:
            continue  # empty list elements do not count (RFC 9110 section 5.6.1)
        spec = _RANGE.fullmatch(each)
        if spec is None:
            return []
        if spec[3] is not None:
            if suffix < 0:
                suffix_at = at
            suffix = max(suffix, int(spec[3]))
            continue
        first, last = int(spec[1]), int(spec[2] or _NO_END)
        if last < first:
            return []
        asked.append((first, last, at))
    ranges = _merged(asked)
    if suffix >= 0:
        ranges.append((suffix_at, b"-%d" % suffix))
    return [text for _, text in sorted(ranges)]


def resolved(ranges: bytes, size: int) -> bytes:
    """The ranges of a file whose size is known, none of which counts from the end.

    Twisted's ``static.File`` fails if such a range is longer than the file, which then is meant as
    a whole (RFC 9110 section 14.1.2), if it is empty, or if several begin behind the end.

    Args:
        ranges: a ``Range`` field with ranges as `coalesced` makes them.
        size: of the file, in bytes.

    Returns:
        A ``Range`` field. Its ranges are in the file; there is one at the end if none is.
    """
    texts = []
    for each in ranges.partition(b"=")[2].split(b","):
        if each[:1] != b"-":
            if int(each.partition(b"-")[0]) < size:
                texts.append(each)
        elif length := min(size, int(each[1:])):
            texts.append(b"%d-" % (size - length))
    merged = coalesced(b"bytes=" + b",".join(texts))
    return b"bytes=" + (b",".join(merged or ()) or b"%d-" % size)


def _merged(asked: list[tuple[int, int, int]]) -> list[tuple[int, bytes]]:
    """Ranges that neither overlap nor adjoin, each with its position."""
    merged: list[tuple[int, int, int]] = []
    for first, last, at in sorted(asked):
        if merged and first <= merged[-1][1] + 1:
            begin, end, place = merged[-1]
            merged[-1] = (begin, max(end, last), min(place, at))
        else:
            merged.append((first, last, at))
    return [
        (at, b"%d-" % first if last == _NO_END else b"%d-%d" % (first, last))
        for first, last, at in merged
    ]


def fit_to_file(headers: Headers, file: File) -> None:
    """Remove or replace the ranges of a request that a file cannot serve as they are.

    Args:
        headers: of the request; they are changed.
        file: what is asked for.
    """
    ranges = headers.getRawHeaders(b"Range")
    condition = headers.getRawHeaders(b"If-Range")
    try:
        file.restat()
        size, modified = file.getFileSize(), file.getModificationTime()
    except OSError:
        return  # there is no such file
    if condition is not None and condition != [datetimeToString(ceil(modified))]:
        # The client has a part of another version (RFC 9110 section 13.1.5).
        headers.removeHeader(b"Range")
    elif ranges is not None and ranges[0].startswith(b"bytes="):
        headers.setRawHeaders(b"Range", [resolved(ranges[0], size)])
