"""Check digits, against numbers published by the authorities and against the mistakes that they are there to catch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.identifiers import (
    has_ins_form,
    ins_key,
    is_adeli,
    is_finess,
    is_ins,
    is_rpps,
    is_siren,
    is_siret,
    luhn_digit,
)

# Test identities of the French digital health agency.
OFFICIAL_INS = ["279035121518989", "146026322000196", "162018885045327"]
OFFICIAL_WITH_WRONG_KEY = ["288091234567823", "246037433000291"]


def test_rpps() -> None:
    assert is_rpps("99700237045")
    for wrong in (
        "99700237046",
        "9970023704",
        "997002370455",
        "9970023704a",
        "",
        "٩٩٧٠٠٢٣٧٠٤٥",
        " 99700237045",
        "99700237045\n",
    ):
        assert not is_rpps(wrong), wrong


def test_finess_with_corsica() -> None:
    # The hospitals of Ajaccio and Bastia: letters count as 1 and 2 beside the department's first digit.
    for right in ("2A0000014", "2B0000020"):
        assert is_finess(right)
    for wrong in ("2A0000020", "2B0000014", "2C0000014", "2a0000014", "2A000001", "2A00000140", "A20000014", ""):
        assert not is_finess(wrong), wrong


def test_siren_and_siret() -> None:
    assert is_siren("732829320")
    assert not is_siren("732829321")
    assert is_siret("73282932000074")
    assert not is_siret("73282932000075")
    assert is_siret("35600000000048")
    assert is_siret("35600000009075")  # La Poste: the sum of the digits is a multiple of five
    assert not is_siret("35600000009076")


def test_adeli() -> None:
    assert is_adeli("691234567")
    assert is_adeli("2A1234567")
    assert not is_adeli("69123456")


@pytest.mark.parametrize("number", OFFICIAL_INS)
def test_official_ins_hold(number: str) -> None:
    assert is_ins(number)
    assert ins_key(number[:13]) == number[13:]


@pytest.mark.parametrize("number", OFFICIAL_WITH_WRONG_KEY)
def test_some_official_examples_have_a_wrong_key(number: str) -> None:
    assert not is_ins(number)
    assert has_ins_form(number)


def test_ins_of_corsica() -> None:
    # 1 80 01 2A 004 001: 2A counts as 19, 2B as 18.
    assert ins_key("180012A004001") == f"{97 - 1800119004001 % 97:02d}"
    assert ins_key("180012B004001") == f"{97 - 1800118004001 % 97:02d}"
    assert is_ins("180012A004001" + ins_key("180012A004001"))
    assert not is_ins("180012A004001" + ins_key("180012B004001"))


@pytest.mark.parametrize(
    "number",
    [
        "",
        "27903512151898",
        "2790351215189890",
        "379035121518989",
        "279135121518989",
        "2790351215189x9",
        "２79035121518989",
    ],
)
def test_what_has_no_form_of_an_ins(number: str) -> None:
    assert not has_ins_form(number)
    assert not is_ins(number)


def test_an_error_does_not_tell_the_number() -> None:
    with pytest.raises(ValueError, match="13 characters") as raised:
        ins_key("27903512151")
    assert "279" not in str(raised.value)


@given(st.text("0123456789", min_size=10, max_size=10), st.integers(0, 10), st.integers(1, 9))
def test_luhn_catches_every_single_wrong_digit(stem: str, place: int, change: int) -> None:
    number = stem + luhn_digit(stem)
    assert is_rpps(number)
    wrong = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
    assert not is_rpps(wrong)


@given(st.sampled_from(OFFICIAL_INS), st.integers(0, 12), st.integers(1, 9))
def test_the_key_catches_every_single_wrong_digit(number: str, place: int, change: int) -> None:
    wrong = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
    assert not is_ins(wrong)
