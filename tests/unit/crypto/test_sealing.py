from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import CryptoError, IntegrityError
from crypto.sealing import (
    PUBLIC_BYTES,
    SEALED_OVERHEAD,
    WRAP_OVERHEAD,
    MailboxKey,
    message_info,
    open_sealed,
    seal,
    unwrap,
    wrap,
)

CONTENT = bytes(range(16))
MESSAGE_KEY = bytes(range(32))
INFO = message_info(7, CONTENT)


@pytest.fixture(scope="module")
def key() -> MailboxKey:
    return MailboxKey.generate()


@pytest.fixture(scope="module")
def sealed(key: MailboxKey) -> bytes:
    return seal(key.public(), MESSAGE_KEY, INFO)


def test_sealed_key_opens_with_the_private_key(key: MailboxKey, sealed: bytes) -> None:
    assert len(sealed) == len(MESSAGE_KEY) + SEALED_OVERHEAD
    assert open_sealed(key, sealed, INFO) == MESSAGE_KEY


def test_two_seals_differ(key: MailboxKey, sealed: bytes) -> None:
    assert seal(key.public(), MESSAGE_KEY, INFO) != sealed


def test_seeds_restore_the_key(key: MailboxKey, sealed: bytes) -> None:
    restored = MailboxKey.from_seeds(key.seeds())
    assert restored.public() == key.public()
    assert restored.symmetric() == key.symmetric()
    assert open_sealed(restored, sealed, INFO) == MESSAGE_KEY


@pytest.mark.parametrize("info", [message_info(8, CONTENT), message_info(7, CONTENT[::-1]), b""])
def test_sealed_key_is_bound_to_owner_and_content(key: MailboxKey, sealed: bytes, info: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_sealed(key, sealed, info)


def test_another_mailbox_cannot_open(sealed: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_sealed(MailboxKey.generate(), sealed, INFO)


def test_every_byte_of_a_sealed_key_counts(key: MailboxKey, sealed: bytes) -> None:
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1 << at % 8
        with pytest.raises(IntegrityError):
            open_sealed(key, bytes(changed), INFO)


@pytest.mark.parametrize("cut", [0, 1, 100, 1136, 1168])
def test_cut_sealed_key_does_not_open(key: MailboxKey, sealed: bytes, cut: int) -> None:
    with pytest.raises(IntegrityError):
        open_sealed(key, sealed[:cut], INFO)


@pytest.mark.parametrize("public", [b"", b"\x01", b"\x02" + bytes(PUBLIC_BYTES - 1), b"\x01" + b"\xff" * 1216])
def test_bad_public_key_is_refused(public: bytes) -> None:
    with pytest.raises(CryptoError):
        seal(public, MESSAGE_KEY, INFO)


@pytest.mark.parametrize("seeds", [b"", bytes(97), b"\x01" + bytes(95), b"\x01" + bytes(97)])
def test_bad_seeds_are_refused(seeds: bytes) -> None:
    with pytest.raises(CryptoError):
        MailboxKey.from_seeds(seeds)


def test_key_shows_itself_nowhere(key: MailboxKey) -> None:
    assert repr(key) == "MailboxKey(hidden)"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_symmetric_key_is_no_part_of_the_seeds(key: MailboxKey) -> None:
    assert len(key.symmetric()) == 32
    assert key.symmetric() not in key.seeds()
    assert key.symmetric() != MailboxKey.generate().symmetric()


@given(secret=st.binary(max_size=200), context=st.binary(max_size=40), key=st.binary(min_size=32, max_size=32))
def test_wrapped_secret_opens_again(secret: bytes, context: bytes, key: bytes) -> None:
    wrapped = wrap(key, secret, context)
    assert len(wrapped) == len(secret) + WRAP_OVERHEAD
    assert unwrap(key, wrapped, context) == secret
    with pytest.raises(IntegrityError):
        unwrap(key, wrapped, context + b"x")
    with pytest.raises(IntegrityError):
        unwrap(bytes(byte ^ 1 for byte in key), wrapped, context)


def test_every_bit_of_a_wrapped_secret_counts() -> None:
    wrapped = wrap(MESSAGE_KEY, b"secret", b"context")
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            unwrap(MESSAGE_KEY, bytes(changed), b"context")
    for cut in range(len(wrapped)):
        with pytest.raises(IntegrityError):
            unwrap(MESSAGE_KEY, wrapped[:cut], b"context")


def test_wrapping_key_has_32_bytes() -> None:
    with pytest.raises(CryptoError):
        wrap(bytes(16), b"secret", b"")


def test_owner_and_content_cannot_run_into_each_other() -> None:
    with pytest.raises(CryptoError):
        message_info(1, CONTENT + b"x")
