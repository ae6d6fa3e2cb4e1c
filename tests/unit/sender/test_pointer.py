"""Pointers to large messages: their sizes, what they keep of a header, and what is no pointer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.errors import ProtocolViolation
from server.transport.pointer import Pointer, is_pointer, padded_size, read
from tests.store_world import NOON

HEADER = (
    b"From: <a@b.example>\r\nContent-Type: multipart/mixed;\r\n boundary=x\r\nX-MSS-MES: FIN\r\n"
    b"mime-version: 1.0\r\nSubject: un\r\n deux\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
)


@given(st.integers(0, 2**40))
def test_padding_is_small_and_names_few_sizes(size: int) -> None:
    padded = padded_size(size)
    assert size <= padded <= size * 1.12 + 1
    assert padded_size(padded) == padded
    assert size < 1_000_000 or padded <= size * 1.04


def test_few_sizes_are_told() -> None:
    assert len({padded_size(size) for size in range(10_000_000, 20_000_000, 997)}) < 100


def test_written_and_read() -> None:
    pointer = replace(Pointer.new("un.exemple.fr", 3_000_000, NOON), digest=bytes(32))
    message = pointer.to_message(HEADER)
    assert is_pointer(message)
    assert read(message) == pointer
    header = message.partition(b"\r\n\r\n")[0]
    assert b"multipart" not in header
    assert b"boundary" not in header
    assert b"8bit" not in header
    assert header.startswith(b"From: <a@b.example>\r\nX-MSS-MES: FIN\r\nSubject: un\r\n deux\r\n")
    assert header.count(b"MIME-Version") == header.count(b"Content-Type") == 1
    assert pointer.key.hex() not in repr(pointer)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"pointer": 1', b'"pointer": 2'),
        (b'"size": 3000000', b'"size": 9000000'),
        (b'"size": 3000000', b'"size": -1'),
        (b'"size": 3000000', b'"size": 1e400'),
        (b'"id": "', b'"id": "00'),
        (b'"key": "', b'"key": "AAAA'),
        (b'"sha256": "00', b'"sha256": "'),
        (b'"domain": "un.exemple.fr"', b'"domain": ["un.exemple.fr"]'),
        (b"+00:00", b""),
        (b"{", b"[" * 1_900),
        (b"{", b" " * 2_000 + b"{"),
        (b"}", b""),
    ],
)
def test_what_is_no_pointer(old: bytes, new: bytes) -> None:
    message = replace(Pointer.new("un.exemple.fr", 3_000_000, NOON), digest=bytes(32)).to_message(HEADER)
    assert old in message
    with pytest.raises(ProtocolViolation):
        read(message.replace(old, new, 1))
    assert not is_pointer(HEADER)
    assert not is_pointer(b"")
