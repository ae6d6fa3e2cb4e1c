"""SELECT and EXAMINE (RFC 9051 §6.3.2), and the quick way back of a client that kept all (RFC 7162 §3.2.5)."""

from __future__ import annotations

from dataclasses import dataclass

from server.imap.commands.listing import tell_place
from server.imap.grammar import flags
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.sequence import Ranges, SequenceSet, holds, intersect, known_set, without, written
from server.imap.object_ids import mailbox_id
from server.imap.responses import Done, Illegal
from server.imap.session import Session
from server.imap.view import Selected


@dataclass(frozen=True, slots=True)
class Resync:
    """What the client kept. `matches` pairs sequence numbers with uids that it knows to belong together."""

    uidvalidity: int
    modseq: int
    known: SequenceSet | None = None
    matches: tuple[SequenceSet, SequenceSet] | None = None


@dataclass(frozen=True, slots=True)
class Select:
    mailbox: bytes
    condstore: bool = False
    resync: Resync | None = None


def parse_select(cursor: Cursor) -> Select:
    """select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"] (RFC 4466; RFC 7162 §7)"""
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    condstore, resync = False, None
    if cursor.take(b" "):
        cursor.open()
        while True:
            name = cursor.word("a select parameter")
            if name == "QRESYNC" and resync is None:
                cursor.sp()
                resync = _resync(cursor)
            elif name == "CONDSTORE" and not condstore:
                condstore = True
            else:
                raise BadSyntax("Unknown select parameter, or one given twice")
            if not cursor.take(b" "):
                break
        cursor.close()
    return Select(mailbox, condstore, resync)


def _resync(cursor: Cursor) -> Resync:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP "(" known-numbers SP known-uids ")"] ")" """
    cursor.open()
    uidvalidity = cursor.nz_number()
    cursor.sp()
    modseq = cursor.nz_number(2**63 - 1)
    known, matches = None, None
    more = cursor.take(b" ")
    if more and not cursor.peek(b"("):
        known = known_set(cursor)
        more = cursor.take(b" ")
    if more:
        cursor.open()
        numbers = known_set(cursor)
        cursor.sp()
        matches = (numbers, known_set(cursor))
        cursor.close()
    cursor.close()
    return Resync(uidvalidity, modseq, known, matches)


async def select(session: Session, command: Select) -> Done:
    return await _select(session, command, read_only=not session.may_change)


async def examine(session: Session, command: Select) -> Done:
    done = await _select(session, command, read_only=True)
    return Done("EXAMINE completed", done.code)


async def _select(session: Session, command: Select, read_only: bool) -> Done:
    resync = command.resync
    if resync is not None and not session.qresync:
        # RFC 7162 §3.2.5
        raise Illegal("Enable QRESYNC first")
    if resync is not None and resync.matches is not None and session.uidonly:
        # RFC 9586 §3.2
        raise Illegal("There are no message numbers after UIDONLY", b"UIDREQUIRED")
    # RFC 9051 §6.3.2: the old mailbox is left even when the new one cannot be had.
    if session.selected is not None:
        session.leave()
        session.ok("The previous mailbox is closed", b"CLOSED")
    if command.condstore:
        session.use_condstore()
    folder, state = await session.mailbox.opened_folder(session.name(command.mailbox))
    shared = await session.services.views.open(session.mailbox, folder, state)
    selected = Selected(shared, read_only)
    session.enter(selected)
    session.line(b"%d EXISTS" % len(selected.uids))
    if not session.rev2:
        await selected.claim_recent(session.mailbox)
        session.line(b"%d RECENT" % selected.recents())
    session.write_flags(selected)
    session.ok("Flags permitted", b"PERMANENTFLAGS (%s)" % (b"" if read_only else flags.ALL_SYSTEM + b" \\*"))
    first_unseen = shared.table.first_unseen()
    if first_unseen and not session.rev2 and not session.uidonly:
        session.ok("First unseen", b"UNSEEN %d" % first_unseen)
    session.ok("UIDs are valid", b"UIDVALIDITY %d" % folder.uidvalidity)
    session.ok("Predicted next UID", b"UIDNEXT %d" % selected.state.uidnext)
    session.ok("Highest modification sequence", selected.highest)
    session.ok("It keeps this identifier", mailbox_id(folder.folder_id))
    if session.rev2:
        # RFC 9051 §6.3.2: LIST is required.
        tell_place(session, await session.mailbox.folders(), folder, command.mailbox)
    if resync is not None and resync.uidvalidity == folder.uidvalidity:
        await _tell_missed(session, selected, resync)
    return Done("SELECT completed", b"READ-ONLY" if read_only else b"READ-WRITE")


async def _tell_missed(session: Session, selected: Selected, resync: Resync) -> None:
    """RFC 7162 §3.2.5.1, §3.2.5.2: what vanished and what changed since the client was here."""
    known = [(1, selected.state.uidnext - 1)] if resync.known is None else resync.known.resolve(0)
    await tell_vanished(session, selected, resync.modseq, known, _kept(selected, resync))
    for row in selected.shared.changed_since(resync.modseq):
        if holds(known, row.uid) and selected.number(row.uid):
            session.write_row(row, uid=True)
            await session.drain()


async def tell_vanished(session: Session, selected: Selected, since: int, known: Ranges, kept: int = 0) -> None:
    """VANISHED (EARLIER): uids of `known` that were removed after a modseq, and of which the session has no number.

    Where the change log was trimmed past it: all uids that no message has (RFC 7162 §3.2.10.1 allows more than the
    client ever knew) past `kept`, the highest uid up to which the client is known to lack nothing.
    """
    vanished = await session.mailbox.vanished(selected.folder.folder_id, since)
    if vanished is None:
        vanished = [(kept + 1, selected.state.uidnext - 1)]
    gone = without(intersect(vanished, known), selected.uids)
    if gone:
        session.line(b"VANISHED (EARLIER) " + written(gone))
        await session.drain()


def _kept(selected: Selected, resync: Resync) -> int:
    """Up to which uid the client's pairs still hold, from the first on (RFC 7162 §3.2.5.2)."""
    if resync.matches is None:
        return 0
    numbers, uids = (side.resolve(0) for side in resync.matches)
    at = [number for low, high in numbers for number in range(low, min(high, len(selected.uids)) + 1)]
    kept = 0
    for number, uid in zip(at, (uid for low, high in uids for uid in range(low, high + 1)), strict=False):
        if selected.uids[number - 1] != uid:
            break
        kept = uid
    return kept
