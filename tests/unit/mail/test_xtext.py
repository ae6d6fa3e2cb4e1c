"""xtext, strictly."""

from __future__ import annotations

import pytest

from server.mail import xtext


@pytest.mark.parametrize(
    ("text", "plain"), [("", ""), ("QQ314159", "QQ314159"), ("a+2Bb+3Dc", "a+b=c"), ("a+20b", "a b"), ("~!", "~!")]
)
def test_what_it_stands_for(text: str, plain: str) -> None:
    assert xtext.decode(text) == plain


@pytest.mark.parametrize(
    "text", ["a b", "a=b", "a+", "a+2", "a+2b", "+0D+0A", "+00", "+7F", "+C3+A9", "é", "\udce9", "a\n"]
)
def test_what_is_none(text: str) -> None:
    assert xtext.decode(text) is None
