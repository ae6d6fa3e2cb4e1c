from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto import blob
from crypto.blob import CHUNK, HEADER, SEALED_CHUNK
from crypto.edge import Salts
from crypto.errors import CryptoError, IntegrityError, KeyMissing

KEY = bytes(range(32))
CONTENT = bytes(range(16))
OTHER = CONTENT[::-1]
SALTS = Salts.new()
SIZES = [0, 1, 15, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7, 3 * CHUNK]


def plain(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_blob_opens_again(size: int) -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, plain(size))
    assert len(sealed) == blob.sealed_size(size)
    assert blob.plain_size(len(sealed)) == size
    assert blob.decrypt(KEY, CONTENT, SALTS, sealed) == plain(size)


@given(size=st.sampled_from(SIZES), pieces=st.lists(st.integers(0, 2 * CHUNK), max_size=6))
@settings(max_examples=40, deadline=None)
def test_writer_makes_a_blob_whatever_the_pieces(size: int, pieces: list[int]) -> None:
    writer = blob.BlobWriter(KEY, CONTENT, SALTS)
    data, out, at = plain(size), [], 0
    for piece in pieces:
        out.append(writer.update(data[at : at + piece]))
        at += piece
    out += [writer.update(data[at:]), writer.finish()]
    sealed = b"".join(out)
    assert len(sealed) == blob.sealed_size(size)
    assert blob.decrypt(KEY, CONTENT, SALTS, sealed) == data


def test_finished_writer_takes_no_more() -> None:
    writer = blob.BlobWriter(KEY, CONTENT, SALTS)
    writer.finish()
    with pytest.raises(CryptoError):
        writer.finish()
    with pytest.raises(CryptoError):
        writer.update(b"x")


@given(size=st.sampled_from(SIZES), ends=st.tuples(st.integers(0, 4 * CHUNK), st.integers(0, 4 * CHUNK)).map(sorted))
@example(size=3 * CHUNK, ends=[CHUNK, 2 * CHUNK])
@example(size=CHUNK, ends=[CHUNK, CHUNK])
@settings(max_examples=150, deadline=None)
def test_range_is_the_slice_of_the_whole(size: int, ends: list[int]) -> None:
    start, end = ends
    sealed = blob.encrypt(KEY, CONTENT, SALTS, plain(size))
    a, b = blob.cipher_range(start, end, size)
    assert HEADER <= a <= b <= len(sealed)
    assert b - a <= max(0, end - start) + 2 * SEALED_CHUNK  # never the whole body for a little
    got = blob.decrypt_range(KEY, CONTENT, SALTS, sealed[a:b] or sealed[HEADER:], a, sealed[:HEADER], start, end, size)
    assert got == plain(size)[start:end]


def test_range_accepts_more_than_it_needs() -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, plain(3 * CHUNK))
    got = blob.decrypt_range(KEY, CONTENT, SALTS, sealed, 0, sealed[:HEADER], CHUNK + 5, CHUNK + 9, 3 * CHUNK)
    assert got == plain(3 * CHUNK)[CHUNK + 5 : CHUNK + 9]


def test_range_with_too_little_is_refused() -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, plain(3 * CHUNK))
    a, b = blob.cipher_range(CHUNK, CHUNK + 1, 3 * CHUNK)
    for part, offset in ((sealed[a : b - 1], a), (sealed[a + 1 : b], a + 1), (b"", a)):
        with pytest.raises(IntegrityError):
            blob.decrypt_range(KEY, CONTENT, SALTS, part, offset, sealed[:HEADER], CHUNK, CHUNK + 1, 3 * CHUNK)


def test_every_bit_of_a_blob_counts() -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, b"ordonnance")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((IntegrityError, KeyMissing)):
            blob.decrypt(KEY, CONTENT, SALTS, bytes(changed))


