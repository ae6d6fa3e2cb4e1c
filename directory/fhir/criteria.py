"""What each search parameter means here: the walks that find its resources, and what a single resource must fit.

Every parameter can be looked at row by row; those that can lead a search have walks, each the range of an index. A
value may need several (a name is family then given, or given then family). Text is compared folded, as its beginning
unless a modifier says otherwise: without case, accents, hyphens, apostrophes (FHIR R4 §3.1.1.4.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from directory.fhir import queries
from directory.fhir.conditions import (
    EVERYTHING,
    NEVER,
    Branch,
    Meaning,
    Means,
    any_of,
    begins,
    by_ways,
    folded,
    none_of,
    text_is,
)
from directory.fhir.names import (
    ADELI,
    FINESS,
    NATIONAL_PERSON,
    NATIONAL_STRUCTURE,
    ORGANIZATION_TYPE,
    RANK,
    RPPS,
    SIRENE,
    Type,
    key_of,
)
from directory.fhir.outcome import invalid
from directory.fhir.parameters import Criterion, token
from directory.fhir.queries import FIRST, LAST, NAME, POSTCODE, SECTOR, SIGN, TOWN, Condition, Walk
from directory.terms.tables import table, url

NAME_WORDS = 5
_CIVILITIES = frozenset({"dr", "docteur", "pr", "professeur", "m", "mme", "monsieur", "madame"})


def meanings(kind: Type, criterion: Criterion) -> list[Meaning]:
    """One for each value of a parameter. Raises Refusal: the value is none of this parameter."""
    means = _MEANINGS[kind][criterion.name]
    return [means(value, criterion.modifier) for value in criterion.values]


def _person_name(by_family: Walk, by_given: Walk) -> Means:
    """A whole name: family then given, or given then family, each begun; with :exact or :contains one of the two."""

    def means(value: str, modifier: str) -> Meaning:
        ways: dict[tuple[Condition, ...], Walk] = {}
        said = folded(value).split()
        if modifier or not said:
            for column, raw, walk in ((LAST, "p.last_name", by_family), (FIRST, "p.first_name", by_given)):
                ways[text_is(column, raw, value, modifier),] = walk
        else:
            parts = ([word for word in said if word not in _CIVILITIES] or said)[:NAME_WORDS]
            for place in range(len(parts), 0, -1):
                left, right = " ".join(parts[:place]), " ".join(parts[place:])
                if not right:
                    ways[begins(LAST, left),] = by_family
                    ways[begins(FIRST, left),] = by_given
                else:
                    ways[begins(LAST, left), begins(FIRST, right)] = by_family
                    ways[begins(LAST, right), begins(FIRST, left)] = by_family
        return by_ways(ways, modifier, 3)

    return means


def _either(rank: int, *texts: tuple[str, str, Walk]) -> Means:
    """A text in one of several columns, each (folded, raw, walk)."""

    def means(value: str, modifier: str) -> Meaning:
        meaning = by_ways(
            {(text_is(column, raw, value, modifier),): walk for column, raw, walk in texts}, modifier, rank
        )
        if len(texts) > 1 or modifier == "contains":
            return meaning
        return replace(meaning, column=texts[0][0], inside=meaning.fits)

    return means


def _keys(column: str, walk: Walk, keys: Sequence[object]) -> Meaning:
    """Resources found by their keys."""
    fits = Condition(f"{column} = ANY(?)", (list(keys),))
    return Meaning(fits, (Branch(walk, (fits,)),), 0)


def _reference(value: str, kind: Type) -> str:
    """The key behind a reference to a resource of ours: "Practitioner/810…", its URL, or the id alone."""
    path, _, made = value.rpartition("/")
    if path and path.rpartition("/")[2] != kind:
        raise invalid(f"This is no reference to a {kind}.")
    return key_of(made) or ""


def _national_ids(value: str) -> list[str]:
    system, number = token(value)
    ways = {NATIONAL_PERSON: [number], RPPS: [f"8{number}"], ADELI: [f"0{number}"]}
    if system is None:
        return [number, f"8{number}", f"0{number}"]
    return ways.get(system, [])


# The digit before a structure's number in its national identification, and the column of the number.
_STRUCTURE_DIGITS = {"1": "o.finess", "2": "o.siren", "3": "o.siret"}


def _structure(value: str) -> Condition:
    system, number = token(value)
    columns = {
        FINESS: ["o.finess"],
        SIRENE: ["o.siren", "o.siret"],
        RANK: ["o.organisation_id"],
        None: ["o.finess", "o.siret", "o.siren", "o.organisation_id"],
    }.get(system, [])
    found = [(column, number) for column in columns]
    if system in {NATIONAL_STRUCTURE, None} and (column := _STRUCTURE_DIGITS.get(number[:1])):
        found.append((column, number[1:]))
    # Empty columns are not in the indexes.
    return any_of([Condition(f"{column} = ? AND {column} <> ''", (one,)) for column, one in found]) if found else NEVER


def _identified_place(value: str, modifier: str) -> Meaning:
    fits = _structure(value)
    return Meaning(fits, (Branch(queries.PLACES, (fits,)),), 0)


_PROFESSIONS = (
    "TRE_G15-ProfessionSante",
    "TRE_R94-ProfessionSocial",
    "TRE_R95-UsagerTitre",
    "TRE_R291-AutreProfession",
)


def _code(value: str, own: Sequence[str]) -> str | None:
    """The code of a token in one of these systems; None: it is of another."""
    system, code = token(value)
    return code if code and (system is None or system in {url(one) for one in own}) else None


def _of_know_how(value: str) -> str | None:
    return _code(value, tuple(table("know_how").systems))


def _qualification(value: str, modifier: str) -> Meaning:
    conditions: list[Condition] = []
    branches: list[Branch] = []
    if (code := _code(value, _PROFESSIONS)) is not None:
        conditions.append(Condition(queries.PERSON_HAS_PROFESSION, (code,)))
        branches.append(Branch(queries.PERSONS_BY_PROFESSION, (Condition("p.profession_code = ?", (code,)),)))
    if (code := _of_know_how(value)) is not None:
        where = [Condition("k.code = ?", (code,)), *([none_of(conditions)] if conditions else [])]
        conditions.append(Condition(queries.PERSON_HAS_KNOW_HOW, (code,)))
        branches.append(Branch(queries.PERSONS_BY_KNOW_HOW, tuple(where)))
    if not conditions:
        return Meaning(NEVER, (Branch(queries.PERSONS, (NEVER,)),), 0)
    return Meaning(any_of(conditions), tuple(branches), 6)


def _specialty(value: str, modifier: str) -> Meaning:
    code = _of_know_how(value)
    if code is None:
        return Meaning(NEVER, (Branch(queries.ROLES, (NEVER,)),), 0)
    leads = Branch(queries.ROLES_BY_KNOW_HOW, (Condition("k.code = ?", (code,)),))
    return Meaning(Condition(queries.ROLE_HAS_KNOW_HOW, (code,)), (leads,), 6)


def _role(value: str, modifier: str) -> Meaning:
    systems = {
        "a.mode_code": ("TRE_R23-ModeExercice",),
        "a.role_code": ("TRE_R21-Fonction", "TRE_R85-RolePriseCharge", "TRE_R96-AutreFonctionSanitaire"),
        "a.profession_code": _PROFESSIONS,
    }
    found = [
        Condition(f"{column} = ?", (code,))
        for column, own in systems.items()
        if (code := _code(value, own)) is not None
    ]
    return Meaning(any_of(found) if found else NEVER)


def _sector(value: str, modifier: str) -> Meaning:
    system, code = token(value)
    if code == "GEOGRAPHICAL-ENTITY" and system in {None, ORGANIZATION_TYPE}:
        return Meaning(Condition("o.told_by < 2"))
    code = _code(value, ("TRE_R02-SecteurActivite",)) or ""
    where = Condition(f"{SECTOR} = ?", (code,)) if code else NEVER
    return Meaning(where, (Branch(queries.PLACES_BY_SECTOR, (where,)),), 7)


def _part_of(value: str, modifier: str) -> Meaning:
    fits = Condition(queries.PART_OF, (_reference(value, Type.ORGANIZATION),) * 2)
    return Meaning(fits, (Branch(queries.PLACES, (fits,)),), 2)


def _address(by_town: Walk, by_postcode: Walk) -> Means:
    """Town or postcode that begins so."""

    def means(value: str, modifier: str) -> Meaning:
        start = folded(value)
        return by_ways({(begins(TOWN, start),): by_town, (begins(POSTCODE, start),): by_postcode}, modifier, 5)

    return means


def _postcode(walk: Walk) -> Means:
    def means(value: str, modifier: str) -> Meaning:
        exact = modifier == "exact"
        where = Condition(f"{POSTCODE} = ?", (value,)) if exact else begins(POSTCODE, folded(value))
        return Meaning(where, (Branch(walk, (where,)),), 2 if len(value) == 5 else 7)

    return means


# Who has a mailbox, seen from a resource: SQL that a condition on `m` completes.
_HAS_MAILBOX = {
    Type.PRACTITIONER: queries.PERSON_HAS_MAILBOX,
    Type.ROLE: queries.ROLE_HAS_MAILBOX,
    Type.ORGANIZATION: queries.PLACE_HAS_MAILBOX,
    Type.SERVICE: queries.SERVICE_HAS_MAILBOX,
}
_BY_MAILBOX = {
    Type.PRACTITIONER: (queries.PERSONS_BY_MAILBOX, queries.PERSONS_BY_DOMAIN),
    Type.ROLE: (queries.ROLES_BY_MAILBOX, queries.ROLES_BY_DOMAIN),
    Type.ORGANIZATION: (queries.PLACES_BY_MAILBOX, queries.PLACES_BY_DOMAIN),
    Type.SERVICE: (queries.SERVICES, queries.SERVICES_BY_DOMAIN),
}


def _mailbox(kind: Type) -> Means:
    """Addresses are kept in lower case. One that holds "@domain" leads by its domain, whatever stands before it."""
    by_address, by_domain = _BY_MAILBOX[kind]

    def means(value: str, modifier: str) -> Meaning:
        address = value.lower()
        local, at, domain = address.rpartition("@")
        rank = 1
        if modifier == "exact":
            where = Condition("m.address = ?", (value,))
        elif modifier == "contains":
            where = Condition("position(? IN m.address) > 0", (address,))
            if at and not local and domain:
                where, rank = begins(queries.DOMAIN, domain), 7
        else:
            where, rank = begins("m.address", address), 4
        found = Condition(_HAS_MAILBOX[kind].format(where.sql), where.values)
        if rank == 7:
            return Meaning(found, (Branch(by_domain, (where,)),), rank)
        return Meaning(found, () if modifier == "contains" else (Branch(by_address, (where,)),), rank)

    return means


def _telecom(kind: Type) -> Means:
    """Mailboxes are the contact points that are looked for."""
    exactly = _mailbox(kind)

    def means(value: str, modifier: str) -> Meaning:
        system, address = token(value)
        return exactly(address.lower(), "exact") if system in {None, "email"} else Meaning(NEVER)

    return means


def _mailbox_kind(kind: Type) -> Means:
    def means(value: str, modifier: str) -> Meaning:
        # The guide's own examples write the code system of kinds of mail (R256) before a kind of mailbox (R257).
        code = _code(value, ("TRE_R257-TypeBAL", "TRE_R256-TypeMessagerie"))
        where = Condition("m.kind = ?", (code,)) if code else NEVER
        leads = Branch(_BY_MAILBOX[kind][0], (EVERYTHING,))
        return Meaning(Condition(_HAS_MAILBOX[kind].format(where.sql), where.values), (leads,), 8, covers=False)

    return means


def _for_roles(source: str, means: Means) -> Means:
    """A parameter of the person or place of an activity: what an activity's own must fit."""

    def chained(value: str, modifier: str) -> Meaning:
        meaning = means(value, modifier)
        return replace(meaning, fits=Condition(source.format(meaning.fits.sql), meaning.fits.values))

    return chained


