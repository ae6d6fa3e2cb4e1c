"""Invariant: any bytes give at most 1,000 entries, each with a domain or none, groups closed as they were opened;
normalising is idempotent; a valid path is what it says and short enough; nothing but BAD_ADDRESS is raised.
"""

from __future__ import annotations

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import ADDRESS, MIME_ADDRESSES
from server.mail import addresses, envelope


def fuzz(data: bytes) -> None:
    raw = data.decode("latin-1")
    found = addresses.entries(raw)
    assert len(found) <= MIME_ADDRESSES + 1
    depth = 0
    for entry in found:
        if entry.domain is None:
            depth += 1 if entry.local is not None else -1
            assert depth in (0, 1)
        else:
            assert entry.local is not None
    assert depth == 0 or len(found) >= MIME_ADDRESSES
    for mailbox in addresses.parse(raw):
        assert mailbox.name.isprintable() or not mailbox.name
        assert mailbox.domain
    told = envelope.address_list(found)
    assert told == b"NIL" or (told.startswith(b"(") and told.endswith(b")"))
    text = data.decode("utf-8", "replace")
    once = addresses.normalise(text)
    assert addresses.normalise(once) == once
    try:
        path = addresses.parse_path(text)
    except ProtocolViolation as refusal:
        if refusal.reason is not Reason.BAD_ADDRESS or addresses.valid(text):
            raise
    else:
        assert path is None or len(path.local.encode()) + len(path.domain.encode()) < ADDRESS
        assert path is None or addresses.parse_path(path.address) == path
