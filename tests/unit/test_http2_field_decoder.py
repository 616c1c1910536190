"""Header blocks: the same fields as hpack finds, and what is left out of those over a limit."""

from __future__ import annotations

import re

from h2.errors import ErrorCodes
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKError
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.support import examples
from twisted_graceful.http.http2.field_decoder import FieldDecoder
from twisted_graceful.http.http2.frames import Http2ConnectionError

from ..case import SynchronousTestCase

texts = st.one_of(st.sampled_from([b"", b"cookie", b"accept", b"gzip, deflate"]), st.binary())
headers = st.builds(
    lambda kind, name, value: kind(name, value),
    st.sampled_from([HeaderTuple, NeverIndexedHeaderTuple]),
    texts,
    texts,
)


MANY_UPDATES = re.compile(rb"([\x20-\x3e]|\x3f[\x80-\xff]*[\x00-\x7f]){3}")
"""More changes of the table's size than an encoder needs, which hpack accepts."""


class FieldDecoderTests(SynchronousTestCase):
    """The decoder of one connection."""

    def decode(self, *blocks: bytes, size: int = 1000, count: int = 10) -> FieldDecoder:
        """A decoder that has decoded some blocks."""
        decoder = FieldDecoder(size, count)
        for block in blocks:
            decoder.decode(block)
        return decoder

    @examples
    @given(st.lists(st.lists(headers, max_size=9), max_size=4), st.booleans())
    def test_what_was_encoded(self, lists: list[list[HeaderTuple]], huffman: bool) -> None:
        """Whatever an encoder makes is decoded, however little of it is kept."""
        encoder = Encoder()
        decoder, strict = FieldDecoder(1 << 20, 100), FieldDecoder(50, 2)
        for each in lists:
            block = encoder.encode(each, huffman=huffman)
            decoder.decode(block)
            strict.decode(block)
            self.assertEqual(decoder.fields, [(name, value) for name, value in each])
            self.assertEqual(decoder.exceeded, "")
            self.assertEqual(strict.fields, decoder.fields[: len(strict.fields)])
            self.assertEqual(
                strict.header_table.dynamic_entries, decoder.header_table.dynamic_entries
            )

    @examples
    @given(st.lists(st.binary(max_size=40), max_size=4))
    def test_any_bytes(self, blocks: list[bytes]) -> None:
        """Any bytes give the same fields, or the same rejection, as with hpack."""
        decoder, oracle = FieldDecoder(1 << 20, 1 << 20), Decoder(1 << 20)
        for block in blocks:
            assume(not MANY_UPDATES.match(block))
            try:
                expected = [(name, value) for name, value in oracle.decode(block, raw=True)]
            except (HPACKError, IndexError):
                self.assertRaises(Http2ConnectionError, decoder.decode, block)
                return
            decoder.decode(block)
            self.assertEqual(decoder.fields, expected)

    def test_limits(self) -> None:
        """Up to the limits all fields are kept, and the exceeded limit is named."""
        empty = b"\0\1x\0"  # counts 33 bytes
        cookie = b"\x0f\x11\0"  # 38
        method = b"\x82"  # 42
        for block, size, count, exceeded in (
            (empty * 10, 330, 10, ""),
            (empty * 10, 329, 10, "max_header_size"),
            (empty * 10, 330, 5, "max_headers"),
            (method * 10, 1000, 5, "max_headers"),
            (cookie * 200, 9000, 5, ""),
            (cookie * 201, 9000, 5, "max_headers"),
            (method * 4 + cookie * 9 + empty, 543, 1, ""),
            (method * 4 + cookie * 9 + empty, 542, 1, "max_header_size"),
            (b"\x40\1x\0" + b"\xbe" * 9999, 1000, 100, "max_header_size"),
        ):
            with self.subTest(block=block, size=size):
                decoder = self.decode(block, size=size, count=count)
                self.assertEqual((decoder.exceeded, decoder.length), (exceeded, len(block)))
                self.assertLessEqual(len(decoder.fields), 200)

    def test_malformed(self) -> None:
        """Invalid HPACK ends the connection, even in a part that is not kept."""
        over = b"\0\1x\0" * 40
        for block in (
            b"\x80",
            b"\xbe",
            over + b"\xbe",
            over + b"\x82\x82\xbe\x82",
            over + b"\x80",
            over + b"\x40\1x\2a",
            over + b"\x40\x81\xff\0",
            b"\x82\x20",
            b"\x3f\xe2\x1f",
            b"\x20" * 3,
            b"\xff" * 20,
            b"\0\1",
            b"\0",
        ):
            with self.subTest(block=block), self.assertRaises(Http2ConnectionError) as caught:
                self.decode(block)
            self.assertEqual(caught.exception.code, ErrorCodes.COMPRESSION_ERROR)
