"""IMAP ENVELOPE of a header, and the strings of IMAP that it is made of (RFC 3501 §7.4.2, §9; RFC 9051 §7.5.2).

Strings are quoted where RFC 3501 lets them be, that is in ASCII without CR, LF and NUL, else literals: those are right
for every client, whether it has enabled UTF8=ACCEPT or not. A NUL can stand in neither, and is left out.
"""

from __future__ import annotations

import re

from server.mail import addresses, headers
from server.mail.addresses import Entry
from server.mail.headers import Field

_PLAIN = re.compile(r"[ !#-\[\]-~]{0,900}+")
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*+")
_TO_ESCAPE = re.compile(rb'(["\\])')
_ADDRESSES = ("from", "sender", "reply-to", "to", "cc", "bcc")
_WANTED = frozenset({"date", "subject", "in-reply-to", "message-id", *_ADDRESSES})
NIL = b"NIL"


def string(value: str) -> bytes:
    """A raw value (octets as latin-1) as an IMAP string."""
    if _PLAIN.fullmatch(value):
        return b'"%b"' % value.encode()
    octets = value.encode("latin-1", "replace")
    if b"\0" in octets:
        octets = octets.replace(b"\0", b"")
    if _QUOTABLE.fullmatch(octets) and len(octets) < 1_000:
        # Longer ones are literals: lines of a client may be bounded (RFC 2683 §3.2.1.5).
        return b'"' + (_TO_ESCAPE.sub(rb"\\\1", octets) if b'"' in octets or b"\\" in octets else octets) + b'"'
    return b"{%d}\r\n%b" % (len(octets), octets)


def nstring(value: str | None) -> bytes:
    """The same, NIL for None."""
    return NIL if value is None else string(value)


def envelope(block: bytes, fields: list[Field] | None = None, base: int = 0) -> bytes:
    """ENVELOPE of a header block that starts at offset `base`; `fields` where they are known already."""
    return render(values(block, headers.read(block, base).fields if fields is None else fields, base))


def values(block: bytes, fields: list[Field], base: int = 0) -> dict[str, str]:
    """The unfolded values of the fields that ENVELOPE tells, the first of each name."""
    found: dict[str, str] = {}
    for field in fields:
        if field.name in _WANTED and field.name not in found:
            found[field.name] = headers.raw(block, field, base)
    return found


def render(values: dict[str, str], known: dict[str, list[Entry]] | None = None) -> bytes:
    """ENVELOPE of unfolded values; `known`: lists of addresses that were read already, by field."""
    known = known or {}
    lists = {
        name: address_list(known.get(name) or addresses.entries(values[name])) if name in values else NIL
        for name in _ADDRESSES
    }
    # RFC 9051 §7.5.2: Sender and Reply-To that are absent or empty are set to From by the server.
    for name in ("sender", "reply-to"):
        if lists[name] == NIL:
            lists[name] = lists["from"]
    return b"(%b %b %b %b %b)" % (
        nstring(values.get("date")),
        nstring(values.get("subject")),
        b" ".join(lists.values()),
        nstring(values.get("in-reply-to")),
        nstring(values.get("message-id")),
    )


def address_list(found: list[Entry]) -> bytes:
    """The entries of an address list as "(" 1*address ")", or NIL when there is none."""
    if not found:
        return NIL
    # addr-name SP addr-adl (the source route) SP addr-mailbox SP addr-host
    return b"(%b)" % b"".join(
        b"(%b %b %b %b)" % (nstring(entry.name), nstring(entry.route), nstring(entry.local), nstring(entry.domain))
        for entry in found
    )
