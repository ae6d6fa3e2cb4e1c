"""What the directory shows as entries, and what of them a search asks for.

    dc=msg,dc=exemple,dc=fr                                 the operator's domain
      ou=personnes                                          people
        uid=<national id>:<profession>:<structure>          one at one place: who practises in two is there twice
      ou=structures                                         organisations
        uid=<number of the structure>

A name stays as long as the person practises there: it is made of the numbers of the national register alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from directory.ldap import names
from directory.ldap.schema import BINARY, CLASSES, RULE_OIDS, TYPES, types

Key: TypeAlias = tuple[str, str, str]  # national_id, profession_code, organisation_id, as in `directory.listing`

PEOPLE, STRUCTURES, SUBSCHEMA = "ou=personnes", "ou=structures", "cn=subschema"
EVERY_KIND = frozenset(one.name for one in TYPES)
_PERSON = ("top", "person", "organizationalPerson", "inetOrgPerson", "caduceeProfessional")
_STRUCTURE = ("top", "organization", "uidObject", "caduceeStructure")
# RFC 4530: the same key, the same UUID, on every server of the same domain.
_UUID_SPACE = uuid.UUID(int=199586045071743883192385766555253402905)


@dataclass(frozen=True, slots=True)
class Entry:
    """A name as it is written, and the values of each attribute by its type's first name."""

    name: str
    attributes: Mapping[str, Sequence[str | bytes]]


class Selection:
    """What of each entry a search asks for (RFC 4511 §4.5.1.8; RFC 3673 for "+")."""

    def __init__(self, wanted: Sequence[str]) -> None:
        every, operational = not wanted or "*" in wanted, "+" in wanted
        named = {one.name for description in wanted for one in types(description)}
        self._sent: dict[str, str] = {
            one.name: one.name + BINARY if one.name == "userCertificate" else one.name
            for one in TYPES
            if one.name in named or (operational if one.operational else every)
        }

    @property
    def kinds(self) -> frozenset[str]:
        """The attributes, by their types' first names."""
        return frozenset(self._sent)

    def of(self, entry: Entry) -> dict[str, Sequence[str | bytes]]:
        """The values that are sent, under the names to send."""
        sent = self._sent
        return {sent[name]: values for name, values in entry.attributes.items() if name in sent and values}


class Tree:
    """The entries of one domain."""

    def __init__(self, domain: str) -> None:
        self.suffix = names.suffix(domain)
        self.people = f"{PEOPLE},{self.suffix}"
        self.structures = f"{STRUCTURES},{self.suffix}"
        self.fixed = (
            self._entry(
                self.suffix,
                ("top", "organization", "dcObject"),
                {"dc": [domain.partition(".")[0]], "o": [domain]},
                has_more=True,
            ),
            self._entry(self.people, ("top", "organizationalUnit"), {"ou": ["personnes"]}, has_more=True),
            self._entry(self.structures, ("top", "organizationalUnit"), {"ou": ["structures"]}, has_more=True),
        )
        self.subschema = self._entry(
            SUBSCHEMA,
            ("top", "subentry", "subschema"),
            {
                "cn": ["subschema"],
                "attributeTypes": [one.described() for one in TYPES],
                "objectClasses": [one.described() for one in CLASSES],
                "matchingRules": [f"( {oid} NAME '{rule}' )" for rule, oid in RULE_OIDS.items()],
            },
        )

    def of(self, row: Mapping[str, Any], certificates: Sequence[bytes], kinds: Container[str] = EVERY_KIND) -> Entry:
        """The entry of a row of `queries.ENTRIES`, with these kinds of attributes."""
        place = {
            "street": [row["street"]],
            "postalAddress": [_postal(row)],
            "postalCode": [row["postcode"]],
            "l": [row["town"]],
            "st": [row["department"]],
            "telephoneNumber": [row["phone"]],
            "o": [row["name"], row["sign"]],
            "mail": row["mailboxes"] or (),
            "userCertificate": certificates,
        }
        uid = uid_of((row["national_id"], row["profession_code"], row["organisation_id"]))
        if not row["national_id"]:
            found = {
                "uid": [uid],
                "cn": [row["name"] or row["sign"]],
                "displayName": [row["name"] or row["sign"]],
                "ou": row["services"] or (),
                "businessCategory": [row["sector"]],
                "caduceeFiness": [row["finess"]],
                "caduceeSiret": [row["siret"]],
                **place,
            }
            if not any(found["o"]):
                found["o"] = ["-"]  # an organization must hold one
            return self._entry(f"uid={names.escaped(uid)},{self.structures}", _STRUCTURE, found, kinds)
        whole = " ".join(part for part in (row["first_name"], row["last_name"]) if part)
        found = {
            "uid": [uid],
            "cn": [whole],
            "sn": [row["last_name"]],
            "givenName": [row["first_name"]],
            "displayName": [whole],
            "title": [row["profession"]],
            "employeeNumber": [row["identifier"]],
            "caduceeNationalId": [row["national_id"]],
            "caduceeProfessionCode": [row["profession_code"]],
            "caduceeSpecialty": row["know_how"],
            **place,
        }
        return self._entry(f"uid={names.escaped(uid)},{self.people}", _PERSON, found, kinds)

    def _entry(
        self,
        name: str,
        classes: Sequence[str],
        found: Mapping[str, Sequence[str | bytes | None]],
        kinds: Container[str] = EVERY_KIND,
        *,
        has_more: bool = False,
    ) -> Entry:
        attributes: dict[str, Sequence[str | bytes]] = {"objectClass": classes}
        for kind, values in found.items():
            if kind in kinds and (held := [value for value in dict.fromkeys(values) if value]):
                attributes[kind] = held
        attributes["entryDN"] = [name]
        if "entryUUID" in kinds:
            attributes["entryUUID"] = [str(uuid.uuid5(_UUID_SPACE, name))]
        attributes["structuralObjectClass"] = ["inetOrgPerson" if "inetOrgPerson" in classes else classes[1]]
        attributes["subschemaSubentry"] = [SUBSCHEMA]
        attributes["hasSubordinates"] = ["TRUE" if has_more else "FALSE"]
        return Entry(name, attributes)


def uid_of(key: Key) -> str:
    """The value that names a person at a place, or a structure."""
    return ":".join(key) if key[0] else key[2]


def keys_of(uid: str, *, person: bool) -> list[Key]:
    """What a uid, written in any case, may stand for."""
    found: list[Key] = []
    for text in dict.fromkeys((uid, uid.upper(), uid.lower())):
        parts = text.split(":", 2)
        if not person:
            found.append(("", "", text))
        elif len(parts) == 3 and parts[0]:
            found.append((parts[0], parts[1], parts[2]))
    return found


def _postal(row: Mapping[str, Any]) -> str:
    """RFC 4517 §3.3.28: lines parted by "$"."""
    town = f"{row['postcode'] or ''} {row['town'] or ''}".strip()
    lines = [line for line in (row["name"] or row["sign"], row["street"], town) if line]
    return "$".join(line.replace("\\", "\\5C").replace("$", "\\24") for line in lines) if town else ""
