from __future__ import annotations

from itertools import combinations

import pytest

from crypto import escrow
from crypto.errors import CryptoError, IntegrityError


def test_enough_shares_open_what_was_sealed_and_fewer_do_not() -> None:
    public, shares = escrow.new(4, 3)
    document = escrow.sealed(public, b"tout")
    for some in combinations(shares, 3):
        assert escrow.opened(escrow.combined(some), document) == b"tout"
    for few in combinations(shares, 2):
        with pytest.raises(CryptoError, match="no secret"):
            escrow.combined(few)


def test_a_share_is_words_in_any_case_and_spacing_and_a_wrong_word_is_told() -> None:
    public, shares = escrow.new(2, 2)
    typed = f"  {shares[0].upper()}  "
    assert escrow.combined([typed, shares[1]]).public() == public
    words = shares[0].split()
    words[7], words[8] = words[8], words[7]
    with pytest.raises(CryptoError):
        escrow.combined([" ".join(words), shares[1]])


def test_another_escrow_does_not_open_it() -> None:
    (public, _), (_, others) = escrow.new(2, 2), escrow.new(2, 2)
    document = escrow.sealed(public, b"tout")
    with pytest.raises(IntegrityError):
        escrow.opened(escrow.combined(others), document)
    with pytest.raises(IntegrityError):
        escrow.opened(escrow.combined(others), document[:100])


@pytest.mark.parametrize(("shares", "threshold"), [(1, 1), (3, 4), (5, 1), (17, 3)])
def test_senseless_numbers_are_refused(shares: int, threshold: int) -> None:
    with pytest.raises(CryptoError):
        escrow.new(shares, threshold)
