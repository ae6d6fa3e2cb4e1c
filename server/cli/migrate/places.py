"""Which folders there are on the other server, and where each goes here.

The holder's own folders, with their place in the tree: the prefix of the namespace and the delimiter go, "/" takes its
place. A folder with a special use (RFC 6154) goes to ours of that use, whatever it is called; INBOX to INBOX. What only
shows messages of other folders (\\All, \\Flagged) is passed over, and so are folders of others.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from server.base.errors import Refused
from server.cli.migrate import answers
from server.cli.migrate.answers import Listed
from server.cli.migrate.client import Source
from server.imap.grammar import names
from server.mailbox.model import SEPARATOR, Folder
from server.mailbox.names import SPECIAL_USES
from server.mailbox.store import Mailbox

_UNREADABLE = frozenset({"\\noselect", "\\nonexistent"})
_VIEWS = frozenset({"\\all", "\\flagged"})
_USES = {use.lower(): use for use in SPECIAL_USES}


@dataclass(frozen=True, slots=True)
class Place:
    """A folder there: `name` as it goes on the wire, `title` what it is to be called here."""

    name: str
    title: str
    special_use: str | None
    subscribed: bool


async def places(source: Source) -> list[Place]:
    """The holder's folders there. Raises Declined, Lost."""
    prefix, others = b"", list[bytes]()
    if source.offers("NAMESPACE"):
        prefix, others = answers.namespaces(await source.ask("NAMESPACE"))
    options = ["RETURN (SPECIAL-USE)"] if source.offers("SPECIAL-USE") and source.offers("LIST-EXTENDED") else []
    found = answers.listed(await source.ask("LIST", '""', '"*"', *options))
    subscribed = {one.name for one in answers.listed(await source.ask("LSUB", '""', '"*"'))}
    return [
        Place(one.name.decode("utf-8", "surrogateescape"), title(one, prefix), use(one), one.name in subscribed)
        for one in found
        if not one.attributes & (_UNREADABLE | _VIEWS) and not one.name.startswith(tuple(others))
    ]


def use(folder: Listed) -> str | None:
    """The special use that the other server names."""
    return next((_USES[attribute] for attribute in sorted(folder.attributes) if attribute in _USES), None)


def title(folder: Listed, prefix: bytes) -> str:
    """What a folder is to be called here: its own name, as far as ours may be like that."""
    raw = folder.name
    if raw.upper() == b"INBOX":
        return "INBOX"
    # "INBOX." is a common prefix: there all folders lie below it, here beside it.
    if prefix and raw.startswith(prefix):
        raw = raw[len(prefix) :]
    try:
        text = names.decode(raw)
    except (Refused, binascii.Error):
        text = raw.decode("utf-8", "replace")  # a server that writes UTF-8 as it is
    levels = text.split(folder.delimiter) if folder.delimiter else [text]
    return SEPARATOR.join(_level(level) for level in levels)


def _level(level: str) -> str:
    return "".join("_" if c in "%*/" or not c.isprintable() else c for c in level).strip() or "_"


async def folder_for(mailbox: Mailbox, place: Place) -> Folder:
    """Ours, made where it is missing. Raises Refused (no name for a folder here, or too many of them)."""
    known = await mailbox.folders()
    for folder in known:
        if place.special_use is not None and folder.special_use == place.special_use:
            return folder
    for folder in known:
        if folder.name == place.title:
            return folder
    folder = await mailbox.create_folder(place.title, place.special_use)
    if place.subscribed:
        await mailbox.subscribe(folder.name, True)
    return folder
