"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208): one root, "", for the whole mailbox; what is past it is OVERQUOTA."""

from __future__ import annotations

from dataclasses import dataclass

from server.base.errors import Reason, Refused
from server.base.limits import FOLDERS_PER_OWNER, KIB, METADATA_BYTES
from server.imap.command import Named
from server.imap.grammar.cursor import Cursor
from server.imap.responses import Declined, Done
from server.imap.session import Session


@dataclass(frozen=True, slots=True)
class Root:
    root: bytes


def parse_root(cursor: Cursor) -> Root:
    """getquota = "GETQUOTA" SP quota-root-name"""
    cursor.sp()
    return Root(cursor.astring("a quota root"))


def parse_set(cursor: Cursor) -> Root:
    """setquota = "SETQUOTA" SP quota-root-name SP "(" [resource SP number *(SP resource SP number)] ")" """
    command = parse_root(cursor)
    cursor.sp()
    cursor.open()
    is_first = True
    while not cursor.peek(b")"):
        if not is_first:
            cursor.sp()
        is_first = False
        cursor.atom("a resource")
        cursor.sp()
        cursor.number64()
    cursor.close()
    return command


async def get_quota(session: Session, command: Root) -> Done:
    if command.root:
        raise Declined(b"NONEXISTENT", "There is no such quota root")
    await _tell(session)
    return Done("GETQUOTA completed")


async def get_quota_root(session: Session, command: Named) -> Done:
    # RFC 9208 §4.1.2: the folder need not exist.
    name = session.name(command.mailbox)
    session.line(b'QUOTAROOT %s ""' % session.written_name(name))
    await _tell(session)
    return Done("GETQUOTAROOT completed")


async def set_quota(session: Session, command: Root) -> Done:
    # Rooms are an operator's to give, by `caducee mailbox`: nobody who signs in here is one.
    raise Refused(Reason.NOT_ALLOWED, "Only the operator sets quotas")


async def _tell(session: Session) -> None:
    # RFC 9208 §5.1: storage in units of 1,024 octets; resources without a limit are not told.
    usage = await session.mailbox.usage()
    resources = [
        *([(b"STORAGE", _units(usage.used), _units(usage.room))] if usage.room else []),
        (b"MAILBOX", usage.folders, FOLDERS_PER_OWNER),
        (b"ANNOTATION-STORAGE", _units(usage.annotations), _units(METADATA_BYTES)),
    ]
    session.line(b'QUOTA "" (%s)' % b" ".join(b"%s %d %d" % resource for resource in resources))


def _units(octets: int) -> int:
    return -(-octets // KIB)
