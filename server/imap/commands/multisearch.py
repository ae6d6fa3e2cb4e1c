"""ESEARCH: a search of several mailboxes, each told as soon as it is searched (MULTISEARCH, RFC 7377)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.base.errors import Reason, Refused
from server.imap import contexts, results
from server.imap.commands.search import saving
from server.imap.finding import Finder
from server.imap.grammar import names
from server.imap.grammar.cursor import Cursor
from server.imap.grammar.multisearch import MultiSearch, Source
from server.imap.grammar.multisearch import multisearch as read
from server.imap.grammar.search import Returns
from server.imap.matching import Program
from server.imap.responses import Done, Illegal
from server.imap.session import Session
from server.imap.view import Selected
from server.mailbox.model import INBOX_ID, Folder

_ALL = Returns(frozenset({"ALL"}))


def parse_multisearch(cursor: Cursor) -> MultiSearch:
    return read(cursor)


async def multisearch(session: Session, command: MultiSearch) -> Done:
    returns, selected = command.search.returns or _ALL, session.selected
    only_selected = all(source.where == "SELECTED" for source in command.sources)
    if selected is None and (any(source.where == "SELECTED" for source in command.sources) or "UPDATE" in returns):
        raise Illegal("No mailbox is selected")
    if "SAVE" in returns and not only_selected:
        raise Illegal("Only what is found in the selected mailbox can be saved")
    if command.search.modseq:
        session.use_condstore()
    if selected is not None:
        contexts.refuse_tag_in_use(session, selected, returns)
    folders = [selected.folder] if only_selected and selected is not None else await _folders(session, command.sources)
    finder: Finder | None = None
    for folder in folders:
        async with _sight(session, folder) as sight:
            if sight is None:
                continue  # it went meanwhile
            finder = Finder(session, sight, finder)
            await _search(session, command, returns, sight, finder)
    return Done("ESEARCH completed")


async def _search(session: Session, command: MultiSearch, returns: Returns, sight: Selected, finder: Finder) -> None:
    async with saving(sight, returns):
        at = sight.shared.modseq
        program = Program(command.search, sight, session.services.now())
        found = await finder.find(program)
        # RFC 7377 §2.1: of a mailbox where nothing matches nothing is told.
        if found:
            modseq = results.highest_modseq(sight, found, returns) if command.search.modseq else None
            name = session.written_name(sight.folder.name)
            mailbox = b" MAILBOX %s UIDVALIDITY %d" % (name, sight.folder.uidvalidity)
            results.tell_extended(session, returns, found, modseq, True, mailbox)
            await session.drain()
        if "SAVE" in returns:
            results.save(sight, returns, found)
        if "UPDATE" in returns and sight is session.selected:
            # RFC 7377 §2.2: of the others no news are told.
            contexts.follow(session, sight, contexts.Context(program, True, at, found))


@asynccontextmanager
async def _sight(session: Session, folder: Folder) -> AsyncIterator[Selected | None]:
    """A folder to search: what is selected as the session knows it, another as it is now; None when it is gone."""
    selected, views = session.selected, session.services.views
    if selected is not None and selected.folder.folder_id == folder.folder_id:
        yield selected
        return
    try:
        shared = await views.open(session.mailbox, *await session.mailbox.opened_folder(folder.name))
    except Refused as refusal:
        if refusal.reason is not Reason.NO_SUCH_FOLDER:
            raise
        yield None
        return
    try:
        yield Selected(shared, read_only=True)
    finally:
        views.close(session.mailbox, shared)


async def _folders(session: Session, sources: tuple[Source, ...]) -> list[Folder]:
    """The folders that the sources name, each once, in the order of LIST. A name that is no folder's names nothing."""
    wanted = [(source.where, {session.name(name) for name in source.names}) for source in sources]
    here = session.selected.folder.folder_id if session.selected is not None else 0
    return [
        folder
        for folder in await session.mailbox.folders()
        if any(_is_meant(folder, where, named, here) for where, named in wanted)
    ]


def _is_meant(folder: Folder, where: str, named: set[str], here: int) -> bool:
    above = folder.name.split(names.DELIMITER)
    match where:
        case "SELECTED":
            return folder.folder_id == here
        case "INBOXES":
            # RFC 5465 §6.3: where mail is delivered to.
            return folder.folder_id == INBOX_ID
        case "PERSONAL":
            return True
        case "SUBSCRIBED":
            return folder.subscribed
        case "MAILBOXES":
            return folder.name in named
        case "SUBTREE-ONE":
            return folder.name in named or names.DELIMITER.join(above[:-1]) in named
    return any(names.DELIMITER.join(above[:depth]) in named for depth in range(1, len(above) + 1))
