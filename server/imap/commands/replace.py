"""REPLACE and UID REPLACE (RFC 8508): a draft saved anew, in one step."""

from __future__ import annotations

from dataclasses import dataclass

from server.base.errors import Refused
from server.imap.commands.append import Brought, append_message, gathered, try_create
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.sequence import SequenceSet, sequence_set
from server.imap.responses import Declined, Done
from server.imap.session import Session


@dataclass(frozen=True, slots=True)
class Replace:
    number: SequenceSet
    mailbox: bytes
    message: Brought


def parse_replace(cursor: Cursor) -> Replace:
    """replace = "REPLACE" SP seq-number SP mailbox SP append-message"""
    cursor.sp()
    number = sequence_set(cursor)
    if number.saved or len(number.ranges) != 1 or number.ranges[0][0] != number.ranges[0][1]:
        raise BadSyntax("REPLACE takes one message")
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    cursor.sp()
    return Replace(number, mailbox, append_message(cursor))


async def replace(session: Session, command: Replace) -> Done:
    return await _replace(session, command, by_uid=False)


async def uid_replace(session: Session, command: Replace) -> Done:
    return await _replace(session, command, by_uid=True)


async def _replace(session: Session, command: Replace, by_uid: bool) -> Done:
    selected = session.writable()
    uids = [uid for uid in selected.resolve(command.number, by_uid) if selected.row(uid) is not None]
    if not uids:
        # RFC 8508 §3.1: the message must be there, else nothing is stored.
        raise Declined(b"NONEXISTENT" if by_uid else b"EXPUNGEISSUED", "The message no longer exists")
    try:
        target = await session.folder(command.mailbox)
        message = await gathered(session, command.message)
        new = await session.mailbox.replace(selected.folder.folder_id, uids[0], target.folder_id, message)
    except Refused as refusal:
        raise try_create(refusal) from None
    # RFC 8508 §4.3: APPENDUID before the EXPUNGE, which the end of the command tells.
    session.ok("Replacement is stored", b"APPENDUID %d %d" % (target.uidvalidity, new))
    session.services.views.wrote(session.mailbox.owner_id, target.folder_id)
    selected.shared.touch()
    return Done("REPLACE completed")
