"""SEARCH and UID SEARCH, with ESEARCH, SEARCHRES, PARTIAL and CONTEXT=SEARCH."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from server.base.errors import CaduceeError
from server.imap import contexts, results
from server.imap.finding import Finder
from server.imap.grammar.cursor import Cursor
from server.imap.grammar.search import Returns, Search
from server.imap.matching import Program
from server.imap.responses import Declined, Done, Illegal
from server.imap.session import Session
from server.imap.view import Selected


async def search(session: Session, command: Search) -> Done:
    await _search(session, command, by_uid=False)
    return Done("SEARCH completed")


async def uid_search(session: Session, command: Search) -> Done:
    await _search(session, command, by_uid=True)
    return Done("UID SEARCH completed")


async def _search(session: Session, command: Search, by_uid: bool) -> None:
    selected, returns = session.sight, command.returns
    if session.utf8 and command.charset_named:
        # RFC 6855 §3
        raise Illegal("After UTF8=ACCEPT there is no other charset")
    if returns is None and session.rev2:
        # RFC 9051 §6.4.4, §7.3.4: rev2 has no SEARCH response.
        returns = Returns(frozenset({"ALL"}))
    if command.modseq:
        session.use_condstore()
    async with saving(selected, returns):
        program = Program(command, selected, session.services.now())
        contexts.refuse_tag_in_use(session, selected, returns)
        at = selected.shared.modseq
        uids = await Finder(session, selected).find(program)
        found = results.numbers(selected, uids, by_uid)
        modseq = results.highest_modseq(selected, uids, returns) if command.modseq else None
        if returns is None:
            results.tell_plain(session, b"SEARCH", found, modseq)
            return
        results.tell_extended(session, returns, found, modseq, by_uid)
        if "SAVE" in returns:
            results.save(selected, returns, uids)
        if "UPDATE" in returns:
            contexts.follow(session, selected, contexts.Context(program, by_uid, at, uids))


@dataclass(frozen=True, slots=True)
class CancelUpdate:
    tags: tuple[bytes, ...]


def parse_cancel_update(cursor: Cursor) -> CancelUpdate:
    """cancelupdate = "CANCELUPDATE" 1*(SP quoted) (RFC 5267 §5)"""
    tags: list[bytes] = []
    while not tags or cursor.peek(b" "):
        cursor.sp()
        tags.append(cursor.string())
    return CancelUpdate(tuple(tags))


async def cancel_update(session: Session, command: CancelUpdate) -> Done:
    known = session.sight.contexts
    if not known.keys() >= set(command.tags):
        raise Illegal("No search with that tag is kept up to date")
    for tag in command.tags:
        known.pop(tag, None)
    return Done("No further updates")


@asynccontextmanager
async def saving(selected: Selected, returns: Returns | None) -> AsyncIterator[None]:
    """RFC 5182 §2.1: a search that was to save, and is answered NO, saves that nothing was found."""
    try:
        yield
    except (Declined, CaduceeError):
        if returns is not None and "SAVE" in returns:
            selected.saved = array("I")
        raise
