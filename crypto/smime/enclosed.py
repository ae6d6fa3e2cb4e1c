"""Revocation lists and OCSP answers that came along in a signature (RFC 5652 §10.2.1, RFC 5940).

They are asked only where nothing of ours answers, so that nobody outdates what we know; each says what its own
signature lets it say, as if it had been fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from cryptography import x509

from crypto.pki.crl import Crl
from crypto.pki.ocsp import OcspAnswer
from crypto.pki.revocation import Knowledge, Revocations
from crypto.pki.standing import Answer, Unusable

SOURCE = "in the signature"


class Enclosed:
    """What came along: DER of lists and answers, few and small by the bounds of a signature."""

    def __init__(self, lists: Sequence[bytes], answers: Sequence[bytes]) -> None:
        read: list[tuple[bytes, Callable[[bytes, str], Knowledge]]] = [(one, Crl.parse) for one in lists]
        read += [(one, OcspAnswer.parse) for one in answers]
        self._known: list[Knowledge] = []
        for number, (data, parse) in enumerate(read, 1):
            with suppress(Unusable):  # it says nothing to us
                self._known.append(parse(data, f"{SOURCE}, {number}"))

    def judge(self, path: Sequence[x509.Certificate], known: Revocations, now: datetime) -> Answer:
        """The standing of `path` by these and by what is `known`."""
        both = known.copy()
        for one in self._known:
            both.learn(one)
        return both.judge(path, now)
