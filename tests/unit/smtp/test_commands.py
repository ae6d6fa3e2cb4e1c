"""Arguments of MAIL and RCPT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.errors import ProtocolViolation, Reason
from server.smtp.commands import parse


@pytest.mark.parametrize(
    ("argument", "address", "parameters"),
    [
        ("FROM:<a@b.fr>", "a@b.fr", {}),
        ("from:<a@b.fr> SIZE=12 body=8BITMIME SMTPUTF8", "a@b.fr", {"SIZE": "12", "BODY": "8BITMIME", "SMTPUTF8": ""}),
        ("FROM: <a@b.fr>", "a@b.fr", {}),
        ("FROM:<>", "", {}),
        ("FROM:<> AUTH=<>", "", {"AUTH": "<>"}),
        ("FROM:<@one.fr,@two.fr:a@b.fr>", "a@b.fr", {}),
        ('FROM:<"odd > name"@b.fr>', '"odd > name"@b.fr', {}),
        ('FROM:<"with \\" quote"@b.fr>', '"with \\" quote"@b.fr', {}),
        ("FROM:<é@b.fr> SMTPUTF8", "é@b.fr", {"SMTPUTF8": ""}),
        ("FROM:<a@b.fr>   SIZE=1", "a@b.fr", {"SIZE": "1"}),
    ],
)
def test_a_path(argument: str, address: str, parameters: dict[str, str]) -> None:
    assert parse(argument, "FROM:") == (address, parameters)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("a@b.fr", Reason.MALFORMED),
        ("FROM:a@b.fr", Reason.MALFORMED),
        ("FROM:<a@b.fr", Reason.MALFORMED),
        ("FROM:<a b@c.fr>", Reason.MALFORMED),
        ("FROM:<<a@b.fr>>", Reason.MALFORMED),
        ("FROM:<a@b.fr>SIZE=1", Reason.MALFORMED),
        ("FROM:<a@b.fr> SIZE=", Reason.MALFORMED),
        ("FROM:<a@b.fr> =1", Reason.MALFORMED),
        ("FROM:<a@b.fr> SIZE=1 size=2", Reason.MALFORMED),
        ("TO:<a@b.fr>", Reason.MALFORMED),
        ("FROM:<" + "a" * 255 + ">", Reason.BAD_ADDRESS),
        ("FROM:<\udce9@b.fr>", Reason.BAD_ADDRESS),
    ],
)
def test_a_bad_path(argument: str, reason: Reason) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        parse(argument, "FROM:")
    assert refused.value.reason is reason


@given(st.text(alphabet='FROM:<>"\\ab@. =1\udce9é', max_size=80))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        path = parse("FROM:" + text, "FROM:")
    except ProtocolViolation:
        return
    assert len(path.address.encode()) <= 254
    assert "\n" not in path.address
