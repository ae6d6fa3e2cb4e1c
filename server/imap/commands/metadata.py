"""GETMETADATA and SETMETADATA (RFC 5464): what people and programs write of a mailbox ("") and of its folders.

Entries under /private/ are those of who reads, a delegate's own too; those under /shared/ are everybody's who may open
the mailbox, and changed by who may change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from server.base.errors import Reason, Refused
from server.base.limits import METADATA_ENTRIES, METADATA_VALUE
from server.imap.grammar import write
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.responses import Declined, Done
from server.imap.session import Session

# RFC 5464 §3.2: entry names begin with /private or /shared, compare in any case, hold no "*", "%" nor "//", and no
# octets but printable ones.
_NAME = re.compile(r"/(?:private|shared)(?:/[^/*%\x00-\x1f\x7f-\U0010ffff]+)*")
_OPTIONS = re.compile(rb"\([A-Za-z]")
_NAME_BYTES = 200
_DEPTHS = {"0": 0, "1": 1, "INFINITY": 1_000}


@dataclass(frozen=True, slots=True)
class GetMetadata:
    mailbox: bytes
    entries: tuple[str, ...]
    largest: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class SetMetadata:
    mailbox: bytes
    entries: Mapping[str, bytes | None] = field(repr=False)


def parse_get(cursor: Cursor) -> GetMetadata:
    """getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox [SP getmetadata-options] SP entries"""
    cursor.sp()
    options: dict[str, int] = {}
    if cursor.peek(b"("):
        options = _options(cursor)
        cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    cursor.sp()
    # The examples of RFC 5464 §4.2 put the options behind the mailbox, its grammar before: clients do both.
    if _OPTIONS.match(cursor.text, cursor.at):
        options |= _options(cursor)
        cursor.sp()
    return GetMetadata(mailbox, entry_names(cursor), options.get("MAXSIZE"), options.get("DEPTH", 0))


def _options(cursor: Cursor) -> dict[str, int]:
    # getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")" ; "MAXSIZE" SP number / "DEPTH" SP depth
    cursor.open()
    options: dict[str, int] = {}
    while not options or cursor.take(b" "):
        name = cursor.word("an option")
        cursor.sp()
        if name == "MAXSIZE":
            options[name] = cursor.number()
        elif name == "DEPTH" and (depth := _DEPTHS.get(cursor.word("a depth"))) is not None:
            options[name] = depth
        else:
            raise BadSyntax("Unknown option")
    cursor.close()
    return options


def entry_names(cursor: Cursor) -> tuple[str, ...]:
    """entries = entry / "(" entry *(SP entry) ")" """
    if not cursor.peek(b"("):
        return (_name(cursor),)
    cursor.open()
    found = [_name(cursor)]
    while cursor.take(b" "):
        found.append(_name(cursor))
        if len(found) > METADATA_ENTRIES:
            raise BadSyntax("Too many entries")
    cursor.close()
    return tuple(dict.fromkeys(found))


def _name(cursor: Cursor) -> str:
    name = cursor.astring("an entry").decode("utf-8", "replace").lower()
    if len(name) > _NAME_BYTES or _NAME.fullmatch(name) is None:
        raise BadSyntax("Not the name of an entry")
    return name


def parse_set(cursor: Cursor) -> SetMetadata:
    """setmetadata = "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")" """
    cursor.sp()
    mailbox = cursor.astring("a mailbox name")
    cursor.sp()
    cursor.open()
    entries: dict[str, bytes | None] = {}
    while not entries or cursor.take(b" "):
        name = _name(cursor)
        if name.count("/") < 2:
            raise BadSyntax("Not the name of an entry")
        cursor.sp()
        # value = nstring / literal8
        entries[name] = cursor.literal() if cursor.peek(b"~") else cursor.nstring()
        if len(entries) > METADATA_ENTRIES:
            raise BadSyntax("Too many entries")
    cursor.close()
    return SetMetadata(mailbox, entries)


async def get_metadata(session: Session, command: GetMetadata) -> Done:
    folder_id = await _place(session, command.mailbox)
    known = (await session.mailbox.annotations(reader(session))).get(folder_id, {})
    found: dict[str, bytes | None] = {}
    for name in command.entries:
        found |= chosen(known, name, command.depth)
    sizes = {name: len(value or b"") for name, value in found.items()}
    limit = max(sizes.values(), default=0) if command.largest is None else command.largest
    told = {name: value for name, value in found.items() if sizes[name] <= limit}
    if told:
        session.line(metadata_line(session, session.name(command.mailbox), told))
    # RFC 5464 §4.2.1
    longest = max((size for size in sizes.values() if size > limit), default=0)
    return Done("GETMETADATA completed", b"METADATA LONGENTRIES %d" % longest if longest else b"")


def chosen(known: Mapping[str, bytes], name: str, depth: int = 0) -> dict[str, bytes | None]:
    """The entry asked for, None where it is not set, and with `depth` those below it (RFC 5464 §4.2.2)."""
    found: dict[str, bytes | None] = {name: known.get(name)} if name in known or not depth else {}
    below = name + "/"
    for other, value in known.items():
        if other.startswith(below) and other[len(below) :].count("/") < depth:
            found[other] = value
    return found


def metadata_line(session: Session, mailbox: str, entries: Mapping[str, bytes | None]) -> bytes:
    """`METADATA mailbox (entry value …)`, also for LIST (RFC 9590)."""
    told = b" ".join(b"%s %s" % (write.astring(name.encode()), _value(value)) for name, value in entries.items())
    return b"METADATA %s (%s)" % (session.written_name(mailbox) if mailbox else b'""', told)


def _value(value: bytes | None) -> bytes:
    # value = nstring / literal8
    return b"~{%d}\r\n%s" % (len(value), value) if value is not None and b"\0" in value else write.nstring(value)


async def set_metadata(session: Session, command: SetMetadata) -> Done:
    folder_id = await _place(session, command.mailbox)
    if _shared(command.entries):
        session.require_change()
    if any(value is not None and len(value) > METADATA_VALUE for value in command.entries.values()):
        raise Declined(b"METADATA MAXSIZE %d" % METADATA_VALUE, "A value is longer than allowed")
    try:
        await session.mailbox.annotate(folder_id, reader(session), command.entries)
    except Refused as refusal:
        if refusal.reason is Reason.LIMIT_REACHED:
            raise Declined(b"METADATA TOOMANY", "There are too many entries here") from None
        raise
    return Done("SETMETADATA completed")


def reader(session: Session) -> int:
    """Whose private entries these are: the delegate's where one acts.

    Raises Refused(NOT_ALLOWED): somebody of a facility has no mailbox here, to which they would belong.
    """
    principal = session.principal
    if principal is None:
        raise Refused(Reason.AUTHENTICATION_REQUIRED, "Sign in first")
    reading = principal.delegate.owner_id if principal.delegate else principal.owner_id
    if reading is None:
        raise Refused(Reason.NOT_ALLOWED, "Entries are kept for those who have a mailbox here.")
    return reading


def _shared(names: Iterable[str]) -> bool:
    return any(name.startswith("/shared/") for name in names)


async def _place(session: Session, mailbox: bytes) -> int | None:
    """The folder, None for the mailbox as a whole, which "" names. Raises Refused(NO_SUCH_FOLDER)."""
    return (await session.folder(mailbox)).folder_id if mailbox else None
