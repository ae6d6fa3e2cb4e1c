"""Access to a shared mailbox (RFC 4314): delegations of ORG and CAB mailboxes, in the letters of IMAP.

A delegation is of the whole mailbox, so its rights are the same in each folder. They come in three groups, each given
whole or not at all (LISTRIGHTS says so): read "lr", send as it "p", manage "swikxte". Who signs in as the mailbox
itself administers it ("a"); a delegate never does.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.base.errors import Reason, Refused
from server.identity.model import Rights
from server.imap.command import Named
from server.imap.grammar import write
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.responses import Declined, Done
from server.imap.session import Session
from server.mail.addresses import normalise

_GROUPS = {Rights.READ: "lr", Rights.SEND: "p", Rights.MANAGE: "swikxte"}
# RFC 4314 §2.1.1: "c" and "d" of RFC 2086 are told with what they have become.
_VIRTUAL = "cd"
_ADMINISTER = "a"
_LETTERS = frozenset("".join(_GROUPS.values()) + _VIRTUAL + _ADMINISTER)


@dataclass(frozen=True, slots=True)
class Person:
    mailbox: bytes
    identifier: str


@dataclass(frozen=True, slots=True)
class SetAcl:
    person: Person
    sign: str  # "+", "-", or "" to replace
    letters: frozenset[str]


def parse_person(cursor: Cursor) -> Person:
    """deleteacl = "DELETEACL" SP mailbox SP identifier ; listrights the same"""
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    cursor.sp()
    return Person(mailbox, cursor.astring("an identifier").decode("utf-8", "replace"))


def parse_set(cursor: Cursor) -> SetAcl:
    """setacl = "SETACL" SP mailbox SP identifier SP mod-rights ; mod-rights = astring, with "+" or "-" in front"""
    person = parse_person(cursor)
    cursor.sp()
    rights = cursor.astring("rights").decode("ascii", "replace")
    sign = rights[:1] if rights[:1] in ("+", "-") else ""
    letters = frozenset(rights[len(sign) :])
    # RFC 4314 §3.1: a right that the server does not know is a fault of syntax.
    if not letters <= _LETTERS:
        raise BadSyntax("Unknown right")
    return SetAcl(person, sign, letters)


async def my_rights(session: Session, command: Named) -> Done:
    folder = await session.folder(command.mailbox)
    session.line(my_rights_line(session, folder.name))
    return Done("MYRIGHTS completed")


def my_rights_line(session: Session, name: str) -> bytes:
    """Also for LIST (RFC 8440)."""
    principal = session.principal
    letters = _all() if principal is None or principal.delegate is None else _written(principal.rights)
    return b"MYRIGHTS %s %s" % (session.written_name(name), letters)


async def get_acl(session: Session, command: Named) -> Done:
    address = _administrator(session)
    folder = await session.folder(command.mailbox)
    told = [(address, _all())]
    told += [(share.address, _written(share.rights)) for share in await session.mailbox.shares()]
    people = b"".join(b" %s %s" % (write.astring(one.encode()), letters) for one, letters in told)
    session.line(b"ACL %s%s" % (session.written_name(folder.name), people))
    return Done("GETACL completed")


async def list_rights(session: Session, command: Person) -> Done:
    address = _administrator(session)
    folder = await session.folder(command.mailbox)
    person = command.identifier
    # RFC 4314 §3.7: first what the person always has, then groups that come together.
    told = _all() if normalise(person) == address else b'"" lr p swikxte' + _VIRTUAL.encode()
    session.line(b"LISTRIGHTS %s %s %s" % (session.written_name(folder.name), write.astring(person.encode()), told))
    return Done("LISTRIGHTS completed")


async def set_acl(session: Session, command: SetAcl) -> Done:
    address = _administrator(session)
    await session.folder(command.person.mailbox)
    person = normalise(command.person.identifier)
    if person == address:
        raise Declined(b"CANNOT", "The rights of the mailbox itself cannot be changed")
    had = {share.address: share.rights for share in await session.mailbox.shares()}.get(person, Rights(0))
    rights = _changed(had, command)
    if rights & (Rights.SEND | Rights.MANAGE) and not rights & Rights.READ:
        raise Declined(b"CANNOT", "Who may send or manage must be able to read")
    await _share(session, person, rights)
    return Done("SETACL completed")


async def delete_acl(session: Session, command: Person) -> Done:
    address = _administrator(session)
    await session.folder(command.mailbox)
    person = normalise(command.identifier)
    if person == address:
        raise Declined(b"CANNOT", "The rights of the mailbox itself cannot be changed")
    await _share(session, person, Rights(0))
    return Done("DELETEACL completed")


async def _share(session: Session, person: str, rights: Rights) -> None:
    if session.mailbox.kind not in ("ORG", "CAB"):
        raise Refused(Reason.NOT_ALLOWED, "Only mailboxes of type ORG and CAB are shared")
    try:
        await session.mailbox.share(person, rights, _administrator(session))
    except Refused as refusal:
        if refusal.reason is Reason.UNKNOWN_RECIPIENT:
            raise Declined(b"CANNOT", "There is no such person") from None
        raise


def _changed(had: Rights, command: SetAcl) -> Rights:
    letters, rights = command.letters - set(_VIRTUAL), Rights(0)
    if _ADMINISTER in letters and command.sign != "-":
        raise Declined(b"CANNOT", "A delegate does not administer a mailbox")
    for right, group in _GROUPS.items():
        named = letters & set(group)
        if command.sign == "-":
            # To take away more than was asked harms less than to leave it.
            rights |= had & right if not named else Rights(0)
        elif named and named != set(group):
            raise Declined(b"CANNOT", f"The rights {group} come together")
        else:
            rights |= right if named else had & right if command.sign else Rights(0)
    return rights


def _administrator(session: Session) -> str:
    """The mailbox's address, for who signed in as itself. Raises Refused(NOT_ALLOWED)."""
    principal = session.principal
    if principal is None or principal.delegate is not None:
        raise Refused(Reason.NOT_ALLOWED, "Only who signs in as the mailbox itself sees and sets its rights")
    return principal.address


def _written(rights: Rights) -> bytes:
    letters = "".join(group for right, group in _GROUPS.items() if right & rights)
    return (letters + (_VIRTUAL if rights & Rights.MANAGE else "")).encode()


def _all() -> bytes:
    return _written(Rights.READ | Rights.SEND | Rights.MANAGE) + _ADMINISTER.encode()
