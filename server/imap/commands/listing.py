"""LIST and LSUB (RFC 9051 §6.3.9; RFC 3501 §6.3.9): choices (RFC 5258), status (RFC 5819), special use (RFC 6154),
rights (RFC 8440), annotations (RFC 9590)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from server.base.limits import IMAP_PATTERNS
from server.imap.commands.acl import my_rights_line
from server.imap.commands.auth import reclaimable, status_items, write_status
from server.imap.commands.metadata import chosen, entry_names, metadata_line, reader
from server.imap.grammar import write
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.names import DELIMITER, Pattern
from server.imap.responses import Done
from server.imap.session import Session
from server.mailbox.model import Folder

_BASE = frozenset({"SUBSCRIBED", "SPECIAL-USE"})
_SELECT = {"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"}
_RETURN = {"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"}
_JUDGED_AT_ONCE = 5  # names, between two turns of other sessions: some milliseconds with the worst of patterns
_PATTERN_BYTES = 1_000  # a pattern longer than any name with some wildcards names nothing


@dataclass(frozen=True, slots=True)
class List:
    reference: bytes
    patterns: tuple[bytes, ...]
    select: frozenset[str] = frozenset()
    returns: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
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
        if "RECURSIVEMATCH" in select and not select & _BASE:
            raise BadSyntax("RECURSIVEMATCH needs another selection option")
    reference = cursor.astring("a reference name")
    cursor.sp()
    if cursor.peek(b"("):
        extended = True
        cursor.open()
        patterns = [_pattern(cursor)]
        while cursor.take(b" "):
            patterns.append(_pattern(cursor))
            if len(patterns) > IMAP_PATTERNS:
                raise BadSyntax("Too many patterns")
        cursor.close()
    else:
        patterns = [_pattern(cursor)]
    returns: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    if cursor.take(b" "):
        extended = True
        if cursor.word() != "RETURN":
            raise BadSyntax("Expected RETURN")
        cursor.sp()
        returns, status, metadata = _returns(cursor)
    return List(reference, tuple(patterns), select, returns, status, metadata, extended)


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


def _returns(cursor: Cursor) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    cursor.open()
    found: set[str] = set()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    while not cursor.peek(b")"):
        if found or status or metadata:
            cursor.sp()
        option = cursor.word("a return option")
        if option == "STATUS":
            cursor.sp()
            status = status_items(cursor)
        elif option == "METADATA":
            cursor.sp()
            metadata = entry_names(cursor)
        elif option in _RETURN:
            found.add(option)
        else:
            raise BadSyntax("Unknown return option")
    cursor.close()
    return frozenset(found), status, metadata


@dataclass(slots=True)
class _Entry:
    """A name of the tree; without a folder it is only a level above one. `below`: selection options that a name below
    it meets."""

    name: str
    folder: Folder | None
    subscribed: bool = False
    matches: bool = False
    children: bool = False
    below: set[str] = field(default_factory=set)  # what names meet that lie below, and that the patterns do not match

    @property
    def meets(self) -> set[str]:
        """The selection options that it meets itself."""
        special = {"SPECIAL-USE"} if _special_use(self) is not None else set()
        return special | ({"SUBSCRIBED"} if self.subscribed else set())


async def list_(session: Session, command: List) -> Done:
    if not command.extended and command.patterns == (b"",):
        # RFC 9051 §6.3.9: an empty name asks for the delimiter and the root of the reference.
        session.line(b'LIST (\\Noselect) "%s" ""' % DELIMITER.encode())
        return Done("LIST completed")
    patterns = _patterns(session, command)
    # RFC 5258 §3.1: subscribed names are told, also those that no mailbox has.
    kept = await session.mailbox.kept_subscriptions() if "SUBSCRIBED" in command.select else []
    folders = await session.mailbox.folders()
    matching = await _matching([*(folder.name for folder in folders), *kept], patterns)
    entries = _tree(folders, kept, matching)
    states = await session.mailbox.states() if command.status else {}
    deleted = await reclaimable(session, command.status)
    known = await session.mailbox.annotations(reader(session)) if command.metadata else {}
    for entry in entries:
        if not _wanted(entry, command):
            continue
        await session.drain()
        session.line(b"LIST (%s) %s" % (b" ".join(_attributes(entry, command)), _place(session, entry, command)))
        folder = entry.folder
        if folder is None:
            continue
        if folder.folder_id in states:
            write_status(session, folder, states[folder.folder_id], command.status, deleted)
        if "MYRIGHTS" in command.returns:
            session.line(my_rights_line(session, folder.name))
        if command.metadata:
            entries_of = known.get(folder.folder_id, {})
            told = {name: value for asked in command.metadata for name, value in chosen(entries_of, asked).items()}
            session.line(metadata_line(session, folder.name, told))
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


async def _matching(names: Iterable[str], patterns: Sequence[Pattern]) -> set[str]:
    """Those of these names, and of the levels above them, that a pattern matches; between some others have a turn."""
    judged: dict[str, bool] = {}
    for name in names:
        levels = name.split(DELIMITER)
        for depth in range(len(levels), 0, -1):
            level = DELIMITER.join(levels[:depth])
            if level in judged:
                break
            if len(judged) % _JUDGED_AT_ONCE == 0:
                await asyncio.sleep(0)
            judged[level] = any(pattern.matches(level) for pattern in patterns)
    return {name for name, matches in judged.items() if matches}


def _tree(folders: list[Folder], kept: list[str], matching: Set[str]) -> list[_Entry]:
    """All names in the order of `folders`, then those `kept`; levels above that no folder has before their children."""
    entries: dict[str, _Entry] = {}
    by_name = {folder.name: folder for folder in folders}
    for name in [*by_name, *kept]:
        levels = name.split(DELIMITER)
        for depth in range(1, len(levels) + 1):
            level = DELIMITER.join(levels[:depth])
            if level not in entries:
                folder = by_name.get(level)
                subscribed = folder is not None and folder.subscribed
                entries[level] = _Entry(level, folder, subscribed, level in matching)
        entry = entries[name]
        entry.subscribed |= name not in by_name
        for depth in range(1, len(levels)):
            above = entries[DELIMITER.join(levels[:depth])]
            above.children |= name in by_name
            above.below |= set() if entry.matches else entry.meets
    return list(entries.values())


def _wanted(entry: _Entry, command: List) -> bool:
    # RFC 5258 §3.1, §3.5: what meets all options; or a level above, for the sake of a name that is not told itself.
    asked = command.select & _BASE
    return entry.matches and (asked <= entry.meets or ("RECURSIVEMATCH" in command.select and asked <= entry.below))


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
    asked = command.select & _BASE
    if "RECURSIVEMATCH" in command.select and asked <= entry.below:
        # RFC 5258 §3.5
        place += b' ("CHILDINFO" (%s))' % b" ".join(write.quoted(option.encode()) for option in sorted(asked))
    return place


def tell_place(
    session: Session, folders: list[Folder], folder: Folder, asked: bytes | None, subscribed: bool = False
) -> None:
    """A folder of `folders` as LIST tells it, with the name the client knows where it differs (RFC 9051 §6.3.9.7)."""
    plain = List(b"", (), returns=frozenset({"SUBSCRIBED"} if subscribed else ()))
    entry = next((entry for entry in _tree(folders, [], frozenset()) if entry.name == folder.name), None)
    if entry is None:
        return  # it went between two questions; what follows tells
    place = _place(session, entry, plain)
    if asked is not None and asked != session.encoded_name(folder.name):
        place += b' ("OLDNAME" (%s))' % write.quoted(asked)
    session.line(b"LIST (%s) %s" % (b" ".join(_attributes(entry, plain)), place))


async def lsub(session: Session, command: List) -> Done:
    patterns = _patterns(session, command)
    told: dict[str, bytes] = {}
    folders = [folder.name for folder in await session.mailbox.folders() if folder.subscribed]
    folders += await session.mailbox.kept_subscriptions()
    matching, known = await _matching(folders, patterns), set(folders)
    for name in folders:
        if name in matching:
            told[name] = b""
            continue
        # RFC 3501 §6.3.9: "%" tells the level above a subscribed name, as \Noselect.
        levels = name.split(DELIMITER)
        for depth in range(len(levels) - 1, 0, -1):
            above = DELIMITER.join(levels[:depth])
            if above not in known and above in matching:
                told.setdefault(above, b"\\Noselect")
                break
    for name, attribute in told.items():
        session.line(b'LSUB (%s) "%s" %s' % (attribute, DELIMITER.encode(), session.written_name(name)))
    await session.drain()
    return Done("LSUB completed")
