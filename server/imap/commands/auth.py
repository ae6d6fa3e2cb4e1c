"""Commands of a signed-in session on mailboxes as such (RFC 9051 §6.3): status, namespace, idle.

SELECT, CREATE and its like, LIST, APPEND and ENABLE have their own modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.imap.command import Bare
from server.imap.grammar import names
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.object_ids import mailbox_id
from server.imap.responses import Done
from server.imap.session import Session
from server.mailbox.model import Folder, FolderState

# --- STATUS ---------------------------------------------------------------------------------------------------
STATUS_ITEMS = (
    "MESSAGES",
    "RECENT",
    "UIDNEXT",
    "UIDVALIDITY",
    "UNSEEN",
    "DELETED",
    "SIZE",
    "HIGHESTMODSEQ",
    "MAILBOXID",
    "APPENDLIMIT",  # RFC 7889 §4
    "DELETED-STORAGE",  # RFC 9208 §4.1.4
)


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
    folder, state = await session.mailbox.opened_folder(session.name(command.mailbox))
    if "HIGHESTMODSEQ" in command.items:
        session.use_condstore()
    write_status(session, folder, state, command.items, await reclaimable(session, command.items))
    return Done("STATUS completed")


async def reclaimable(session: Session, items: Sequence[str]) -> Mapping[int, int]:
    """What EXPUNGE would free in each folder, where it is asked for."""
    return await session.mailbox.deleted_bytes() if "DELETED-STORAGE" in items else {}


def write_status(
    session: Session, folder: Folder, state: FolderState, items: Sequence[str], deleted: Mapping[int, int]
) -> None:
    values = {
        "MESSAGES": state.messages,
        "RECENT": state.recent,
        "UIDNEXT": state.uidnext,
        "UIDVALIDITY": folder.uidvalidity,
        "UNSEEN": state.unseen,
        "DELETED": state.deleted,
        "SIZE": state.bytes,
        "HIGHESTMODSEQ": max(state.highestmodseq, 1),
        "APPENDLIMIT": session.services.max_message_bytes,
        "DELETED-STORAGE": deleted.get(folder.folder_id, 0),
    }
    if session.rev2:
        del values["RECENT"]  # RFC 9051 Appendix E
    told = [b"%s %d" % (item.encode(), values[item]) for item in items if item in values]
    if "MAILBOXID" in items:
        told.append(mailbox_id(state.folder_id))
    session.line(b"STATUS %s (%s)" % (session.written_name(folder.name), b" ".join(told)))


# --- NAMESPACE, IDLE ------------------------------------------------------------------------------------------
async def namespace(session: Session, command: Bare) -> Done:
    # RFC 2342 §5: one personal namespace, at the root.
    session.line(b'NAMESPACE (("" "%s")) NIL NIL' % names.DELIMITER.encode())
    return Done("NAMESPACE completed")


async def idle(session: Session, command: Bare) -> Done:
    """What stands after DONE; the waiting is the dialogue's (`dialogue.py`)."""
    session.listen(idle=False)
    return Done("IDLE completed")
