"""Revocation lists and OCSP answers that came along in a signature (RFC 5652 §10.2.1, RFC 5940).

They are asked only where nothing of ours answers, so that nobody outdates what we know; each says what its own
signature lets it say, as if it had been fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from crypto.pki.crl import Crl
from crypto.pki.ocsp import OcspAnswer
from crypto.pki.revocation import Knowledge, Revocations
from crypto.pki.standing import Unusable

SOURCE = "in the signature"


def beside(known: Revocations, lists: Sequence[bytes], answers: Sequence[bytes]) -> Revocations:
    """What is `known` and what came along (DER; few and small by the bounds of a signature)."""
    both = known.copy()
    came: list[tuple[bytes, Callable[[bytes, str], Knowledge]]] = [(one, Crl.parse) for one in lists]
    came += [(one, OcspAnswer.parse) for one in answers]
    for number, (data, parse) in enumerate(came, 1):
        with suppress(Unusable):  # it says nothing to us
            both.learn(parse(data, f"{SOURCE}, {number}"))
    return both
