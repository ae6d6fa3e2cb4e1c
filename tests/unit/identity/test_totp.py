"""One-time codes, by the vectors of RFC 6238 appendix B (its eight digits end in our six)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from server.identity.local import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "digits"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_vectors_of_the_rfc(seconds: int, digits: str) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert totp.code(SECRET, seconds // 30) == digits[-6:]
    assert totp.step_of(SECRET, f" {digits[-6:-3]} {digits[-3:]}", moment, 0) == seconds // 30


def test_a_step_before_and_after_is_taken_and_no_other() -> None:
    now = datetime.fromtimestamp(1111111111, UTC)
    digits = totp.code(SECRET, 1111111111 // 30)
    taken = [apart for apart in range(-3, 4) if totp.step_of(SECRET, digits, now + timedelta(seconds=30 * apart), 0)]
    assert taken == [-1, 0, 1]


def test_a_step_is_taken_once_and_none_before_it() -> None:
    now = datetime.fromtimestamp(1111111111, UTC)
    step = 1111111111 // 30
    assert totp.step_of(SECRET, totp.code(SECRET, step), now, step) is None
    assert totp.step_of(SECRET, totp.code(SECRET, step - 1), now, step) is None
    assert totp.step_of(SECRET, totp.code(SECRET, step + 1), now, step) == step + 1


@pytest.mark.parametrize("typed", ["", "00000", "0000000", "١٢٣٤٥٦", "\ud800", "abcdef"])
def test_what_is_no_code(typed: str) -> None:
    assert totp.step_of(SECRET, typed, datetime.fromtimestamp(60, UTC), 0) is None


def test_what_an_application_reads_names_nobody_but_the_account() -> None:
    assert totp.uri(SECRET, "msg.exemple.fr", "Jeanne MARTIN") == (
        "otpauth://totp/msg.exemple.fr:Jeanne%20MARTIN?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=msg.exemple.fr"
    )
    assert len(totp.new_secret()) == totp.SECRET_BYTES
