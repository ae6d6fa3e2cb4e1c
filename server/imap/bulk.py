"""FETCH of what a view holds in columns, for many messages at once: how clients synchronise a whole mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from server.imap.grammar import flags
from server.imap.session import Session

_STEP = 2_000  # messages told before other sessions get a turn: less than a millisecond
_FORMS = {"UID": b"UID %d", "FLAGS": b"FLAGS (%b)", "MODSEQ": b"MODSEQ (%d)"}
ITEMS = frozenset(_FORMS)


async def tell(session: Session, uids: Sequence[int], items: Sequence[str]) -> bool:
    """The FETCH responses of these messages, with some of ITEMS; False, and nothing said, when the session's numbers
    are not those of the view."""
    table = session.sight.shared.table
    if session.sight.uids is not table.uids:
        return False
    positions = range(len(uids)) if len(uids) == len(table) else [table.find(uid) for uid in uids]
    line = b"* %d FETCH (" + b" ".join([_FORMS[item] for item in items]) + b")\r\n"
    # What arrives or vanishes meanwhile makes the view put other columns in the place of these.
    known, masks, modseqs, keywords = table.uids, table.flags, table.modseqs, table.keywords
    for start in range(0, len(positions), _STEP):
        step = positions[start : start + _STEP]
        columns: dict[str, list[bytes] | list[int]] = {}
        if "UID" in items:
            columns["UID"] = [known[at] for at in step]
        if "FLAGS" in items:
            columns["FLAGS"] = [flags.render(masks[at], keywords.get(known[at], ())) for at in step]
        if "MODSEQ" in items:
            columns["MODSEQ"] = [modseqs[at] for at in step]
        numbers = [at + 1 for at in step]
        session.write(b"".join(map(line.__mod__, zip(numbers, *[columns[item] for item in items], strict=True))))
        await session.drain()
        await asyncio.sleep(0)
    return True
