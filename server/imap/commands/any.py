"""Commands legal in any state: CAPABILITY, NOOP, LOGOUT, ID (RFC 9051 §6.1; RFC 2971)."""

from __future__ import annotations

from dataclasses import dataclass

from server.imap.command import Bare
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.responses import Done, untagged
from server.imap.session import Session

# RFC 2971 §3.3: at most 30 pairs.
_ID_PAIRS = 30


async def capability(session: Session, command: Bare) -> Done:
    session.line(b"CAPABILITY " + session.capabilities())
    return Done("CAPABILITY completed")


async def noop(session: Session, command: Bare) -> Done:
    return Done("NOOP completed")


async def logout(session: Session, command: Bare) -> Done:
    session.write(untagged(b"BYE", "Au revoir / Goodbye"))
    session.close()
    return Done("LOGOUT completed")


@dataclass(frozen=True, slots=True)
class Id:
    """What the client says of itself; read for its syntax, kept nowhere."""

    pairs: tuple[tuple[bytes, bytes | None], ...]


def parse_id(cursor: Cursor) -> Id:
    """id = "ID" SP id-params-list ; id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil"""
    cursor.sp()
    if not cursor.peek(b"("):
        if cursor.nstring() is not None:
            raise BadSyntax("Expected a list or NIL")
        return Id(())
    cursor.open()
    pairs: list[tuple[bytes, bytes | None]] = []
    while not cursor.peek(b")"):
        if pairs:
            cursor.sp()
        name = cursor.string()
        cursor.sp()
        pairs.append((name, cursor.nstring()))
        if len(pairs) > _ID_PAIRS:
            raise BadSyntax("Too many pairs")
    cursor.close()
    return Id(tuple(pairs))


async def identify(session: Session, command: Id) -> Done:
    # The version stays out: it would only help those who look for a known fault.
    session.line(b'ID ("name" "Caducee")')
    return Done("ID completed")
