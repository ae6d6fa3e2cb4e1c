"""Commands of a signed-in session on mailboxes as such (RFC 9051 §6.3): select, create, status, append, idle.

LIST and LSUB have their own module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from server.base.errors import Reason, Refused
from server.imap.command import Bare
from server.imap.grammar import dates, flags, names
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.flags import FlagSet
from server.imap.responses import Declined, Done
from server.imap.session import Session
from server.imap.view import Selected
from server.mailbox.model import FolderState


@dataclass(frozen=True, slots=True)
class Named:
    mailbox: bytes


def parse_named(cursor: Cursor) -> Named:
    cursor.sp()
    return Named(cursor.astring("a mailbox name"))


# --- SELECT, EXAMINE ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Select:
    mailbox: bytes
    condstore: bool = False


def parse_select(cursor: Cursor) -> Select:
    """select = "SELECT" SP mailbox [select-params] ; CONDSTORE (RFC 7162 §3.1.8)"""
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    condstore = False
    if cursor.take(b" "):
        cursor.open()
        if cursor.word("a select parameter") != "CONDSTORE":
            raise BadSyntax("Unknown select parameter")
        condstore = True
        cursor.close()
    return Select(mailbox, condstore)


async def select(session: Session, command: Select) -> Done:
    return await _select(session, command, read_only=not session.may_change)


async def examine(session: Session, command: Select) -> Done:
    done = await _select(session, command, read_only=True)
    return Done("EXAMINE completed", done.code)


async def _select(session: Session, command: Select, read_only: bool) -> Done:
    # RFC 9051 §6.3.2: the old mailbox is left even when the new one cannot be had.
    if session.selected is not None:
        session.leave()
        session.ok("The previous mailbox is closed", b"CLOSED")
    session.condstore |= command.condstore
    folder = await session.folder(command.mailbox)
    shared = await session.services.views.open(session.mailbox, folder)
    selected = Selected(shared, read_only)
    session.enter(selected)
    session.line(b"%d EXISTS" % len(selected.uids))
    # \Recent is always 0, as in rev2, which dropped it: telling two sessions apart costs a write a SELECT.
    session.line(b"0 RECENT")
    session.write_flags(selected)
    session.ok("Flags permitted", b"PERMANENTFLAGS (%s)" % (b"" if read_only else flags.ALL_SYSTEM + b" \\*"))
    first_unseen = _first_unseen(selected)
    if first_unseen:
        session.ok("First unseen", b"UNSEEN %d" % first_unseen)
    session.ok("UIDs are valid", b"UIDVALIDITY %d" % folder.uidvalidity)
    session.ok("Predicted next UID", b"UIDNEXT %d" % selected.state.uidnext)
    session.ok("Highest modification sequence", b"HIGHESTMODSEQ %d" % max(shared.modseq, 1))
    return Done("SELECT completed", b"READ-ONLY" if read_only else b"READ-WRITE")


def _first_unseen(selected: Selected) -> int:
    if not selected.state.unseen:
        return 0
    rows = selected.shared.rows
    return next((at for at, uid in enumerate(selected.uids, 1) if not rows[uid].flags & flags.SEEN), 0)


# --- CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE ------------------------------------------------------------
async def create(session: Session, command: Named) -> Done:
    # RFC 9051 §6.3.4: a trailing delimiter only says that more will be created below.
    name = session.name(command.mailbox).removesuffix(names.DELIMITER)
    await session.mailbox.create_folder(names.creatable(name))
    return Done("CREATE completed")


async def delete(session: Session, command: Named) -> Done:
    await session.mailbox.delete_folder(session.name(command.mailbox))
    return Done("DELETE completed")


@dataclass(frozen=True, slots=True)
class Rename:
    mailbox: bytes
    new: bytes


def parse_rename(cursor: Cursor) -> Rename:
    """rename = "RENAME" SP mailbox SP mailbox"""
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    cursor.sp()
    return Rename(mailbox, cursor.astring("a mailbox name"))


async def rename(session: Session, command: Rename) -> Done:
    old = session.name(command.mailbox)
    new = names.creatable(session.name(command.new).removesuffix(names.DELIMITER))
    await session.mailbox.rename_folder(old, new)
    return Done("RENAME completed")


async def subscribe(session: Session, command: Named) -> Done:
    await session.mailbox.subscribe(session.name(command.mailbox), True)
    return Done("SUBSCRIBE completed")


async def unsubscribe(session: Session, command: Named) -> Done:
    await session.mailbox.subscribe(session.name(command.mailbox), False)
    return Done("UNSUBSCRIBE completed")


# --- STATUS ---------------------------------------------------------------------------------------------------
STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ")


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: bytes
    items: tuple[str, ...]


def parse_status(cursor: Cursor) -> Status:
    """status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" """
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    cursor.sp()
    return Status(mailbox, status_items(cursor))


