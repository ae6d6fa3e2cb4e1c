"""The lines that tell flags of messages: unsolicited ones, and those that answer STORE."""

from __future__ import annotations

from server.imap.grammar import flags
from server.mailbox.model import Row


def flags_line(number: int, row: Row, *, uid: bool, modseq: bool, with_flags: bool = True) -> bytes:
    """`n FETCH (UID … FLAGS (…) MODSEQ (…))`, without "* " and line end."""
    items = []
    if uid:
        items.append(b"UID %d" % row.uid)
    if with_flags:
        items.append(b"FLAGS (%s)" % flags.render(row.flags, row.keywords))
    if modseq:
        items.append(b"MODSEQ (%d)" % row.modseq)
    return b"%d FETCH (%s)" % (number, b" ".join(items))
