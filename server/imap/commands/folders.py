"""Commands that change the set of folders (RFC 9051 §6.3.4-8): create, delete, rename, subscribe."""

from __future__ import annotations

from dataclasses import dataclass

from server.imap.command import Named
from server.imap.commands.listing import tell_place
from server.imap.grammar import names
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.object_ids import mailbox_id
from server.imap.responses import Declined, Done
from server.imap.session import Session


@dataclass(frozen=True, slots=True)
class Create:
    mailbox: bytes
    uses: tuple[str, ...] = ()


def parse_create(cursor: Cursor) -> Create:
    """create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"] (RFC 6154 §3)"""
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    uses: list[str] = []
    if cursor.take(b" "):
        cursor.open()
        if cursor.word("a create parameter") != "USE":
            raise BadSyntax("Unknown create parameter")
        cursor.sp()
        cursor.open()
        while not cursor.peek(b")"):
            if uses:
                cursor.sp()
            cursor.expect(b"\\", "a special use")
            uses.append(cursor.word("a special use").capitalize())
        cursor.close()
        cursor.close()
    return Create(mailbox, tuple(dict.fromkeys(uses)))


async def create(session: Session, command: Create) -> Done:
    # RFC 9051 §6.3.4: a trailing delimiter only says that more will be created below.
    name = session.name(command.mailbox).removesuffix(names.DELIMITER)
    if len(command.uses) > 1:
        raise Declined(b"USEATTR", "A folder has one special use at most")
    folder = await session.mailbox.create_folder(names.creatable(name), *(f"\\{use}" for use in command.uses))
    if session.rev2 and command.mailbox.removesuffix(b"/") != session.encoded_name(folder.name):
        # RFC 9051 §6.3.4: kept under its normalised name, and the client is told.
        tell_place(session, await session.mailbox.folders(), folder, command.mailbox)
    return Done("CREATE completed", mailbox_id(folder.folder_id))


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
