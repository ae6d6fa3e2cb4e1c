"""Commands on the selected mailbox: CHECK, CLOSE, UNSELECT, EXPUNGE, STORE, COPY, MOVE (RFC 9051 §6.4).

FETCH and SEARCH have their own modules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.base.errors import Refused
from server.imap import bulk
from server.imap.command import Bare
from server.imap.commands.append import try_create
from server.imap.grammar import flags
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.flags import FlagSet
from server.imap.grammar.sequence import SequenceSet, compact, sequence_set
from server.imap.responses import Declined, Done
from server.imap.session import Session
from server.imap.view import Selected
from server.mailbox.model import Row

if TYPE_CHECKING:
    from server.mailbox.commands import Progress
    from server.mailbox.store import Operation


async def check(session: Session, command: Bare) -> Done:
    return Done("CHECK completed")


async def close(session: Session, command: Bare) -> Done:
    # RFC 9051 §6.4.1: removes without telling; a mailbox opened for reading keeps its messages.
    selected, code = session.sight, b""
    if not selected.read_only:
        if session.qresync:
            await session.sync(expunge=True, force=True)
        known = selected.deleted() if session.qresync else []
        gone = await session.mailbox.expunge(selected.folder.folder_id, None, session.progress)
        if gone:
            selected.shared.touch()
        if gone and session.qresync:
            # RFC 7162 §3.2.8: true only when nothing but what the client knew to be marked went away meanwhile.
            await selected.shared.refresh(session.mailbox)
            news = selected.updates(expunge=True)
            if news.vanished == gone == known and news.exists is None and not news.changed:
                code = selected.highest
    session.leave()
    return Done("CLOSE completed", code)


async def unselect(session: Session, command: Bare) -> Done:
    session.leave()
    return Done("UNSELECT completed")


# --- EXPUNGE --------------------------------------------------------------------------------------------------
async def expunge(session: Session, command: Bare) -> Done:
    return Done("EXPUNGE completed", await _expunge(session, session.writable(), None))


async def _expunge(session: Session, selected: Selected, uids: list[int] | None) -> bytes:
    """Removes, tells, and returns the code of the modseq that stands then (RFC 7162 §3.2.7)."""
    if uids == [] or not await session.mailbox.expunge(selected.folder.folder_id, uids, session.progress):
        return b""
    selected.shared.touch()
    return await _told_upto(session, selected)


async def _told_upto(session: Session, selected: Selected) -> bytes:
    if not session.qresync:
        return b""
    await session.sync(expunge=True)
    return selected.highest


@dataclass(frozen=True, slots=True)
class Messages:
    numbers: SequenceSet


def parse_messages(cursor: Cursor) -> Messages:
    cursor.sp()
    return Messages(sequence_set(cursor))


async def uid_expunge(session: Session, command: Messages) -> Done:
    # RFC 4315 §2.1
    selected = session.writable()
    uids = selected.resolve(command.numbers, by_uid=True)
    return Done("UID EXPUNGE completed", await _expunge(session, selected, uids))


# --- STORE ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Store:
    numbers: SequenceSet
    op: Operation
    silent: bool
    flags: FlagSet
    unchanged_since: int | None = None


_OPERATIONS: dict[bytes, Operation] = {b"+": "add", b"-": "remove", b"": "replace"}


def parse_store(cursor: Cursor) -> Store:
    """store = "STORE" SP sequence-set [SP "(" UNCHANGEDSINCE n ")"] SP store-att-flags (RFC 7162 §3.1.3)"""
    cursor.sp()
    numbers = sequence_set(cursor)
    cursor.sp()
    unchanged_since = None
    if cursor.peek(b"("):
        cursor.open()
        if cursor.word("a store modifier") != "UNCHANGEDSINCE":
            raise BadSyntax("Unknown store modifier")
        cursor.sp()
        unchanged_since = cursor.number64()
        cursor.close()
        cursor.sp()
    sign = b"+" if cursor.take(b"+") else b"-" if cursor.take(b"-") else b""
    name = cursor.word("FLAGS")
    if name not in ("FLAGS", "FLAGS.SILENT"):
        raise BadSyntax("Expected FLAGS or FLAGS.SILENT")
    cursor.sp()
    return Store(numbers, _OPERATIONS[sign], name == "FLAGS.SILENT", flags.store_flags(cursor), unchanged_since)


async def store(session: Session, command: Store) -> Done:
    return await _store(session, command, by_uid=False)


async def uid_store(session: Session, command: Store) -> Done:
    return await _store(session, command, by_uid=True)


async def _store(session: Session, command: Store, by_uid: bool) -> Done:
    selected = session.writable()
    uids = selected.resolve(command.numbers, by_uid)
    if command.unchanged_since is not None:
        session.use_condstore()
    if not uids:
        return Done("STORE completed")
    plain = command.unchanged_since is None and not command.flags.keywords
    expected = bulk.expect(session, uids, command.op, command.flags.mask) if plain else None
    before = {} if expected else {uid: row for uid in uids if (row := selected.row(uid)) is not None}
    result = await session.mailbox.store(
        selected.folder.folder_id,
        uids,
        command.op,
        command.flags.mask,
        command.flags.keywords,
        command.unchanged_since,
        session.progress,
    )
    selected.shared.written(result)
    if expected is not None and expected.came(result):
        selected.catch_up()
        if not command.silent:
            await bulk.tell(session, uids, ["UID", "FLAGS"] if by_uid else ["FLAGS"])
        return Done("STORE completed")
    for row in result.rows:
        if not selected.number(row.uid):
            continue
        if not command.silent or session.condstore:
            session.write_row(row, uid=by_uid, with_flags=not command.silent)
        if not command.silent or _as_expected(selected, before.get(row.uid), row, command):
            selected.told(row)
    await session.drain()
    kept_out = [uid if by_uid else selected.number(uid) for uid in result.conflicts]
    if expected is None and len(before) < len(uids) and not by_uid:
        raise Declined(b"EXPUNGEISSUED", "Some of the messages no longer exist")
    if kept_out:
        return Done("Conditional STORE left some messages as they are", b"MODIFIED " + compact(kept_out))
    return Done("STORE completed")


def _as_expected(selected: Selected, before: Row | None, after: Row, command: Store) -> bool:
    """Whether a client that asked for silence can tell the result (RFC 9051 §6.4.6: changes of others are told)."""
    if before is None or not selected.knows(before):
        return False
    named = {name.lower() for name in command.flags.keywords}
    known = {name.lower() for name in before.keywords}
    mask, keywords = {
        "add": (before.flags | command.flags.mask, known | named),
        "remove": (before.flags & ~command.flags.mask, known - named),
        "replace": (command.flags.mask, named),
    }[command.op]
    return after.flags == mask and {name.lower() for name in after.keywords} == keywords


# --- COPY, MOVE -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Copy:
    numbers: SequenceSet
    mailbox: bytes


def parse_copy(cursor: Cursor) -> Copy:
    """copy = "COPY" SP sequence-set SP mailbox"""
    cursor.sp()
    numbers = sequence_set(cursor)
    cursor.sp()
    return Copy(numbers, cursor.astring("a mailbox name"))


Transfer = Callable[[int, list[int], int, "Progress"], Awaitable[list[tuple[int, int]]]]


async def copy(session: Session, command: Copy) -> Done:
    return Done("COPY completed", await _transfer(session, command, session.mailbox.copy, by_uid=False))


async def uid_copy(session: Session, command: Copy) -> Done:
    return Done("COPY completed", await _transfer(session, command, session.mailbox.copy, by_uid=True))


async def move(session: Session, command: Copy) -> Done:
    return await _move(session, command, by_uid=False)


async def uid_move(session: Session, command: Copy) -> Done:
    return await _move(session, command, by_uid=True)


async def _move(session: Session, command: Copy, by_uid: bool) -> Done:
    selected = session.writable()
    code = await _transfer(session, command, session.mailbox.move, by_uid)
    if not code:
        return Done("MOVE completed")
    # RFC 6851 §4.3: COPYUID before the EXPUNGEs, which the end of the command tells.
    session.ok("Moved", code)
    selected.shared.touch()
    return Done("MOVE completed", await _told_upto(session, selected))


async def _transfer(session: Session, command: Copy, transfer: Transfer, by_uid: bool) -> bytes:
    """Copy or move; returns the COPYUID code (RFC 4315 §3), empty when there was no message."""
    selected = session.sight
    source = selected.folder.folder_id
    uids = selected.resolve(command.numbers, by_uid)
    present = [uid for uid in uids if selected.row(uid) is not None]
    if len(present) < len(uids) and not by_uid:
        # RFC 9051 §6.4.7: all or nothing.
        raise Declined(b"EXPUNGEISSUED", "Some of the messages no longer exist")
    try:
        target = await session.folder(command.mailbox)
        pairs = await transfer(source, present, target.folder_id, session.progress) if present else []
    except Refused as refusal:
        raise try_create(refusal) from None
    if not pairs:
        return b""
    session.services.views.wrote(session.mailbox.owner_id, target.folder_id)
    sources, copies = compact(uid for uid, _ in pairs), compact(uid for _, uid in pairs)
    return b"COPYUID %d %s %s" % (target.uidvalidity, sources, copies)
