"""What a view holds in columns, for many messages at once: FETCH of flags, as clients synchronise a whole mailbox, and
the answer to STORE."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from server.imap.grammar import flags
from server.imap.session import Session
from server.imap.view import SharedView
from server.mailbox.model import StoreResult
from server.mailbox.table import Table

_STEP = 2_000  # messages told before other sessions get a turn: less than a millisecond
_FORMS = {"UID": b"UID %d", "FLAGS": b"FLAGS (%b)", "MODSEQ": b"MODSEQ (%d)"}
ITEMS = frozenset(_FORMS)
MANY = 100  # messages of a STORE that is not answered row by row


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
    if session.sight.recent:
        masks = bytearray(map(session.sight.shown, known, masks))
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


@dataclass(frozen=True, slots=True)
class Expected:
    """What a STORE by a session that knows everything makes of many messages, if nobody comes between."""

    shared: SharedView
    modseq: int
    uids: array[int]
    masks: bytes

    def came(self, result: StoreResult) -> bool:
        """Whether it did so, and the view holds that and no more; to be asked when the view took the result."""
        rows = result.rows
        return (
            result.since == self.modseq
            and self.shared.modseq == result.modseq
            and isinstance(rows, Table)
            and rows.uids == self.uids
            and rows.flags == self.masks
        )


def expect(session: Session, uids: Sequence[int], op: str, mask: int) -> Expected | None:
    """None where each row has to be looked at."""
    shared, selected = session.sight.shared, session.sight
    table = shared.table
    if len(uids) < MANY or not selected.current or session.condstore or session.uidonly:
        return None
    if op == "replace" and table.keywords:
        return None
    known = table.flags if len(uids) == len(table) else bytes([table.flags[table.find(uid)] for uid in uids])
    after = {"add": lambda own: own | mask, "remove": lambda own: own & ~mask, "replace": lambda own: mask}[op]
    return Expected(shared, shared.modseq, array("I", uids), bytes(known).translate(bytes(map(after, range(256)))))
