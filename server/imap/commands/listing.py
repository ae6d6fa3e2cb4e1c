"""LIST and LSUB (RFC 9051 §6.3.9; RFC 3501 §6.3.9): choices (RFC 5258), status (RFC 5819), special use (RFC 6154)."""

from __future__ import annotations

from dataclasses import dataclass

from server.base.limits import IMAP_LITERALS
from server.imap.commands.auth import status_items, write_status
from server.imap.grammar import write
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.names import DELIMITER, Pattern
from server.imap.responses import Done
from server.imap.session import Session
from server.mailbox.model import Folder

_SELECT = {"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"}
_RETURN = {"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"}
_PATTERN_BYTES = 1_000  # a pattern longer than any name with some wildcards names nothing


@dataclass(frozen=True, slots=True)
class List:
    reference: bytes
    patterns: tuple[bytes, ...]
    select: frozenset[str] = frozenset()
    returns: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    extended: bool = False


def parse_list(cursor: Cursor) -> List:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]"""
    cursor.sp()
    select: frozenset[str] = frozenset()
    extended = cursor.peek(b"(")
    if extended:
        select = _options(cursor, _SELECT)
        cursor.sp()
        # RFC 5258 §3: RECURSIVEMATCH alone selects nothing.
        if "RECURSIVEMATCH" in select and not select & {"SUBSCRIBED", "SPECIAL-USE"}:
            raise BadSyntax("RECURSIVEMATCH needs another selection option")
    reference = cursor.astring("a reference name")
    cursor.sp()
    if cursor.peek(b"("):
        extended = True
        cursor.open()
        patterns = [_pattern(cursor)]
        while cursor.take(b" "):
            patterns.append(_pattern(cursor))
            if len(patterns) > IMAP_LITERALS:
                raise BadSyntax("Too many patterns")
        cursor.close()
    else:
        patterns = [_pattern(cursor)]
    returns: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    if cursor.take(b" "):
        extended = True
        if cursor.word() != "RETURN":
            raise BadSyntax("Expected RETURN")
        cursor.sp()
        returns, status = _returns(cursor)
    return List(reference, tuple(patterns), select, returns, status, extended)


def parse_lsub(cursor: Cursor) -> List:
    """lsub = "LSUB" SP mailbox SP list-mailbox"""
    cursor.sp()
    reference = cursor.astring("a reference name")
    cursor.sp()
    return List(reference, (_pattern(cursor),))


def _pattern(cursor: Cursor) -> bytes:
    pattern = cursor.list_mailbox()
    if len(pattern) > _PATTERN_BYTES:
        raise BadSyntax("Pattern too long")
    return pattern


def _options(cursor: Cursor, known: set[str]) -> frozenset[str]:
    cursor.open()
    found: set[str] = set()
    while not cursor.peek(b")"):
        if found:
            cursor.sp()
        found.add(cursor.word("an option"))
    cursor.close()
    if not found <= known:
        raise BadSyntax("Unknown option")
    return frozenset(found)


def _returns(cursor: Cursor) -> tuple[frozenset[str], tuple[str, ...]]:
    cursor.open()
    found: set[str] = set()
    status: tuple[str, ...] = ()
    while not cursor.peek(b")"):
        if found or status:
            cursor.sp()
        option = cursor.word("a return option")
        if option == "STATUS":
            cursor.sp()
            status = status_items(cursor)
        elif option in _RETURN:
            found.add(option)
        else:
            raise BadSyntax("Unknown return option")
    cursor.close()
    return frozenset(found), status


@dataclass(slots=True)
class _Entry:
    """A name of the tree; without a folder it is only a level above one."""

    name: str
    folder: Folder | None
    subscribed: bool = False
    matches: bool = False
    children: bool = False
    below: bool = False  # a subscribed name, which the patterns do not match, lies below


async def list_(session: Session, command: List) -> Done:
    if not command.extended and command.patterns == (b"",):
        # RFC 9051 §6.3.9: an empty name asks for the delimiter and the root of the reference.
        session.line(b'LIST (\\Noselect) "%s" ""' % DELIMITER.encode())
        return Done("LIST completed")
    patterns = _patterns(session, command)
    # RFC 5258 §3.1: subscribed names are told, also those that no mailbox has.
    kept = await session.mailbox.kept_subscriptions() if "SUBSCRIBED" in command.select else []
    told = [entry for entry in _tree(await session.mailbox.folders(), kept, patterns) if _wanted(entry, command)]
    states = await session.mailbox.states() if command.status else {}
    for entry in told:
        session.line(b"LIST (%s) %s" % (b" ".join(_attributes(entry, command)), _place(session, entry, command)))
        if entry.folder is not None and entry.folder.folder_id in states:
            folder = entry.folder
            write_status(session, folder.name, folder.uidvalidity, states[folder.folder_id], command.status)
    await session.drain()
    return Done("LIST completed")


def _patterns(session: Session, command: List) -> list[Pattern]:
    reference = session.name(command.reference)
    if reference and not reference.endswith(DELIMITER):
        reference += DELIMITER
    patterns = []
    for raw in command.patterns:
        pattern = session.name(raw)
        # A pattern from the root ignores the reference (RFC 9051 §6.3.9, interpretation is the server's).
        patterns.append(Pattern(pattern[1:] if pattern.startswith(DELIMITER) else reference + pattern))
    return patterns


def _tree(folders: list[Folder], kept: list[str], patterns: list[Pattern]) -> list[_Entry]:
    """All names in the order of `folders`, then those `kept`; levels above that no folder has before their children."""
    entries: dict[str, _Entry] = {}
    by_name = {folder.name: folder for folder in folders}
    for name in [*by_name, *kept]:
        levels = name.split(DELIMITER)
        for depth in range(1, len(levels) + 1):
            level = DELIMITER.join(levels[:depth])
            if level not in entries:
                folder = by_name.get(level)
                matches = any(pattern.matches(level) for pattern in patterns)
                entries[level] = _Entry(level, folder, folder is not None and folder.subscribed, matches)
        entry = entries[name]
        entry.subscribed |= name not in by_name
        for depth in range(1, len(levels)):
            above = entries[DELIMITER.join(levels[:depth])]
            above.children |= name in by_name
            above.below |= entry.subscribed and not entry.matches
    return list(entries.values())


def _wanted(entry: _Entry, command: List) -> bool:
    if not entry.matches:
        return False
    if "SUBSCRIBED" in command.select:
        # RFC 5258 §3.5: a level above, for the sake of a name below it that is not told itself.
        return entry.subscribed or ("RECURSIVEMATCH" in command.select and entry.below)
    if "SPECIAL-USE" in command.select:
        return _special_use(entry) is not None
    return True


def _special_use(entry: _Entry) -> str | None:
    # "\Inbox" is the store's own mark; RFC 6154 knows no such attribute.
    use = entry.folder.special_use if entry.folder else None
    return None if use == "\\Inbox" else use


def _attributes(entry: _Entry, command: List) -> list[bytes]:
    attributes = []
    if entry.folder is None:
        # RFC 5258 §3: \NonExistent implies \Noselect; rev1 clients know only the second.
        attributes.append(b"\\NonExistent" if command.extended else b"\\Noselect")
    attributes.append(b"\\HasChildren" if entry.children else b"\\HasNoChildren")
    if entry.subscribed and "SUBSCRIBED" in command.returns | command.select:
        attributes.append(b"\\Subscribed")
    use = _special_use(entry)
    if use is not None:
        attributes.append(use.encode())
    return attributes


def _place(session: Session, entry: _Entry, command: List) -> bytes:
    place = b'"%s" %s' % (DELIMITER.encode(), session.written_name(entry.name))
    if {"RECURSIVEMATCH", "SUBSCRIBED"} <= command.select and entry.below:
        # RFC 5258 §3.5
        place += b' ("CHILDINFO" ("SUBSCRIBED"))'
    return place


def tell_place(
    session: Session, folders: list[Folder], folder: Folder, asked: bytes | None, subscribed: bool = False
) -> None:
    """A folder of `folders` as LIST tells it, with the name the client knows where it differs (RFC 9051 §6.3.9.7)."""
    plain = List(b"", (), returns=frozenset({"SUBSCRIBED"} if subscribed else ()))
    entry = next(entry for entry in _tree(folders, [], []) if entry.name == folder.name)
    place = _place(session, entry, plain)
    if asked is not None and asked != session.encoded_name(folder.name):
        place += b' ("OLDNAME" (%s))' % write.quoted(asked)
    session.line(b"LIST (%s) %s" % (b" ".join(_attributes(entry, plain)), place))


async def lsub(session: Session, command: List) -> Done:
    patterns = _patterns(session, command)
    told: dict[str, bytes] = {}
    folders = [folder.name for folder in await session.mailbox.folders() if folder.subscribed]
    folders += await session.mailbox.kept_subscriptions()
    for name in folders:
        if any(pattern.matches(name) for pattern in patterns):
            told[name] = b""
            continue
        # RFC 3501 §6.3.9: "%" tells the level above a subscribed name, as \Noselect.
        levels = name.split(DELIMITER)
        for depth in range(len(levels) - 1, 0, -1):
            above = DELIMITER.join(levels[:depth])
            if above not in folders and any(pattern.matches(above) for pattern in patterns):
                told.setdefault(above, b"\\Noselect")
                break
    for name, attribute in told.items():
        session.line(b'LSUB (%s) "%s" %s' % (attribute, DELIMITER.encode(), session.written_name(name)))
    await session.drain()
    return Done("LSUB completed")
