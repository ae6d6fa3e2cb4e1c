"""Who a provider says that somebody is: the claims of Pro Santé Connect's userinfo, and those of any other provider.

    SubjectNameID    national identifier: type digit and RPPS ("8" + 11 digits); test identities have others
    SubjectRole      ["80^1.2.250.1.213.1.1.5.5"]: code and its code system
    SubjectRefPro    {exercices: [{codeProfession, codeSavoirFaire, activities: [{codeRole, numeroFinessSite, …}]}]}

A person without SubjectRefPro (a student, a registration that has ended) has an identity and no professional rights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from server.identity.oidc.faults import Fault, NotProven

_NAME: Final = 255  # OpenID Connect Core §2: sub has at most 255 ASCII characters
_TEXT: Final = 200
_PRACTICES: Final = 30
_NATIONAL_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z./-]{4,63}")


@dataclass(frozen=True, slots=True)
class Activity:
    """One place of work: codes as the provider gives them, "" for none."""

    sector: str
    role: str
    finess: str
    siret: str
    structure: str
    name: str


@dataclass(frozen=True, slots=True)
class Practice:
    """One exercise of a profession."""

    profession: str
    category: str
    know_how: str
    activities: tuple[Activity, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """Who it is. `subject` is the provider's own name for them, `national_id` "" where it gives none."""

    subject: str = field(repr=False)
    national_id: str = field(repr=False)
    name: str = field(repr=False)
    roles: tuple[str, ...] = ()
    sector: str = ""
    practices: tuple[Practice, ...] = ()

    @property
    def is_professional(self) -> bool:
        return bool(self.practices)


def subject_of(found: Mapping[str, Any]) -> str:
    """`sub`. Raises NotProven MALFORMED."""
    value = found.get("sub")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not 0 < len(value) <= _NAME:
        raise NotProven(Fault.MALFORMED)
    return value


def person(found: Mapping[str, Any]) -> Person:
    """Of userinfo or introspection. Raises NotProven MALFORMED for what is not as it must be."""
    national_id = _text(found, "SubjectNameID")
    if national_id and not _NATIONAL_ID.fullmatch(national_id):
        raise NotProven(Fault.MALFORMED)
    names = [_text(found, name) for name in ("given_name", "family_name")]
    reference = found.get("SubjectRefPro")
    practices = _listed(reference.get("exercices")) if isinstance(reference, dict) else ()
    return Person(
        subject_of(found),
        national_id,
        " ".join(filter(None, names)),
        tuple(role[:_TEXT] for role in _texts(found.get("SubjectRole"))),
        _text(found, "Secteur_Activite"),
        tuple(map(_practice, practices)),
    )


def _practice(found: Mapping[str, Any]) -> Practice:
    return Practice(
        _text(found, "codeProfession"),
        _text(found, "codeCategorieProfessionnelle"),
        _text(found, "codeSavoirFaire"),
        tuple(
            Activity(
                _text(one, "codeSecteurDactivite"),
                _text(one, "codeRole"),
                _text(one, "numeroFinessSite"),
                _text(one, "numeroSiretSite"),
                _text(one, "identifiantTechniqueDeLaStructure"),
                _text(one, "raisonSocialeSite"),
            )
            for one in _listed(found.get("activities"))
        ),
    )


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _TEXT or not value.isprintable():
        raise NotProven(Fault.MALFORMED)
    return value


def _texts(found: Any) -> Sequence[str]:
    return [one for one in found[:_PRACTICES] if isinstance(one, str)] if isinstance(found, list) else ()


def _listed(found: Any) -> Sequence[Mapping[str, Any]]:
    """The objects of a list; providers leave out what they do not have."""
    return [one for one in found[:_PRACTICES] if isinstance(one, dict)] if isinstance(found, list) else ()
