"""Invariant: any bytes are the URL of one message with numbers in range and a rump that begins it, or BadSyntax; what a
mailbox is called there is what the client wrote, percent-decoded once.
"""

from __future__ import annotations

from urllib.parse import quote

from server.imap.grammar import url
from server.imap.grammar.cursor import NUMBER32, BadSyntax


def fuzz(data: bytes) -> None:
    try:
        found = url.parse(data)
    except BadSyntax:
        return
    assert len(data) <= url.URL_BYTES
    assert 0 < found.uid <= NUMBER32
    assert found.uidvalidity is None or found.uidvalidity > 0
    assert found.partial is None or (found.partial[0] >= 0 and found.partial[1] > 0)
    assert found.expire is None or found.expire.tzinfo is not None
    assert data.startswith(found.rump)
    assert bool(found.rump) == bool(found.access)
    assert bool(found.token) <= bool(found.access)
    again = url.parse(f"/{quote(found.mailbox)};UIDVALIDITY=1/;UID={found.uid}".encode())
    assert again.mailbox == found.mailbox.rstrip("/")