@given(bit=st.integers(0, 8 * blob.sealed_size(3 * CHUNK) - 1))
@settings(max_examples=60, deadline=None)
def test_bits_of_all_chunks_count(bit: int) -> None:
    changed = bytearray(THREE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((IntegrityError, KeyMissing)):
        blob.decrypt(KEY, CONTENT, SALTS, bytes(changed))


THREE = blob.encrypt(KEY, CONTENT, SALTS, plain(3 * CHUNK))
CHUNKS = [THREE[HEADER + n * SEALED_CHUNK : HEADER + (n + 1) * SEALED_CHUNK] for n in range(3)]


@pytest.mark.parametrize(
    "order", [[1, 0, 2], [0, 2, 1], [0, 0, 2], [0, 1], [0], [1, 2], [0, 1, 1, 2], [0, 1, 2, 2], []]
)
def test_chunks_cannot_be_swapped_repeated_or_dropped(order: list[int]) -> None:
    with pytest.raises(IntegrityError):
        blob.decrypt(KEY, CONTENT, SALTS, THREE[:HEADER] + b"".join(CHUNKS[n] for n in order))


def test_range_past_a_cut_is_refused() -> None:
    # The database says 2 chunks where there were 3: its "last" has no last-mark.
    with pytest.raises(IntegrityError):
        blob.decrypt_range(KEY, CONTENT, SALTS, THREE[HEADER:], HEADER, THREE[:HEADER], CHUNK, 2 * CHUNK, 2 * CHUNK)


def test_chunks_of_two_writings_do_not_mix() -> None:
    again = blob.encrypt(KEY, CONTENT, SALTS, plain(3 * CHUNK))
    assert again[HEADER:] != THREE[HEADER:]  # the same content twice: another blob number, another key
    with pytest.raises(IntegrityError):
        blob.decrypt(KEY, CONTENT, SALTS, THREE[: HEADER + SEALED_CHUNK] + again[HEADER + SEALED_CHUNK :])


@pytest.mark.parametrize("cut", [0, 1, HEADER, HEADER + 15, blob.sealed_size(10) - 1])
def test_cut_blob_does_not_open(cut: int) -> None:
    with pytest.raises(IntegrityError):
        blob.decrypt(KEY, CONTENT, SALTS, blob.encrypt(KEY, CONTENT, SALTS, plain(10))[:cut])


def test_blob_is_bound_to_content_label_key_and_salt() -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, b"x", b"body")
    for key, content, salts, label in (
        (KEY[::-1], CONTENT, SALTS, b"body"),
        (KEY, OTHER, SALTS, b"body"),
        (KEY, CONTENT, Salts.new(), b"body"),
        (KEY, CONTENT, SALTS, b"summary"),
    ):
        with pytest.raises(IntegrityError):
            blob.decrypt(key, content, salts, sealed, label)


def test_old_salts_still_open_and_unknown_ones_are_named() -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, b"x")
    rotated = SALTS.rotated()
    assert blob.decrypt(KEY, CONTENT, rotated, sealed) == b"x"
    newer = blob.encrypt(KEY, CONTENT, rotated, b"y")
    assert blob.decrypt(KEY, CONTENT, rotated, newer) == b"y"
    with pytest.raises(KeyMissing):
        blob.decrypt(KEY, CONTENT, SALTS, newer)


@given(st.binary(max_size=200))
def test_garbage_does_not_open(data: bytes) -> None:
    with pytest.raises((IntegrityError, KeyMissing)):
        blob.decrypt(KEY, CONTENT, SALTS, data)


def test_nonce_is_never_used_twice_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, by pieces, again and with another label: no two encryptions share key and nonce."""
    used: list[tuple[bytes, bytes]] = []

    class Recording:
        def __init__(self, key: bytes) -> None:
            self.key = key

        def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
            used.append((self.key, nonce))
            return b""

    monkeypatch.setattr(blob, "AESGCM", Recording)
    for label in (b"body", b"body", b"summary"):
        blob.encrypt(KEY, CONTENT, SALTS, plain(3 * CHUNK), label)
    writer = blob.BlobWriter(KEY, CONTENT, SALTS)
    writer.update(plain(3 * CHUNK))
    writer.finish()
    assert len(used) == 12
    assert len(set(used)) == len(used)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1_000, CHUNK, 10 * CHUNK])
def test_a_reader_opens_what_comes_in_pieces(size: int, step: int) -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, plain(size))
    reader = blob.BlobReader(KEY, CONTENT, SALTS, size)
    assert b"".join(reader.update(sealed[at : at + step]) for at in range(0, len(sealed), step)) == plain(size)
    assert reader.complete


def test_a_reader_sees_what_was_changed_or_cut() -> None:
    sealed = blob.encrypt(KEY, CONTENT, SALTS, plain(3 * CHUNK))
    reader = blob.BlobReader(KEY, CONTENT, SALTS, 3 * CHUNK)
    reader.update(sealed[:-1])
    assert not reader.complete
    for size in (3 * CHUNK - 1, 2 * CHUNK):
        with pytest.raises(IntegrityError):
            blob.BlobReader(KEY, CONTENT, SALTS, size).update(sealed)
    with pytest.raises(IntegrityError):
        blob.BlobReader(KEY, CONTENT, SALTS, 3 * CHUNK).update(sealed[:100] + bytes([sealed[100] ^ 1]) + sealed[101:])
