"""HPACK (RFC 7541): decodes header blocks, at a cost in proportion to their bytes.

The table, the integers and the Huffman code are those of the hpack library. The loop is not:
hpack copies the rest of the block for each literal, and keeps every field of a block that is
rejected in the end. When a header exceeds a limit, no more of its fields are kept, but the table is
still updated, so that the connection can continue. Sections are those of RFC 7541 where no other is
named.
"""

from __future__ import annotations

import re

from h2.errors import ErrorCodes
from hpack import Decoder
from hpack.exceptions import HPACKDecodingError, HPACKError
from hpack.hpack import decode_integer
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from .frames import Http2ConnectionError

Fields = list[tuple[bytes, bytes]]

_STATIC = HeaderTable.STATIC_TABLE

_FIELD_OVERHEAD = 32
"""What each field counts for, in addition to its bytes (RFC 9113 section 6.5.2)."""

_PSEUDO_FIELDS = 4
"""Pseudo-header fields that a request can have (RFC 9113 section 8.3.1)."""

_MAX_COOKIES = 200
"""Fields with cookies: Chrome keeps 180 cookies for a site, and other browsers fewer."""

_REFERENCES = re.compile(rb"[\x81-\xfe]+")
"""Indexed fields of one byte each."""

_LONGEST_INTEGER = 16
"""More bytes than hpack accepts for an integer."""

_MAX_TABLE_UPDATES = 2
"""An encoder needs two at most, at the start of a block (section 4.2)."""


class FieldDecoder(Decoder):
    """HPACK for `h2.connection.H2Connection`, which is shown no fields.

    If it were shown a malformed field it would end the connection, with all requests on it.

    A block over a limit is decoded to its end, because the blocks after it may refer to what it
    adds to the table; but none of its further fields are kept, and only what goes into the table
    is decompressed.

    Args:
        max_size: bytes of one field list, as RFC 9113 section 6.5.2 counts them.
        max_fields: fields in one list, not counting pseudo-header fields and cookies: a client may
            send each cookie as a field of its own (RFC 9113 section 8.2.3).

    Attributes:
        fields: the field list that was decoded last, as far as it is within the limits.
        length: bytes of its block.
        exceeded: the setting that it exceeds; empty if it is within the limits.
    """

    def __init__(self, max_size: int, max_fields: int) -> None:
        super().__init__(max_header_list_size=max_size)
        self.fields: Fields = []
        self.length = 0
        self.exceeded = ""
        self._max_size = max_size
        self._max_fields = max_fields + _PSEUDO_FIELDS

    def decode(self, data: bytes, raw: bool = False) -> list:  # type: ignore[type-arg]
        """Decode a block into `fields`.

        Raises:
            Http2ConnectionError: it is not valid HPACK.
        """
        self.fields = []
        self.length = len(data)
        self.exceeded = ""
        try:
            self._decode(bytes(data))
        except HPACKError as error:
            raise Http2ConnectionError(ErrorCodes.COMPRESSION_ERROR, str(error)) from None
        except IndexError:
            raise Http2ConnectionError(
                ErrorCodes.COMPRESSION_ERROR, "a header block is incomplete"
            ) from None
        return []

    def _decode(self, data: bytes) -> None:
        at, end = self._update_table(data), len(data)
        table, fields = self.header_table, self.fields
        size = count = cookies = 0
        while at < end:
            first = data[at]
            if first >= 0x80:  # section 6.1
                if self.exceeded and (run := _REFERENCES.match(data, at)):
                    table.get_by_index(max(run[0]) & 0x7F)  # the others are in the table too
                    at = run.end()
                    continue
                index, at = _integer(data, at, 7)
                field = _STATIC[index - 1] if 0 < index <= 61 else table.get_by_index(index)
            else:
                field, at = self._literal(data, at, first)
            if self.exceeded:
                continue
            name, value = field
            size += len(name) + len(value) + _FIELD_OVERHEAD
            if name == b"cookie":
                cookies += 1
            else:
                count += 1
            if size > self._max_size:
                self.exceeded = "max_header_size"
            elif count > self._max_fields or cookies > _MAX_COOKIES:
                self.exceeded = "max_headers"
            else:
                fields.append((name, value))

    def _update_table(self, data: bytes) -> int:
        """Section 6.3: changes of the table's size, at the start of a block."""
        at = count = 0
        while at < len(data) and 0x20 <= data[at] < 0x40:
            size, at = _integer(data, at, 5)
            count += 1
            if size > self.max_allowed_table_size or count > _MAX_TABLE_UPDATES:
                raise HPACKDecodingError("the size of the table is changed too often, or too large")
            self.header_table_size = size
        return at

    def _literal(self, data: bytes, at: int, first: int) -> tuple[tuple[bytes, bytes], int]:
        """Section 6.2."""
        indexed = first >= 0x40
        if not indexed and first >= 0x20:
            raise HPACKDecodingError("the size of the table is changed after the first field")
        wanted = indexed or not self.exceeded
        # Most integers and lengths are one byte, and most short strings of an attacker plain:
        # these are read without a call.
        bits = 6 if indexed else 4
        reference = first & ((1 << bits) - 1)
        if reference == (1 << bits) - 1:
            reference, at = _integer(data, at, bits)
        else:
            at += 1
        if reference:
            name = self.header_table.get_by_index(reference)[0]
        else:
            name, at = _string(data, at, wanted)
        length = data[at]
        if length < 0x7F:
            at += 1 + length
            if at > len(data):
                raise _overlong()
            value = data[at - length : at]
        else:
            value, at = _string(data, at, wanted)
        if indexed:
            self.header_table.add(name, value)
        return (name, value), at


def _integer(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """Section 5.1: an integer, and where it ends."""
    most = (1 << bits) - 1
    value = data[at] & most
    if value < most:
        return value, at + 1
    more = data[at + 1]
    if more < 0x80:
        return value + more, at + 2
    value, consumed = decode_integer(data[at : at + _LONGEST_INTEGER], bits)
    return value, at + consumed


def _string(data: bytes, at: int, wanted: bool) -> tuple[bytes, int]:
    """Section 5.2: a string, or an empty one if it is not wanted, and where it ends."""
    length = data[at]
    if length < 0x7F:
        end = at + 1 + length
        if end > len(data):
            raise _overlong()
        return data[at + 1 : end], end
    compressed = length & 0x80
    length, at = _integer(data, at, 7)
    end = at + length
    if end > len(data):
        raise _overlong()
    if not wanted:
        return b"", end
    return (decode_huffman(data[at:end]) if compressed else data[at:end]), end


def _overlong() -> HPACKDecodingError:
    return HPACKDecodingError("a string is longer than its block")
