"""SORT and UID SORT (RFC 5256, RFC 5957), with ESORT and CONTEXT=SORT (RFC 5267); THREAD and UID THREAD (RFC 5256)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from server.base.limits import IMAP_SORT_OCTETS, WORKER_BUFFER_BYTES
from server.imap import contexts, results
from server.imap.commands.search import saving
from server.imap.finding import Finder
from server.imap.grammar.sort import Sort, Thread
from server.imap.matching import Program
from server.imap.responses import Declined, Done
from server.imap.session import Session
from server.imap.sorting import Order
from server.imap.threading import THREADERS, Threaded, render


async def sort(session: Session, command: Sort) -> Done:
    await _sort(session, command, by_uid=False)
    return Done("SORT completed")


async def uid_sort(session: Session, command: Sort) -> Done:
    await _sort(session, command, by_uid=True)
    return Done("UID SORT completed")


async def _sort(session: Session, command: Sort, by_uid: bool) -> None:
    selected, returns = session.sight, command.search.returns
    if command.search.modseq:
        session.use_condstore()
    async with saving(selected, returns):
        program = Program(command.search, selected, session.services.now())
        contexts.refuse_tag_in_use(session, selected, returns)
        finder, order, at = Finder(session, selected), Order(command.criteria), selected.shared.modseq
        matching = await finder.find(program)
        with _room(session, len(matching)):
            keyed = await order.sorted(finder, matching)
        uids = [uid for _, uid in keyed]
        found = results.numbers(selected, uids, by_uid)
        modseq = results.highest_modseq(selected, uids, returns) if command.search.modseq else None
        if returns is None:
            results.tell_plain(session, b"SORT", found, modseq)
            return
        results.tell_extended(session, returns, found, modseq, by_uid)
        if "SAVE" in returns:
            results.save(selected, returns, uids)
        if "UPDATE" in returns:
            keys = [key for key, _ in keyed]
            contexts.follow(session, selected, contexts.Context(program, by_uid, at, uids, order, keys))


async def thread(session: Session, command: Thread) -> Done:
    await _thread(session, command, by_uid=False)
    return Done("THREAD completed")


async def uid_thread(session: Session, command: Thread) -> Done:
    await _thread(session, command, by_uid=True)
    return Done("UID THREAD completed")


async def _thread(session: Session, command: Thread, by_uid: bool) -> None:
    selected = session.sight
    program = Program(command.search, selected, session.services.now())
    finder = Finder(session, selected)
    uids = await finder.find(program)
    with _room(session, len(uids)):
        lines, facts = await finder.lines(uids, ("moment", "base", "ids")), finder.facts(uids)
        numbers = results.numbers(selected, uids, by_uid)
        messages = [
            Threaded.of(number, uid, facts[uid][0], *lines[uid]) for number, uid in zip(numbers, uids, strict=True)
        ]
        # In a thread of its own: a large mailbox takes a second, and other sessions go on.
        threads = await asyncio.to_thread(lambda: render(THREADERS[command.algorithm](messages)))
    session.line(b"THREAD" + (b" " + threads if threads else b""))


@contextmanager
def _room(session: Session, messages: int) -> Iterator[None]:
    """Memory of the worker for the lines of so many messages. Raises Declined(UNAVAILABLE) while there is none."""
    # Half of all there is suffices for the largest mailbox: two of them are in memory at a time.
    octets = min(messages * IMAP_SORT_OCTETS, WORKER_BUFFER_BYTES // 2)
    if not session.services.budget.take(octets):
        raise Declined(b"UNAVAILABLE", "Try again in a moment")
    try:
        yield
    finally:
        session.services.budget.give(octets)
