"""The root DSE (RFC 4512 §5.1): what this server says of itself, to anyone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.base.version import VERSION
from server.ldap.oid import ALL_OPERATIONAL_ATTRIBUTES, START_TLS

Entry = Mapping[str, Sequence[str]]

# RFC 4512 §3.4: user attributes come unasked, operational ones when asked for.
_USER_ATTRIBUTES = frozenset({"objectclass"})


def naming_context(domain: str) -> str:
    """The suffix of a domain's directory (RFC 2247): `dc=msg,dc=exemple,dc=fr`."""
    return ",".join(f"dc={label}" for label in domain.split("."))


def root_dse(domain: str, start_tls: bool) -> Entry:
    """The entry's attributes; StartTLS is announced only where it can be had."""
    entry: dict[str, Sequence[str]] = {
        "objectClass": ["top"],
        "namingContexts": [naming_context(domain)],
        "supportedLDAPVersion": ["3"],
        "supportedFeatures": [ALL_OPERATIONAL_ATTRIBUTES],
        "vendorName": ["Caducée"],
        "vendorVersion": [VERSION],
    }
    if start_tls:
        entry["supportedExtension"] = [START_TLS]
    return entry


def select(entry: Entry, wanted: Sequence[str]) -> dict[str, Sequence[str]]:
    """The attributes that a search asks for (RFC 4511 §4.5.1.8, RFC 3673 for `+`).

    An empty list means "all user attributes"; for this entry alone we answer it with everything, as other directories
    do, since a person who looks at the root DSE by hand wants to see what it is there to tell.
    """
    names = {name.lower() for name in wanted}
    if names == {"1.1"}:  # RFC 4511 §4.5.1.8: no attributes
        return {}
    return {
        name: values
        for name, values in entry.items()
        if not names
        or name.lower() in names
        or ("*" in names and name.lower() in _USER_ATTRIBUTES)
        or ("+" in names and name.lower() not in _USER_ATTRIBUTES)
    }


def matches(entry: Entry, search_filter: tuple[str, Any]) -> bool | None:
    """A filter's value for the entry, three-valued as in RFC 4511 §4.5.1.7: None is Undefined.

    Recursion is bounded by LDAP_DEPTH, which `grammar.check` held before the message was decoded.
    """
    kind, value = search_filter
    if kind == "present":
        return _values(entry, value) is not None
    if kind == "equalityMatch":
        values = _values(entry, value["attributeDesc"])
        if values is None:
            return None
        asserted = value["assertionValue"].decode("utf-8", "replace").casefold()
        return any(held.casefold() == asserted for held in values)
    if kind == "not":
        inner = matches(entry, value)
        return None if inner is None else not inner
    if kind in ("and", "or"):
        results = [matches(entry, item) for item in value]
        decisive = kind == "or"
        if decisive in results:
            return decisive
        return None if None in results else not decisive
    return None


def _values(entry: Entry, name: bytes) -> Sequence[str] | None:
    wanted = name.decode("utf-8", "replace").lower()
    return next((values for held, values in entry.items() if held.lower() == wanted), None)
