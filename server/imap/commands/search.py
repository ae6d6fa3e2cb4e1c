"""SEARCH and UID SEARCH: cheap keys first, then what needs summaries, then what needs bodies.

Each stage looks only at what the last one left, and between steps other sessions run. Rows cost nothing; summaries are
opened IMAP_FETCH_STEP at a time; a body is opened one message at a time and forgotten.
"""

from __future__ import annotations

import asyncio

from server.base.limits import IMAP_FETCH_STEP
from server.imap.grammar.cursor import Cursor
from server.imap.grammar.search import CHARSETS, Search
from server.imap.grammar.search import search as parse
from server.imap.grammar.sequence import compact
from server.imap.matching import Level, Matcher, Message, split
from server.imap.reading import open_words
from server.imap.responses import Declined, Done, Illegal
from server.imap.session import Session
from server.imap.view import Selected
from server.mailbox.model import Row

_ROWS_STEP = 5_000  # rows judged before other sessions get a turn: about 2 ms


def parse_search(cursor: Cursor) -> Search:
    return parse(cursor)


async def search(session: Session, command: Search) -> Done:
    return await _search(session, command, by_uid=False)


async def uid_search(session: Session, command: Search) -> Done:
    return await _search(session, command, by_uid=True)


async def _search(session: Session, command: Search, by_uid: bool) -> Done:
    if command.charset not in CHARSETS:
        raise Declined(b"BADCHARSET (%s)" % " ".join(CHARSETS).encode(), "That charset is not offered")
    if session.utf8 and command.charset_named:
        # RFC 6855 §3
        raise Illegal("After UTF8=ACCEPT there is no other charset")
    selected = session.sight
    if command.modseq:
        session.use_condstore()
    try:
        matchers = split(command, selected, session.services.now())
    except UnicodeDecodeError:
        raise Illegal("A search string is not in the charset") from None
    rows = await _by_rows(selected, matchers)
    for level in (Level.HEADER, Level.BODY):
        rows = await _by_content(session, rows, matchers, level)
    _answer(session, command, selected, rows, by_uid)
    return Done("UID SEARCH completed" if by_uid else "SEARCH completed")


async def _by_rows(selected: Selected, matchers: list[Matcher]) -> list[Row]:
    tests = [matcher.test for matcher in matchers if matcher.level is Level.ROW]
    found: list[Row] = []
    for start in range(0, len(selected.uids), _ROWS_STEP):
        if start:
            await asyncio.sleep(0)
        for uid in selected.uids[start : start + _ROWS_STEP]:
            row = selected.row(uid)
            if row is not None:
                message = Message(row)
                if all(test(message) for test in tests):
                    found.append(row)
    return found


async def _by_content(session: Session, rows: list[Row], matchers: list[Matcher], level: Level) -> list[Row]:
    """The rows that pass the tests of a level that needs summaries (HEADER), or bodies too (BODY)."""
    tests = [matcher.test for matcher in matchers if matcher.level is level]
    if not tests:
        return rows
    found: list[Row] = []
    for start in range(0, len(rows), IMAP_FETCH_STEP):
        session.progress(start, len(rows))
        step = rows[start : start + IMAP_FETCH_STEP]
        summaries = await session.mailbox.summaries([row.content_id for row in step])
        for row in step:
            summary = summaries.get(row.content_id)
            if summary is None:
                continue
            message = Message(row, summary)
            if level is Level.BODY:
                message = Message(row, summary, await open_words(session.mailbox, row, summary))
                await asyncio.sleep(0)
            if all(test(message) for test in tests):
                found.append(row)
        await asyncio.sleep(0)
    return found


def _answer(session: Session, command: Search, selected: Selected, rows: list[Row], by_uid: bool) -> None:
    # A message that went while we searched keeps its number until the session is told (view.py, rule 2).
    numbers = [row.uid if by_uid else selected.number(row.uid) for row in rows]
    # RFC 9051 §6.4.4, §7.3.4: rev2 has no SEARCH response.
    returns = ("ALL",) if command.returns is None and session.rev2 else command.returns
    if returns is None:
        listed = b"".join(b" %d" % number for number in numbers)
        # RFC 7162 §3.1.5: only when the search asked for MODSEQ and found something.
        modseq = b" (MODSEQ %d)" % max(row.modseq for row in rows) if command.modseq and rows else b""
        session.line(b"SEARCH" + listed + modseq)
        return
    # esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data) (RFC 4731 §3.1)
    answer = [b'ESEARCH (TAG "%s")' % session.tag]
    if by_uid:
        answer.append(b"UID")
    if numbers:
        if "MIN" in returns:
            answer.append(b"MIN %d" % numbers[0])
        if "MAX" in returns:
            answer.append(b"MAX %d" % numbers[-1])
        if "ALL" in returns:
            answer.append(b"ALL " + compact(numbers))
    if "COUNT" in returns:
        answer.append(b"COUNT %d" % len(numbers))
    if command.modseq and rows:
        answer.append(b"MODSEQ %d" % _modseq(returns, rows))
    session.line(b" ".join(answer))


def _modseq(returns: tuple[str, ...], rows: list[Row]) -> int:
    # RFC 4731 §3.2: with only MIN or MAX, the mod-sequence of just those messages.
    ends = {"MIN": rows[0], "MAX": rows[-1]}
    told = [ends[name] for name in returns if name in ends]
    return max(row.modseq for row in (told if told and set(returns) <= set(ends) else rows))
