"""Codes that people copy from paper."""

from __future__ import annotations

import math

import pytest

from server.identity.local import codes
from server.identity.local.invitations import LETTERS
from server.identity.local.passwords import RECOVERY_LETTERS


def test_a_code_is_read_however_it_is_grouped() -> None:
    code = codes.make(20)
    assert codes.shown(code).count("-") == 4
    for typed in (codes.shown(code), code.lower(), f" {code[:3]} {code[3:]}\t"):
        assert codes.read(typed, 20) == code


def test_every_wrong_letter_and_every_two_that_changed_places_are_found() -> None:
    for _ in range(20):
        code = codes.make(16)
        for place in range(16):
            for letter in set(codes.ALPHABET) - {code[place]}:
                assert codes.read(code[:place] + letter + code[place + 1 :], 16) is None
        for place in range(14):
            one, two = code[place], code[place + 1]
            if one != two:
                assert codes.read(code[:place] + two + one + code[place + 2 :], 16) is None


@pytest.mark.parametrize("typed", ["", "0000", "é" * 20, "A" * 19, "A" * 21, "I" * 20, "\ud800" * 20, "A" * 100_000])
def test_what_is_no_code(typed: str) -> None:
    assert codes.read(typed, 20) is None


def test_no_code_can_be_guessed() -> None:
    bits = math.log2(len(codes.ALPHABET))
    assert (LETTERS - 4 - 1) * bits > 60  # without the letters that find it, and the check letter
    assert (RECOVERY_LETTERS - 1) * bits > 60
