"""The trust space as a process knows it: which domains are in it, which operators speak for them, and whether a peer's
certificate is known to be revoked.

Fed by the white list and, beside it, by the operator's own setting `trust.members`. Every question is answered from
memory; a new list takes the place of the old one between two questions.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from crypto.pki.revocation import Revocations
from crypto.pki.standing import Answer, Status
from server.base import metrics
from server.base.errors import CaduceeError, Reason, Refused, TryLater
from server.trust.members import DistinguishedName, DistinguishedNameError, Peer
from server.trust.white_list import WhiteList

PATHS = 4_096  # peers' certificates remembered for sessions that are resumed, some 5 KB each
NOTED = 10_000  # certificates remembered as noted today: of some hundred operators, and signers of each authority

log = structlog.get_logger()


class TrustSpace:
    """Subjects of operators' certificates and the domains each speaks for (lower case, A-labels)."""

    def __init__(
        self,
        members: Mapping[str, Iterable[str]],
        *,
        strict: bool = False,
        revocations: Revocations | None = None,
    ) -> None:
        """`members` maps a domain to names as text; `strict`: nobody is spoken with whose revocation is unknown;
        `revocations`: what is known of them, where others of the process ask it too.

        Raises DistinguishedNameError naming the domain.
        """
        self._members: list[tuple[str, DistinguishedName]] = []
        for domain, names in members.items():
            try:
                self._members += [(domain.lower(), DistinguishedName.parse(name)) for name in names]
            except DistinguishedNameError as error:
                raise DistinguishedNameError(f"trust.members, domain {domain}: {error}") from None
        self._strict = strict
        self.white_list: WhiteList | None = None
        self.revocations = Revocations() if revocations is None else revocations
        self._paths: OrderedDict[bytes, tuple[x509.Certificate, ...]] = OrderedDict()
        self._noted: dict[bytes, date] = {}
        self.to_note: dict[bytes, tuple[x509.Certificate, ...]] = {}
        self._fill(self._members)

    def replace(self, white_list: WhiteList) -> None:
        """From now on this list holds, beside the settings' members."""
        self.white_list = white_list
        self._fill([*self._members, *((row.domain, row.subject) for row in white_list.entries)])

    def _fill(self, rows: Iterable[tuple[str, DistinguishedName]]) -> None:
        domains: defaultdict[DistinguishedName, set[str]] = defaultdict(set)
        for domain, subject in rows:
            domains[subject.either_way].add(domain)
        self._domains: Mapping[DistinguishedName, frozenset[str]] = {
            subject: frozenset(of_it) for subject, of_it in domains.items()
        }
        self._listed = frozenset(domain for of_it in self._domains.values() for domain in of_it)
        metrics.TRUST_DOMAINS.set(len(self._listed))

    # Who may speak

    def lists(self, domain: str) -> bool:
        """Whether the domain is in the trust space."""
        return domain in self._listed

    def may_speak_for(self, subject: DistinguishedName, domain: str) -> bool:
        """Whether an operator with this subject is listed for the domain."""
        return domain in self.domains_of(subject)

    def domains_of(self, subject: DistinguishedName) -> frozenset[str]:
        """The domains that this operator may speak for."""
        return self._domains.get(subject.either_way, frozenset()) if subject.attributes else frozenset()

    # Revocation

    def issuers(self) -> list[x509.Certificate]:
        """The authorities of the peers that were met."""
        paths = list(self._paths.values())
        return list({issuer.fingerprint(hashes.SHA256()): issuer for path in paths for issuer in path[1:]}.values())

    def peer(self, path: Sequence[bytes]) -> Peer:
        """Who showed this path (DER), which TLS verified. Raises ValueError: no certificate.

        A resumed session shows the first certificate alone: its path is remembered from the whole handshake, which was
        with this process.
        """
        peer = Peer.from_path(path)
        fingerprint = peer.path[0].fingerprint(hashes.SHA256())
        if len(peer.path) == 1 and fingerprint in self._paths:
            peer = replace(peer, path=self._paths[fingerprint])
        self._paths[fingerprint] = peer.path
        self._paths.move_to_end(fingerprint)
        if len(self._paths) > PATHS:
            self._paths.popitem(last=False)
        return peer

    def objection(self, path: tuple[x509.Certificate, ...], now: datetime) -> CaduceeError | None:
        """Why nobody with this certificate is spoken with now: CERTIFICATE_REVOKED, or when strict
        REVOCATION_UNKNOWN. What could not be checked is never taken for revoked, nor for good."""
        return self._objection(self.revocations.judge(path, now))

    def _objection(self, answer: Answer) -> CaduceeError | None:
        if answer.status is Status.REVOKED:
            return Refused(Reason.CERTIFICATE_REVOKED, "The certificate is revoked.")
        if answer.status is Status.UNKNOWN and self._strict:
            return TryLater(Reason.REVOCATION_UNKNOWN, "Whether the certificate is revoked cannot be checked.")
        return None

    def met(self, peer: Peer, now: datetime) -> CaduceeError | None:
        """A connection to this peer begins: as `objection`, and it is told to the log, to the metrics and, when it is
        listed, to the fetcher, which then asks about its certificate."""
        answer = self.revocations.judge(peer.path, now)
        metrics.PEERS.labels(answer.status).inc()
        if answer.status is not Status.GOOD:
            event = "peer_revoked" if answer.status is Status.REVOKED else "peer_revocation_unknown"
            log.warning(event, peer=peer.text, source=answer.source, why=answer.reason)
        if peer.path and self.domains_of(peer.subject):
            self.note(peer.path, now.date())
        return self._objection(answer)

    def note(self, path: tuple[x509.Certificate, ...], today: date) -> None:
        """The fetcher is to know of this path, once a day."""
        fingerprint = path[0].fingerprint(hashes.SHA256())
        if self._noted.get(fingerprint) != today:
            if len(self._noted) >= NOTED:
                self._noted.clear()
            self._noted[fingerprint] = today
            self.to_note[fingerprint] = path
