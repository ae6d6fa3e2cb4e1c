"""Codes that people copy from paper: letters that are not mistaken for others, in groups of four, with a check letter.

The alphabet has 31 letters, a prime number: the check letter, a weighted sum modulo 31, finds every single wrong letter
and every two neighbours that changed places.
"""

from __future__ import annotations

import secrets

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # neither 0 and O nor 1, I and L
_GROUP = 4


def make(letters: int) -> str:
    """A random code of `letters` letters (4.95 bits each) but the last, which is the check letter; without hyphens."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(letters - 1))
    return drawn + _check(drawn)


def shown(code: str) -> str:
    """A code as it is shown: "ABCD-EFGH-…"."""
    return "-".join(code[start : start + _GROUP] for start in range(0, len(code), _GROUP))


def read(typed: str, letters: int) -> str | None:
    """The code that somebody typed, however they grouped it; None: it cannot be one, a letter is wrong or missing."""
    code = "".join(typed.upper().replace("-", " ").split())
    if len(code) != letters or not set(code) <= set(ALPHABET) or _check(code[:-1]) != code[-1]:
        return None
    return code


def _check(drawn: str) -> str:
    return ALPHABET[sum(place * ALPHABET.index(letter) for place, letter in enumerate(drawn, 1)) % len(ALPHABET)]
