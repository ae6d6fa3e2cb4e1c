"""The members of the trust space: an operator is known by the subject of its certificate.

A list writes a distinguished name as a string, most specific first (RFC 4514: "CN=host,OU=3…,O=name,C=FR") or the other
way round, and often without escapes; a certificate has it parsed. Both are compared parsed: same attributes, same
values, same order or exactly the reverse. Values compare without case and with single spaces (RFC 5280 §7.1).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import NameOID

# RFC 4514 §3, RFC 4519, and the names that OpenSSL and the white list print.
_TYPES: Mapping[str, str] = {
    "CN": NameOID.COMMON_NAME.dotted_string,
    "SN": NameOID.SURNAME.dotted_string,
    "GN": NameOID.GIVEN_NAME.dotted_string,
    "GIVENNAME": NameOID.GIVEN_NAME.dotted_string,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER.dotted_string,
    "C": NameOID.COUNTRY_NAME.dotted_string,
    "L": NameOID.LOCALITY_NAME.dotted_string,
    "ST": NameOID.STATE_OR_PROVINCE_NAME.dotted_string,
    "S": NameOID.STATE_OR_PROVINCE_NAME.dotted_string,
    "STREET": NameOID.STREET_ADDRESS.dotted_string,
    "O": NameOID.ORGANIZATION_NAME.dotted_string,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME.dotted_string,
    "T": NameOID.TITLE.dotted_string,
    "TITLE": NameOID.TITLE.dotted_string,
    "UID": NameOID.USER_ID.dotted_string,
    "DC": NameOID.DOMAIN_COMPONENT.dotted_string,
    "EMAILADDRESS": NameOID.EMAIL_ADDRESS.dotted_string,
    "E": NameOID.EMAIL_ADDRESS.dotted_string,
    "ORGANIZATIONIDENTIFIER": NameOID.ORGANIZATION_IDENTIFIER.dotted_string,
}
_OID = re.compile(r"(?:OID\.)?(\d+(?:\.\d+)+)", re.IGNORECASE)
# A new attribute begins at a separator that is followed by a type and "="; a comma inside a value is not one.
_ATTRIBUTE = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|(?:OID\.)?[0-9.]+)\s*=\s*")
_SEPARATOR = re.compile(r"(?<!\\)[,;/+](?=\s*(?:[A-Za-z][A-Za-z0-9-]*|(?:OID\.)?[0-9]+(?:\.[0-9]+)+)\s*=)")
_ESCAPE = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)

Attribute = tuple[str, str]  # dotted object identifier, folded value


class DistinguishedNameError(ValueError):
    """The text is no distinguished name."""


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """A subject: its attributes in the certificate's order or the list's; compare `either_way`."""

    attributes: tuple[Attribute, ...]

    @classmethod
    def parse(cls, text: str) -> DistinguishedName:
        """Read a name as a list writes it. Raises DistinguishedNameError: no attribute, or a type nobody knows."""
        pieces = _SEPARATOR.split(text.strip().lstrip("/"))
        return cls(tuple(_attribute(piece) for piece in pieces))

    @classmethod
    def of(cls, name: x509.Name) -> DistinguishedName:
        """The name inside a certificate."""
        return cls(
            tuple(
                (attribute.oid.dotted_string, _fold(_text(attribute.value))) for rdn in name.rdns for attribute in rdn
            )
        )

    @property
    def either_way(self) -> DistinguishedName:
        """The same subject in the one of its two orders that comes first, so that both orders are equal."""
        return DistinguishedName(min(self.attributes, self.attributes[::-1]))


def _attribute(piece: str) -> Attribute:
    match = _ATTRIBUTE.match(piece)
    if match is None:
        raise DistinguishedNameError(f"not TYPE=value: {piece!r}")
    kind, value = match[1], piece[match.end() :]
    oid = _OID.fullmatch(kind)
    dotted = oid[1] if oid else _TYPES.get(kind.upper())
    if dotted is None:
        raise DistinguishedNameError(f"unknown attribute type {kind!r}")
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return dotted, _fold(_ESCAPE.sub(_unescape, value))


def _unescape(match: re.Match[str]) -> str:
    if match[2] is not None:
        return match[2]
    return bytes.fromhex(match[0].replace("\\", "")).decode("utf-8", "replace")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def _fold(value: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


@dataclass(frozen=True, slots=True)
class Peer:
    """Another operator's server, known by the verified certificate it showed. `text` is its subject, for logs; `path`
    leads from its certificate to an anchor, both included."""

    subject: DistinguishedName
    text: str
    path: tuple[x509.Certificate, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def from_path(cls, path: Sequence[bytes]) -> Peer:
        """The peer who showed the first certificate (DER); TLS verified the path. Raises ValueError: no certificate."""
        certificates = tuple(x509.load_der_x509_certificate(der) for der in path)
        if not certificates:
            raise ValueError("a peer without a certificate")
        name = certificates[0].subject
        return cls(DistinguishedName.of(name), name.rfc4514_string(), certificates)
