"""App passwords, and the networks that guesses of them are counted by."""

from __future__ import annotations

import base64

import pytest

from server.identity.passwords import app_password_hash, generate_app_password
from server.identity.throttle import network_of

KEY = b"k" * 32


def test_an_app_password_has_160_bits_and_no_space() -> None:
    password = generate_app_password()
    assert len(base64.b32decode(password.replace("-", "").upper())) * 8 == 160
    assert password.split() == [password]
    assert password != generate_app_password()


@pytest.mark.parametrize("typed", ["abcd-efgh", "ABCD EFGH", "abcdefgh", " abcd-efgh "])
def test_how_it_is_typed_does_not_matter(typed: str) -> None:
    assert app_password_hash(KEY, typed) == app_password_hash(KEY, "abcd-efgh")


def test_the_hash_needs_the_key() -> None:
    assert app_password_hash(KEY, "abcd") != app_password_hash(b"x" * 32, "abcd")
    assert app_password_hash(KEY, "abcd") != app_password_hash(KEY, "abce")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_the_network_that_one_customer_holds(host: str, network: str) -> None:
    assert network_of(host) == network
