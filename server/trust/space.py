"""The trust space as a process knows it: which domains are in it, and which operators speak for them.

Fed by the operator's own setting `trust.members`. Every question is answered from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.trust.members import DistinguishedName, DistinguishedNameError


class TrustSpace:
    """Domain → subjects of its operators' certificates. Domains are lower case, in A-labels."""

    def __init__(self, members: Mapping[str, Iterable[str]]) -> None:
        """`members` maps a domain to names as text. Raises DistinguishedNameError naming the domain."""
        self._subjects: dict[str, tuple[DistinguishedName, ...]] = {}
        for domain, names in members.items():
            try:
                self._subjects[domain.lower()] = tuple(DistinguishedName.parse(name) for name in names)
            except DistinguishedNameError as error:
                raise DistinguishedNameError(f"trust.members, domain {domain}: {error}") from None

    def lists(self, domain: str) -> bool:
        """Whether the domain is in the trust space."""
        return domain in self._subjects

    def subjects(self, domain: str) -> tuple[DistinguishedName, ...]:
        """Who may speak for the domain."""
        return self._subjects.get(domain, ())

    def may_speak_for(self, subject: DistinguishedName, domain: str) -> bool:
        """Whether an operator with this subject is listed for the domain."""
        return any(subject.same(listed) for listed in self.subjects(domain))

    def domains_of(self, subject: DistinguishedName) -> frozenset[str]:
        """The domains that this operator may speak for."""
        return frozenset(domain for domain in self._subjects if self.may_speak_for(subject, domain))