def _role_of_person(value: str, modifier: str) -> Meaning:
    return _keys("a.national_id", queries.ROLES_OF_PERSON, [_reference(value, Type.PRACTITIONER)])


def _role_of_identified(value: str, modifier: str) -> Meaning:
    return _keys("a.national_id", queries.ROLES_OF_PERSON, _national_ids(value))


def _role_of_place(value: str, modifier: str) -> Meaning:
    return _keys("a.organisation_id", queries.ROLES_OF_PLACE, [_reference(value, Type.ORGANIZATION)])


def _service_of_place(value: str, modifier: str) -> Meaning:
    return _keys("m.organisation_id", queries.SERVICES_OF_PLACE, [_reference(value, Type.ORGANIZATION)])


def _role_of_identified_place(value: str, modifier: str) -> Meaning:
    where = _structure(value)
    fits = Condition(queries.PLACE_OF_ROLE.format(where.sql), where.values)
    return Meaning(fits, (Branch(queries.ROLES_OF_PLACES, (where,)),), 1)


_PERSON, _PLACE = queries.PERSON_OF_ROLE, queries.PLACE_OF_ROLE
_MEANINGS: dict[Type, dict[str, Means]] = {
    Type.PRACTITIONER: {
        "identifier": lambda value, _: _keys("p.national_id", queries.PERSONS, _national_ids(value)),
        "family": _either(3, (LAST, "p.last_name", queries.PERSONS_BY_FAMILY)),
        "given": _either(4, (FIRST, "p.first_name", queries.PERSONS_BY_GIVEN)),
        "name": _person_name(queries.PERSONS_BY_FAMILY, queries.PERSONS_BY_GIVEN),
        "qualification-code": _qualification,
    },
    Type.ROLE: {
        "practitioner": _role_of_person,
        "organization": _role_of_place,
        "specialty": _specialty,
        "role": _role,
        "practitioner.identifier": _role_of_identified,
        "practitioner.family": _for_roles(_PERSON, _either(3, (LAST, "p.last_name", queries.ROLES_BY_FAMILY))),
        "practitioner.given": _for_roles(_PERSON, _either(4, (FIRST, "p.first_name", queries.ROLES_BY_GIVEN))),
        "practitioner.name": _for_roles(_PERSON, _person_name(queries.ROLES_BY_FAMILY, queries.ROLES_BY_GIVEN)),
        "organization.identifier": _role_of_identified_place,
        "organization.name": _for_roles(
            _PLACE, _either(4, (NAME, "o.name", queries.ROLES_BY_NAME), (SIGN, "o.sign", queries.ROLES_BY_SIGN))
        ),
        "organization.address": _for_roles(_PLACE, _address(queries.ROLES_BY_TOWN, queries.ROLES_BY_POSTCODE)),
        "organization.address-city": _for_roles(_PLACE, _either(6, (TOWN, "o.town", queries.ROLES_BY_TOWN))),
        "organization.address-postalcode": _for_roles(_PLACE, _postcode(queries.ROLES_BY_POSTCODE)),
    },
    Type.ORGANIZATION: {
        "identifier": _identified_place,
        "name": _either(4, (NAME, "o.name", queries.PLACES_BY_NAME), (SIGN, "o.sign", queries.PLACES_BY_SIGN)),
        "address": _address(queries.PLACES_BY_TOWN, queries.PLACES_BY_POSTCODE),
        "address-city": _either(6, (TOWN, "o.town", queries.PLACES_BY_TOWN)),
        "address-postalcode": _postcode(queries.PLACES_BY_POSTCODE),
        "type": _sector,
        "partof": _part_of,
    },
    Type.SERVICE: {"organization": _service_of_place},
}
for _kind, _own in _MEANINGS.items():
    _own["mailbox-mss"] = _mailbox(_kind)
    if _kind is not Type.SERVICE:
        _own |= {"mailbox-mss-type": _mailbox_kind(_kind), "telecom": _telecom(_kind), "email": _telecom(_kind)}
