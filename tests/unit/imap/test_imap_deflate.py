"""COMPRESS=DEFLATE: the same text however the input was cut, bounded pieces, and an end where the stream is none."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.limits import IMAP_INFLATE
from server.imap.deflate import Inflater, deflated
from tests.imap_doubles import Backend, Wire, signed_in


def inflated(raw: bytes, pieces: int) -> tuple[bytes, bool]:
    """What comes out, and whether the stream is a good one so far."""
    inflater, out = Inflater(), b""
    for start in range(0, len(raw), pieces or len(raw)):
        inflater.feed(raw[start : start + (pieces or len(raw))])
        try:
            while piece := inflater.read(0):
                out += piece
        except zlib.error:
            return out, False
    return out, True


@given(st.lists(st.sampled_from([b"a NOOP\r\n", b"x" * 5_000, b"\r\n", b"b"])), st.binary(max_size=40))
def test_pieces_make_no_difference(text: list[bytes], tail: bytes) -> None:
    raw = deflated(b"".join(text)) + tail
    assert inflated(raw, 0) == inflated(raw, 1) == inflated(raw, 3)


def test_the_end_of_the_stream_is_an_error() -> None:
    ended = zlib.compress(b"a NOOP\r\n", wbits=-zlib.MAX_WBITS)
    assert inflated(ended, 0) == inflated(ended, 1) == (b"a NOOP\r\n", False)


def test_a_bomb_comes_out_in_small_pieces() -> None:
    inflater = Inflater()
    inflater.feed(deflated(bytes(50_000_000)))
    for literal in (0, 50_000_000):
        assert 0 < len(inflater.read(literal)) <= IMAP_INFLATE + 2_100  # one octet of input may end eight symbols
    assert inflater.waiting > 40_000


def test_answers_are_one_stream_and_share_no_dictionary() -> None:
    secret = os.urandom(400)
    answers = [deflated(secret), deflated(b""), deflated(secret)]
    assert len(answers[0]) == len(answers[2]) > 390
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(b"".join(answers)) == 2 * secret


@pytest.mark.parametrize("pieces", [0, 1])
async def test_what_is_no_stream_ends_the_session(pieces: int) -> None:
    wire = await signed_in(Backend(), pieces=pieces)
    await wire.ask(b"a COMPRESS DEFLATE")
    wire.dialogue.feed(b"\xff" * 10)
    while await wire.dialogue.step():
        continue
    assert wire.take() == b"* BYE The compressed stream is damaged\r\n"
    assert wire.dialogue.closed


async def test_a_bomb_of_a_line_meets_the_limit_of_a_line() -> None:
    wire: Wire = await signed_in(Backend())
    await wire.ask(b"a COMPRESS DEFLATE")
    await wire.send(b"x" * 30_000_000)
    assert b"BYE The line is too long" in wire.take()
