"""What is known of revoked certificates: lists and answers fetched before, asked without a network.

Invariants:
- REVOKED and GOOD are said only by a signature of the certificate's own issuer (or the responder it appointed);
  whatever could not be checked is UNKNOWN, which is neither.
- Of several sources the newest word counts. A list past its end still proves that a certificate was revoked (RFC 5280
  §5.3.1: only "on hold" is ever undone), and no more that another is good.
- An anchor is trusted by configuration: nothing revokes it but the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from cryptography import x509

from crypto.pki.crl import Crl
from crypto.pki.ocsp import OcspAnswer
from crypto.pki.standing import Answer, Status

CACHED_ANSWERS = 4_096  # certificates seen lately; an entry is about 300 bytes
ANSWER_HOLDS = timedelta(minutes=1)  # a list that ends is noticed within this time
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

Knowledge = Crl | OcspAnswer


class Revocations:
    """All that a process knows. One object a process; `learn` replaces what the same source said before.

    Threads may ask while the event loop learns: nothing is changed in place.
    """

    def __init__(self) -> None:
        self._known: dict[str, Knowledge] = {}
        # a list is found by its issuer's name, an answer by the serial number it speaks of
        self._about: dict[x509.Name | int, tuple[Knowledge, ...]] = {}
        self._answers: dict[tuple[x509.Certificate, ...], tuple[Answer, datetime]] = {}

    def copy(self) -> Revocations:
        """Another object that knows the same, and learns for itself."""
        other = Revocations()
        other._known, other._about = dict(self._known), dict(self._about)
        return other

    def learn(self, knowledge: Knowledge) -> None:
        """Take it into account from now on, in the place of what its source said before."""
        self.forget(knowledge.source)
        self._known[knowledge.source] = knowledge
        self._about[knowledge.about] = (*self._about.get(knowledge.about, ()), knowledge)

    def forget(self, source: str) -> None:
        """What this source said no longer counts."""
        self._answers.clear()
        old = self._known.pop(source, None)
        if old is not None:
            self._about[old.about] = tuple(one for one in self._about[old.about] if one is not old)

    def sources(self) -> frozenset[str]:
        """Who said what is known."""
        return frozenset(self._known)

    def judge(self, path: Sequence[x509.Certificate], now: datetime) -> Answer:
        """The standing of a path from a leaf to its anchor (both included, its signatures checked before) at `now`.

        REVOKED when one of its certificates is, GOOD when none is, else UNKNOWN.
        """
        key = tuple(path)
        found = self._answers.get(key)
        if found is None or not found[1] <= now < found[1] + ANSWER_HOLDS:
            found = self._judge(path, now), now
            if len(self._answers) >= CACHED_ANSWERS:
                self._answers.clear()
            self._answers[key] = found
        return found[0]

    def _judge(self, path: Sequence[x509.Certificate], now: datetime) -> Answer:
        # One certificate is an anchor, or a path that nobody gave whole.
        if not path or (len(path) == 1 and path[0].subject != path[0].issuer):
            return Answer(Status.UNKNOWN)
        answers = [self.standing(certificate, issuer, now) for certificate, issuer in pairwise(path)]
        for status in (Status.REVOKED, Status.UNKNOWN):
            for answer in answers:
                if answer.status is status:
                    return answer
        return answers[0] if answers else Answer(Status.GOOD)

    def standing(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Answer:
        """The standing of one certificate; `issuer` is who signed it."""
        said = [
            answer
            for about in (issuer.subject, certificate.serial_number)
            for knowledge in self._about.get(about, ())
            if (answer := knowledge.answer(certificate, issuer, now)) is not None
        ]
        decided = [answer for answer in said if answer.status is not Status.UNKNOWN]
        newest = max(decided or said, key=lambda answer: answer.as_of or LONG_AGO, default=None)
        return newest or Answer(Status.UNKNOWN)