def status_items(cursor: Cursor) -> tuple[str, ...]:
    cursor.open()
    items = [cursor.word("a status item")]
    while cursor.take(b" "):
        items.append(cursor.word("a status item"))
    cursor.close()
    unique = tuple(dict.fromkeys(items))
    if not set(unique) <= set(STATUS_ITEMS):
        raise BadSyntax("Unknown status item")
    return unique


async def status(session: Session, command: Status) -> Done:
    folder = await session.folder(command.mailbox)
    state = (await session.mailbox.states([folder.folder_id])).get(folder.folder_id)
    if state is None:
        raise Refused(Reason.NO_SUCH_FOLDER, "There is no such mailbox")
    session.condstore |= "HIGHESTMODSEQ" in command.items
    write_status(session, folder.name, folder.uidvalidity, state, command.items)
    return Done("STATUS completed")


def write_status(session: Session, name: str, uidvalidity: int, state: FolderState, items: Sequence[str]) -> None:
    values = {
        "MESSAGES": state.messages,
        "RECENT": 0,
        "UIDNEXT": state.uidnext,
        "UIDVALIDITY": uidvalidity,
        "UNSEEN": state.unseen,
        "DELETED": state.deleted,
        "SIZE": state.bytes,
        "HIGHESTMODSEQ": max(state.highestmodseq, 1),
    }
    told = b" ".join(b"%s %d" % (item.encode(), values[item]) for item in items)
    session.line(b"STATUS %s (%s)" % (session.written_name(name), told))


# --- APPEND ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Append:
    mailbox: bytes
    flags: FlagSet
    internaldate: datetime | None
    data: bytes = field(repr=False)


def parse_append(cursor: Cursor) -> Append:
    """append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal"""
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    cursor.sp()
    given, moment = FlagSet(), None
    if cursor.peek(b"("):
        given = flags.flag_list(cursor)
        cursor.sp()
    if cursor.peek(b'"'):
        moment = dates.date_time(cursor)
        cursor.sp()
    data = cursor.literal()
    if cursor.literal8:
        raise BadSyntax("Binary literals are not offered")
    return Append(mailbox, given, moment, data)


async def append(session: Session, command: Append) -> Done:
    if not command.data:
        # RFC 9051 §6.3.12: a client that changed its mind sends an empty literal.
        raise Declined(b"CANNOT", "An empty message is not stored")
    name = session.name(command.mailbox)
    try:
        folder = await session.mailbox.folder(name)
        uid = await session.mailbox.append(
            folder.folder_id, command.data, command.flags.mask, command.flags.keywords, command.internaldate
        )
    except Refused as refusal:
        raise try_create(refusal) from None
    session.services.views.wrote(session.mailbox.owner_id, folder.folder_id)
    # RFC 4315 §3
    return Done("APPEND completed", b"APPENDUID %d %d" % (folder.uidvalidity, uid))


def try_create(refusal: Refused) -> Exception:
    """RFC 9051 §6.3.12, §6.4.7: a target that does not exist is told with TRYCREATE."""
    if refusal.reason is Reason.NO_SUCH_FOLDER:
        return Declined(b"TRYCREATE", "There is no such mailbox")
    return refusal


# --- NAMESPACE, ENABLE, IDLE ----------------------------------------------------------------------------------
async def namespace(session: Session, command: Bare) -> Done:
    # RFC 2342 §5: one personal namespace, at the root.
    session.line(b'NAMESPACE (("" "%s")) NIL NIL' % names.DELIMITER.encode())
    return Done("NAMESPACE completed")


@dataclass(frozen=True, slots=True)
class Enable:
    names: tuple[str, ...]


def parse_enable(cursor: Cursor) -> Enable:
    """enable = "ENABLE" 1*(SP capability)"""
    cursor.sp()
    wanted = [cursor.word("a capability")]
    while cursor.take(b" "):
        wanted.append(cursor.word("a capability"))
    return Enable(tuple(wanted))


async def enable(session: Session, command: Enable) -> Done:
    # RFC 5161 §3.2: what was newly enabled; names that are unknown are passed over.
    fresh = "CONDSTORE" in command.names and not session.condstore
    session.condstore |= fresh
    session.line(b"ENABLED CONDSTORE" if fresh else b"ENABLED")
    return Done("ENABLE completed")


async def idle(session: Session, command: Bare) -> Done:
    """What stands after DONE; the waiting is the dialogue's (`dialogue.py`)."""
    session.stop_idling()
    return Done("IDLE completed")
