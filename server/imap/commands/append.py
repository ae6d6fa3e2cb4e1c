"""APPEND (RFC 9051 §6.3.12): messages that the client brings, several at once (RFC 3502), or made of what is here
already (CATENATE, RFC 4469)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from server.base.errors import Reason, Refused
from server.base.limits import IMAP_LITERALS
from server.imap.grammar import dates, flags
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.flags import FlagSet
from server.imap.grammar.reader import Passed
from server.imap.grammar.sequence import compact
from server.imap.linked import linked
from server.imap.responses import Declined, Done
from server.imap.session import Session
from server.mailbox.incoming import Incoming
from server.mailbox.model import NewMessage


@dataclass(frozen=True, slots=True)
class Linked:
    """A part of a message that is a URL."""

    url: bytes


Part = bytes | Passed | Linked


@dataclass(frozen=True, slots=True)
class Brought:
    """One message: what it is put together of."""

    flags: FlagSet
    internaldate: datetime | None
    parts: tuple[Part, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Append:
    mailbox: bytes
    messages: tuple[Brought, ...]


def parse_append(cursor: Cursor) -> Append:
    """append = "APPEND" SP mailbox 1*(SP append-message)"""
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    messages: list[Brought] = []
    while not messages or cursor.peek(b" "):
        cursor.sp()
        messages.append(append_message(cursor))
        if sum(len(message.parts) for message in messages) > IMAP_LITERALS:
            raise BadSyntax("Too many messages, or parts of them")
    return Append(mailbox, tuple(messages))


def append_message(cursor: Cursor) -> Brought:
    """append-message = [flag-list SP] [date-time SP] append-data"""
    given, moment = FlagSet(), None
    if cursor.peek(b"("):
        given = flags.flag_list(cursor)
        cursor.sp()
    if cursor.peek(b'"'):
        moment = dates.date_time(cursor)
        cursor.sp()
    return Brought(given, moment, _parts(cursor))


def _parts(cursor: Cursor) -> tuple[Part, ...]:
    # append-data = literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")"
    if cursor.peek(b"\0") or cursor.peek(b"~"):
        return (cursor.large_literal(),)
    kind = cursor.word("a message")
    if kind not in ("UTF8", "CATENATE"):
        raise BadSyntax("Expected a message")
    cursor.sp()
    cursor.open()
    # RFC 6855 §4: octets are octets here, whatever the header holds.
    parts: list[Part] = [cursor.large_literal() if kind == "UTF8" else _cat_part(cursor)]
    while kind == "CATENATE" and cursor.take(b" "):
        parts.append(_cat_part(cursor))
    cursor.close()
    return tuple(parts)


def _cat_part(cursor: Cursor) -> Part:
    # cat-part = "TEXT" SP literal / "URL" SP astring (RFC 4469 §5)
    kind = cursor.word("TEXT or URL")
    cursor.sp()
    if kind == "URL":
        return Linked(cursor.astring("a URL"))
    if kind != "TEXT":
        raise BadSyntax("Expected TEXT or URL")
    return cursor.literal()


async def append(session: Session, command: Append) -> Done:
    try:
        folder = await session.folder(command.mailbox)
        messages = [await gathered(session, message) for message in command.messages]
        uids = await session.mailbox.append_many(folder.folder_id, messages)
    except Refused as refusal:
        raise try_create(refusal) from None
    session.services.views.wrote(session.mailbox.owner_id, folder.folder_id)
    # RFC 4315 §3
    return Done("APPEND completed", b"APPENDUID %d %s" % (folder.uidvalidity, compact(uids)))


async def gathered(session: Session, message: Brought) -> NewMessage:
    """The message, put together. Raises Declined: CANNOT (empty), TOOBIG, BADURL."""
    incoming = session.mailbox.incoming()
    for part in message.parts:
        if isinstance(part, Passed):
            incoming = session.uploads.of(part)
        elif isinstance(part, Linked):
            found = await linked(session, part.url)
            _check_size(session, incoming, found.size)
            async for piece in found.pieces:
                await incoming.add(piece)
        else:
            _check_size(session, incoming, len(part))
            await incoming.add(part)
    if not incoming.size:
        # RFC 9051 §6.3.12, RFC 3502 §6.3.11: a client that changed its mind sends an empty literal.
        raise Declined(b"CANNOT", "An empty message is not stored")
    return NewMessage(incoming, message.flags.mask, message.flags.keywords, message.internaldate)


def _check_size(session: Session, incoming: Incoming, more: int) -> None:
    # RFC 4469 §4
    if incoming.size + more > session.services.max_message_bytes:
        raise Declined(b"TOOBIG", "The message would be larger than allowed")


def try_create(refusal: Refused) -> Exception:
    """RFC 9051 §6.3.12, §6.4.7: a target that does not exist is told with TRYCREATE."""
    if refusal.reason is Reason.NO_SUCH_FOLDER:
        return Declined(b"TRYCREATE", "There is no such mailbox")
    return refusal
