"""Check digits of the French national identifiers: RPPS (a professional), FINESS (a structure), INS (a patient).

Pure functions on text; none keeps or logs what it is given.
"""

from __future__ import annotations

import re

# Positions of a FINESS that may be a letter count as these digits under Luhn's sum: 2A0000014 and 2B0000020 hold.
_CORSICA_FINESS = {"2A": "21", "2B": "22"}
# référentiel INS: the department of birth in Corsica is replaced before the division.
_CORSICA_INS = {"2A": "19", "2B": "18"}
_TWICE = bytes.maketrans(b"0123456789", b"0246813579")  # doubled, and the digits of that added
_RPPS = re.compile(r"[0-9]{11}", re.ASCII)
_ADELI = re.compile(r"[0-9AB]{9}", re.ASCII)
_FINESS = re.compile(r"(?:[0-9]{2}|2A|2B)[0-9]{7}", re.ASCII)
_SIREN = re.compile(r"[0-9]{9}", re.ASCII)
_SIRET = re.compile(r"[0-9]{14}", re.ASCII)
# Sex (7 and 8 while waiting for a final number), year, month, department and commune, order. Months 20–42 and 50–99
# are given when the month of birth is not known.
_INS = re.compile(
    r"[1278][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])(?:[0-9]{2}|2[AB])[0-9]{6}",
    re.ASCII,
)


def _luhn_sum(digits: str) -> int:
    """Luhn's sum of ASCII digits, the last one counted once. An import asks it some million times."""
    numbers = digits.encode()
    return sum(numbers[-1::-2]) + sum(numbers[-2::-2].translate(_TWICE)) - ord("0") * len(numbers)


def luhn_digit(digits: str) -> str:
    """The digit to put after `digits` (ASCII digits only) so that Luhn's sum is a multiple of ten."""
    return str(-_luhn_sum(f"{digits}0") % 10)


def _luhn_holds(digits: str) -> bool:
    return _luhn_sum(digits) % 10 == 0


def is_rpps(text: str) -> bool:
    """11 digits, the last of them Luhn's."""
    return _RPPS.fullmatch(text) is not None and _luhn_holds(text)


def is_adeli(text: str) -> bool:
    """9 characters: department and rank. ADELI numbers have no key that all of them keep."""
    return _ADELI.fullmatch(text) is not None


def is_finess(text: str) -> bool:
    """9 characters, department first (2A and 2B for Corsica), the last of them Luhn's."""
    if _FINESS.fullmatch(text) is None:
        return False
    return _luhn_holds(_CORSICA_FINESS.get(text[:2], text[:2]) + text[2:])


def is_siren(text: str) -> bool:
    """9 digits, the last of them Luhn's."""
    return _SIREN.fullmatch(text) is not None and _luhn_holds(text)


def is_siret(text: str) -> bool:
    """14 digits, the last of them Luhn's. La Poste's (SIREN 356000000) are left to its own rule: a sum of fives."""
    if _SIRET.fullmatch(text) is None:
        return False
    return _luhn_holds(text) or (text.startswith("356000000") and sum(map(int, text)) % 5 == 0)


def ins_key(number: str) -> str:
    """The two digits of the key of an INS from its 13 first characters: 97 − (N mod 97).

    Raises ValueError: `number` is no such 13 characters.
    """
    digits = number[:5] + _CORSICA_INS.get(number[5:7], number[5:7]) + number[7:]
    if len(digits) != 13 or not (digits.isascii() and digits.isdigit()):
        raise ValueError("13 characters are needed")  # without the number: it is a patient's
    return f"{97 - int(digits) % 97:02d}"


def is_ins(text: str) -> bool:
    """15 characters: 13 of the number and its key. Official test numbers may have a wrong key: see `has_ins_form`."""
    return has_ins_form(text) and ins_key(text[:13]) == text[13:]


def has_ins_form(text: str) -> bool:
    """Whether 15 characters look like an INS, whatever its key says."""
    return len(text) == 15 and _INS.fullmatch(text[:13]) is not None and text[13:].isascii() and text[13:].isdigit()
