"""What entries may hold: attribute types and object classes (RFC 4512 §4, 4519, 2798, 4523), and a few of ours.

Of the standard classes the attributes that are held here are listed. Ours stand under an arc that needs no registration
(ITU-T X.667: 2.25 and a UUID).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from directory.ldap.values import Form

OURS = "2.25.199586045071743883192385766555253402905"
_SYNTAX = "1.3.6.1.4.1.1466.115.121.1."
_TEXT, _IA5, _PHONE, _ADDRESS, _OID, _NAME, _BOOLEAN, _CERTIFICATE, _ATTRIBUTE, _CLASS, _RULE, _UUID = (
    *(_SYNTAX + number for number in ("15", "26", "50", "41", "38", "12", "7", "8", "3", "37", "30")),
    "1.3.6.1.1.16.1",
)
BINARY = ";binary"  # RFC 4522: how certificates are asked for and sent


@dataclass(frozen=True, slots=True)
class AttributeType:
    """One type; `names` begin with the one that is sent. `ordered`: ≥ and ≤ are answered."""

    oid: str
    names: tuple[str, ...]
    form: Form = Form.WORDS
    syntax: str = _TEXT
    single: bool = False
    operational: bool = False
    of_name: bool = False  # a subtype of `name` (RFC 4519 §2.18)
    ordered: bool = False

    @property
    def name(self) -> str:
        return self.names[0]

    def described(self) -> str:
        """RFC 4512 §4.1.2."""
        quoted = " ".join(f"'{name}'" for name in self.names)
        names = quoted if len(self.names) == 1 else f"( {quoted} )"
        equality, substrings = _RULES[self.form]
        parts = [self.oid, "NAME", names, *(["SUP name"] if self.of_name else [])]
        parts += [f"EQUALITY {equality}"] if equality else []
        parts += ["ORDERING caseIgnoreOrderingMatch"] if self.ordered else []
        parts += [f"SUBSTR {substrings}"] if substrings and not self.operational else []
        parts += [f"SYNTAX {self.syntax}", *(["SINGLE-VALUE"] if self.single else [])]
        parts += ["NO-USER-MODIFICATION USAGE directoryOperation"] if self.operational else []
        return f"( {' '.join(parts)} )"


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """One class."""

    oid: str
    name: str
    kind: str
    superior: str = ""
    must: tuple[str, ...] = ()
    may: tuple[str, ...] = field(default=())

    def described(self) -> str:
        """RFC 4512 §4.1.1."""
        parts = [self.oid, f"NAME '{self.name}'", *([f"SUP {self.superior}"] if self.superior else []), self.kind]
        parts += [f"MUST ( {' $ '.join(self.must)} )"] if self.must else []
        parts += [f"MAY ( {' $ '.join(self.may)} )"] if self.may else []
        return f"( {' '.join(parts)} )"


# Names of RFC 4517 §4.2 and their numbers, by what of a value is compared.
_RULES: dict[Form, tuple[str, str]] = {
    Form.WORDS: ("caseIgnoreMatch", "caseIgnoreSubstringsMatch"),
    Form.PLAIN: ("caseIgnoreMatch", "caseIgnoreSubstringsMatch"),
    Form.ADDRESS: ("caseIgnoreIA5Match", "caseIgnoreIA5SubstringsMatch"),
    Form.DIALLED: ("telephoneNumberMatch", "telephoneNumberSubstringsMatch"),
    Form.NAME: ("distinguishedNameMatch", ""),
    Form.OBJECT_CLASS: ("objectIdentifierMatch", ""),
    Form.BINARY: ("", ""),
}
RULE_OIDS = {
    "caseIgnoreMatch": "2.5.13.2",
    "caseIgnoreOrderingMatch": "2.5.13.3",
    "caseIgnoreSubstringsMatch": "2.5.13.4",
    "caseIgnoreIA5Match": "1.3.6.1.4.1.1466.109.114.2",
    "caseIgnoreIA5SubstringsMatch": "1.3.6.1.4.1.1466.109.114.3",
    "telephoneNumberMatch": "2.5.13.20",
    "telephoneNumberSubstringsMatch": "2.5.13.21",
    "distinguishedNameMatch": "2.5.13.1",
    "objectIdentifierMatch": "2.5.13.0",
}

_P = Form.PLAIN
TYPES = (
    AttributeType("2.5.4.0", ("objectClass",), Form.OBJECT_CLASS, _OID),
    AttributeType("2.5.4.41", ("name",)),
    AttributeType("2.5.4.3", ("cn", "commonName"), of_name=True),
    AttributeType("2.5.4.4", ("sn", "surname"), of_name=True),
    AttributeType("2.5.4.42", ("givenName", "gn"), of_name=True),
    AttributeType("2.16.840.1.113730.3.1.241", ("displayName",), single=True),
    AttributeType("0.9.2342.19200300.100.1.3", ("mail", "rfc822Mailbox"), Form.ADDRESS, _IA5),
    AttributeType("2.5.4.12", ("title",), of_name=True),
    AttributeType("2.5.4.10", ("o", "organizationName"), of_name=True),
    AttributeType("2.5.4.11", ("ou", "organizationalUnitName"), of_name=True),
    AttributeType("2.5.4.15", ("businessCategory",)),
    AttributeType("2.5.4.9", ("street", "streetAddress")),
    AttributeType("2.5.4.16", ("postalAddress",), syntax=_ADDRESS),
    AttributeType("2.5.4.17", ("postalCode",)),
    AttributeType("2.5.4.7", ("l", "localityName"), of_name=True),
    AttributeType("2.5.4.8", ("st", "stateOrProvinceName"), of_name=True),
    AttributeType("2.5.4.20", ("telephoneNumber",), Form.DIALLED, _PHONE),
    AttributeType("2.16.840.1.113730.3.1.3", ("employeeNumber",), _P, single=True),
    AttributeType("0.9.2342.19200300.100.1.1", ("uid", "userid"), _P),
    AttributeType("0.9.2342.19200300.100.1.25", ("dc", "domainComponent"), _P, _IA5, single=True),
    AttributeType("2.5.4.36", ("userCertificate",), Form.BINARY, _CERTIFICATE),
    AttributeType(f"{OURS}.1.1", ("caduceeNationalId",), _P, single=True, ordered=True),
    AttributeType(f"{OURS}.1.2", ("caduceeProfessionCode",), _P, single=True),
    AttributeType(f"{OURS}.1.3", ("caduceeSpecialty",)),
    AttributeType(f"{OURS}.1.4", ("caduceeFiness",), _P, single=True, ordered=True),
    AttributeType(f"{OURS}.1.5", ("caduceeSiret",), _P, single=True, ordered=True),
    AttributeType("1.3.6.1.1.16.4", ("entryUUID",), _P, _UUID, single=True, operational=True, ordered=True),
    AttributeType("1.3.6.1.1.20", ("entryDN",), Form.NAME, _NAME, single=True, operational=True),
    AttributeType("2.5.21.9", ("structuralObjectClass",), Form.OBJECT_CLASS, _OID, single=True, operational=True),
    AttributeType("2.5.18.10", ("subschemaSubentry",), Form.NAME, _NAME, single=True, operational=True),
    AttributeType("2.5.18.9", ("hasSubordinates",), _P, _BOOLEAN, single=True, operational=True),
    AttributeType("2.5.21.5", ("attributeTypes",), Form.BINARY, _ATTRIBUTE, operational=True),
    AttributeType("2.5.21.6", ("objectClasses",), Form.BINARY, _CLASS, operational=True),
    AttributeType("2.5.21.4", ("matchingRules",), Form.BINARY, _RULE, operational=True),
    AttributeType("1.3.6.1.4.1.1466.101.120.5", ("namingContexts",), Form.NAME, _NAME, operational=True),
    AttributeType("1.3.6.1.4.1.1466.101.120.7", ("supportedExtension",), _P, _OID, operational=True),
    AttributeType("1.3.6.1.4.1.1466.101.120.13", ("supportedControl",), _P, _OID, operational=True),
    AttributeType("1.3.6.1.4.1.1466.101.120.14", ("supportedSASLMechanisms",), _P, operational=True),
    AttributeType("1.3.6.1.4.1.1466.101.120.15", ("supportedLDAPVersion",), _P, operational=True),
    AttributeType("1.3.6.1.4.1.4203.1.3.5", ("supportedFeatures",), _P, _OID, operational=True),
    AttributeType("1.3.6.1.1.4", ("vendorName",), _P, single=True, operational=True),
    AttributeType("1.3.6.1.1.5", ("vendorVersion",), _P, single=True, operational=True),
)

_CONTACT = ("businessCategory", "street", "postalAddress", "postalCode", "l", "st", "telephoneNumber")
CLASSES = (
    ObjectClass("2.5.6.0", "top", "ABSTRACT", must=("objectClass",)),
    ObjectClass("2.5.6.6", "person", "STRUCTURAL", "top", ("sn", "cn"), ("telephoneNumber",)),
    ObjectClass(
        "2.5.6.7",
        "organizationalPerson",
        "STRUCTURAL",
        "person",
        may=("title", "street", "postalAddress", "postalCode", "ou", "st", "l"),
    ),
    ObjectClass(
        "2.16.840.1.113730.3.2.2",
        "inetOrgPerson",
        "STRUCTURAL",
        "organizationalPerson",
        may=("businessCategory", "displayName", "employeeNumber", "givenName", "mail", "o", "uid", "userCertificate"),
    ),
    ObjectClass("2.5.6.4", "organization", "STRUCTURAL", "top", ("o",), _CONTACT),
    ObjectClass("2.5.6.5", "organizationalUnit", "STRUCTURAL", "top", ("ou",), _CONTACT),
    ObjectClass("1.3.6.1.4.1.1466.344", "dcObject", "AUXILIARY", "top", ("dc",)),
    ObjectClass("1.3.6.1.1.3.1", "uidObject", "AUXILIARY", "top", ("uid",)),
    ObjectClass("2.5.17.0", "subentry", "STRUCTURAL", "top", ("cn",)),
    ObjectClass("2.5.20.1", "subschema", "AUXILIARY", may=("attributeTypes", "objectClasses", "matchingRules")),
    ObjectClass(
        f"{OURS}.2.1",
        "caduceeProfessional",
        "AUXILIARY",
        "top",
        ("caduceeNationalId",),
        ("caduceeProfessionCode", "caduceeSpecialty"),
    ),
    ObjectClass(
        f"{OURS}.2.2",
        "caduceeStructure",
        "AUXILIARY",
        "top",
        may=("cn", "displayName", "mail", "ou", "userCertificate", "caduceeFiness", "caduceeSiret"),
    ),
)

_BY_NAME = {name.lower(): one for one in TYPES for name in (one.oid, *one.names)}
_OF_NAME = tuple(one for one in TYPES if one.of_name)
_CLASS_NAMES = {name.lower(): one.name.lower() for one in CLASSES for name in (one.oid, one.name)}


def types(description: str) -> tuple[AttributeType, ...]:
    """The types that an attribute description (RFC 4512 §2.5) means: one, its subtypes, or none that is known."""
    base, _, option = description.lower().partition(";")
    found = _BY_NAME.get(base)
    if found is None or (option and (option != BINARY[1:] or found.form is not Form.BINARY)):
        return ()
    return (found, *_OF_NAME) if found.name == "name" else (found,)


def class_named(name: str) -> str:
    """The name in lower case of a class that is told by name or number; what is unknown stays what it is."""
    return _CLASS_NAMES.get(name.strip().lower(), name.strip().lower())


def rule_of(kind: AttributeType) -> str:
    """The name of the rule by which equal values of a type are known; empty where there is none."""
    return _RULES[kind.form][0]
