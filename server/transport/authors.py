"""Whom a message says it is from: the addresses of From and Sender, all of them.

One rule: what cannot be read whole is refused, since a reader who reads further would see another author (39C3 2025:
valid signatures under forged senders). Only the top header is read; the one pass over the whole comes in accept.
"""

from __future__ import annotations

from server.base.errors import Reason, Refused
from server.base.limits import MIME_ADDRESSES, MIME_HEADER_BYTES
from server.mail import addresses, headers

_FIELDS = ("from", "sender")


def authors(data: bytes) -> list[str]:
    """Addresses of every From and Sender field in the message (RFC 5322 §3.6.2), as they stand.

    Raises Refused(MALFORMED): no end of the header within its limit, too many fields, or a field that is no list of
    addresses.
    """
    empty_line = data.find(b"\r\n\r\n", 0, MIME_HEADER_BYTES)
    if data.startswith(b"\r\n"):
        block = b""
    elif empty_line >= 0:
        block = data[: empty_line + 2]
    elif len(data) <= MIME_HEADER_BYTES:
        block = data  # RFC 5322 §3.5: the body may be missing, and the empty line with it
    else:
        raise Refused(Reason.MALFORMED, "The header is too large.")
    found = headers.read(block)
    if found.more:
        raise Refused(Reason.MALFORMED, "The header has too many fields.")
    named: list[str] = []
    for field in found.fields:
        if field.name in _FIELDS:
            named += _addresses(headers.raw(block, field))
    return named


def _addresses(value: str) -> list[str]:
    entries = addresses.entries(value)
    # A group's ends have no local part (domain None); an empty domain is a word that is no address.
    if len(entries) >= MIME_ADDRESSES or any(entry.domain == "" for entry in entries):
        raise Refused(Reason.MALFORMED, "From or Sender is not a list of addresses.")
    return [mailbox.address for mailbox in addresses.parse(value)]
