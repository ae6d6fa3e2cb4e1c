"""The root DSE (RFC 4512 §5.1): what this server says of itself, to anyone."""

from __future__ import annotations

from directory.ldap.entries import SUBSCHEMA, Entry
from server.base.version import VERSION
from server.identity.sasl import PLAIN
from server.ldap import oid


def root_dse(suffix: str, *, secure: bool) -> Entry:
    """The entry; StartTLS is announced where it can be had, a password where it may be sent."""
    extensions = [oid.WHO_AM_I, oid.CANCEL]
    return Entry(
        "",
        {
            "objectClass": ["top"],
            "namingContexts": [suffix],
            "subschemaSubentry": [SUBSCHEMA],
            "supportedLDAPVersion": ["3"],
            "supportedControl": [oid.PAGED_RESULTS, oid.MANAGE_DSA_IT],
            "supportedExtension": extensions if secure else [oid.START_TLS, *extensions],
            "supportedFeatures": [oid.ALL_OPERATIONAL_ATTRIBUTES, oid.TRUE_AND_FALSE_FILTERS],
            "supportedSASLMechanisms": [PLAIN] if secure else [],
            "vendorName": ["Caducée"],
            "vendorVersion": [VERSION],
        },
    )
