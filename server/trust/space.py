"""The trust space as a process knows it: which domains are in it, and which operators speak for them.

Fed by the white list and, beside it, by the operator's own setting `trust.members`. Every question is answered from
memory; a new list takes the place of the old one between two questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from server.trust.members import DistinguishedName, DistinguishedNameError
from server.trust.white_list import WhiteList

Listed = Mapping[DistinguishedName, frozenset[str]]


class TrustSpace:
    """Subjects of operators' certificates and the domains each speaks for (lower case, A-labels)."""

    def __init__(self, members: Mapping[str, Iterable[str]]) -> None:
        """`members` maps a domain to names as text. Raises DistinguishedNameError naming the domain."""
        self._members: list[tuple[str, DistinguishedName]] = []
        for domain, names in members.items():
            try:
                self._members += [(domain.lower(), DistinguishedName.parse(name)) for name in names]
            except DistinguishedNameError as error:
                raise DistinguishedNameError(f"trust.members, domain {domain}: {error}") from None
        self.white_list: WhiteList | None = None
        self._fill(self._members)

    def replace(self, white_list: WhiteList) -> None:
        """From now on this list holds, beside the settings' members."""
        self.white_list = white_list
        self._fill([*self._members, *((row.domain, row.subject) for row in white_list.entries)])

    def _fill(self, rows: Iterable[tuple[str, DistinguishedName]]) -> None:
        domains: defaultdict[DistinguishedName, set[str]] = defaultdict(set)
        for domain, subject in rows:
            domains[subject.either_way].add(domain)
        self._domains: Listed = {subject: frozenset(of_it) for subject, of_it in domains.items()}
        self._listed = frozenset(domain for of_it in self._domains.values() for domain in of_it)

    def lists(self, domain: str) -> bool:
        """Whether the domain is in the trust space."""
        return domain in self._listed

    def may_speak_for(self, subject: DistinguishedName, domain: str) -> bool:
        """Whether an operator with this subject is listed for the domain."""
        return domain in self.domains_of(subject)

    def domains_of(self, subject: DistinguishedName) -> frozenset[str]:
        """The domains that this operator may speak for."""
        return self._domains.get(subject.either_way, frozenset()) if subject.attributes else frozenset()
