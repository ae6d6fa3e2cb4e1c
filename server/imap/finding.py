"""Finds the messages of a folder that match a search, and reads lines of their gists, cheapest first.

1. Rows decide what they can: numbers, flags, dates, sizes.
2. Where they leave many messages open, view blocks are read, a thousand messages each: they decide about the common
   header fields, and rule out most messages that cannot hold a text.
3. What is still open is opened itself, and decides exactly.
Between steps other sessions run. What is found holds for the rows as they are when it is told.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from server.base.errors import Reason, Refused
from server.base.limits import BLOCK_SLACK, IMAP_FETCH_STEP, IMAP_SEARCH_SECONDS, SMALL_MESSAGE
from server.imap.evidence import Evidence, Gathered, Opened
from server.imap.matching import Program
from server.imap.responses import Declined
from server.imap.view import Selected
from server.mail.gist import UNTOLD, gist
from server.mailbox.blocks.block import PART_OF, SPAN, Block, number
from server.mailbox.model import Row
from server.mailbox.words import whole_header

if TYPE_CHECKING:
    from server.imap.session import Session
    from server.mail.summary import Summary

_ROWS_STEP = 5_000  # rows judged before other sessions get a turn: some milliseconds
_BLOCKS_AT_ONCE = 4  # read and opened together: 2 MB where texts are searched

Chunks = dict[int, list[Row]]


class Finder:
    """The searches of one command over one folder; after `before`, they share its time."""

    def __init__(self, session: Session, selected: Selected, before: Finder | None = None) -> None:
        self._session = session
        self._selected = selected
        self._mailbox = session.mailbox
        self._folder_id = selected.folder.folder_id
        start = session.services.now()
        self._until: datetime = start + timedelta(seconds=IMAP_SEARCH_SECONDS) if before is None else before._until

    async def find(self, program: Program) -> list[Row]:
        """The rows that match, in order of uid. Raises Declined(LIMIT) after 15 minutes."""
        sure: list[Row] = []
        chunks: Chunks = {}
        open_: Chunks = {}
        judged = 0
        for at, rows in self._chunks():
            certain, possible = program.judge(Evidence(rows))
            sure += _chosen(rows, certain)
            if possible != certain:
                chunks[at], open_[at] = rows, _chosen(rows, possible ^ certain)
            judged += len(rows)
            if judged >= _ROWS_STEP:
                judged = 0
                await asyncio.sleep(0)
        if not open_:
            return sure
        found = {row.uid: row for row in sure}
        async for row in self._look_closer(program, chunks, open_):
            found[row.uid] = row
        return [found[uid] for uid in sorted(found)]

    async def matching(self, program: Program, rows: Sequence[Row]) -> list[Row]:
        """Those of some rows that match."""
        certain, possible = program.judge(Evidence(rows))
        found = {row.uid for row in _chosen(rows, certain)}
        async for row in self._open(program, _chosen(rows, possible ^ certain)):
            found.add(row.uid)
        return [row for row in rows if row.uid in found]

    async def lines(self, rows: Sequence[Row], names: Sequence[str]) -> dict[int, tuple[str, ...]]:
        """Lines of the gists of messages (in order of uid), by uid; of one that does not open all are empty."""
        found: dict[int, tuple[str, ...]] = dict.fromkeys([row.uid for row in rows], ("",) * len(names))
        wanted = {at: list(group) for at, group in groupby(rows, lambda row: number(row.uid))}
        chunks = {at: chunk for at, chunk in self._chunks() if at in wanted} if len(rows) > BLOCK_SLACK else {}
        loose: list[Row] = [] if chunks else list(rows)
        parts = {PART_OF[name] for name in names}
        async for asked, block in self._blocks(chunks, wanted, parts):
            if block is None:
                loose += asked
                continue
            columns = [block.lines[name].split() for name in names]
            for row, *values in zip(block.rows, *columns, strict=True):
                if row.uid in found and UNTOLD not in values:
                    found[row.uid] = tuple(values)
                elif row.uid in found:
                    loose.append(row)
        async for row, _, header in self._headers(loose):
            one = gist(header)
            found[row.uid] = tuple(getattr(one, name) for name in names)
        return found

    def _chunks(self) -> Iterable[tuple[int, list[Row]]]:
        uids, row_of = self._selected.uids, self._selected.row
        start = 0
        while start < len(uids):
            at = number(uids[start])
            end = bisect_left(uids, (at + 1) * SPAN, start)
            yield at, [row for uid in uids[start:end] if (row := row_of(uid)) is not None]
            start = end

    async def _look_closer(self, program: Program, chunks: Chunks, open_: Chunks) -> AsyncIterator[Row]:
        total = sum(map(len, open_.values()))
        if total <= BLOCK_SLACK or not program.parts:
            async for row in self._open(program, [row for rows in open_.values() for row in rows]):
                yield row
            return
        async for asked, block in self._blocks(chunks, open_, program.parts):
            if block is not None:
                certain, possible = program.judge(Gathered(block))
                for row in _chosen(block.rows, certain):
                    yield row
                asked = _chosen(block.rows, possible ^ certain)
            async for row in self._open(program, asked):
                yield row

    async def _blocks(
        self, chunks: Chunks, asked: Mapping[int, list[Row]], parts: Collection[str]
    ) -> AsyncIterator[tuple[list[Row], Block | None]]:
        """The blocks that hold the rows asked for; rows that no block knows come with None."""
        numbers = list(chunks)
        done, total = 0, sum(len(asked[at]) for at in numbers)
        for start in range(0, len(numbers), _BLOCKS_AT_ONCE):
            self._progress(done, total)
            step = numbers[start : start + _BLOCKS_AT_ONCE]
            # Making a block opens all its messages: worth it where many of them would be opened anyway.
            worth = {at for at in step if len(asked[at]) > BLOCK_SLACK}
            blocks = await self._mailbox.blocks(self._folder_id, {at: chunks[at] for at in step}, parts, worth)
            done += sum(len(asked[at]) for at in step)
            for at in step:
                if at not in blocks:
                    yield asked[at], None
                    continue
                block, unknown = blocks[at]
                if block.rows:
                    yield asked[at], block
                if unknown:
                    missing = {row.uid for row in unknown}
                    yield [row for row in asked[at] if row.uid in missing], None
            await asyncio.sleep(0)

    async def _open(self, program: Program, rows: Sequence[Row]) -> AsyncIterator[Row]:
        """Those of the rows that match, judged by the messages themselves."""
        rest: list[tuple[Row, Summary, bytes]] = []
        async for row, summary, header in self._headers(rows):
            certain, possible = program.judge(Opened(row, header))
            if certain:
                yield row
            elif possible and program.needs_words:
                rest.append((row, summary, header))
                if len(rest) == IMAP_FETCH_STEP:
                    async for found in self._read(program, rest):
                        yield found
                    rest.clear()
        async for found in self._read(program, rest):
            yield found

    async def _read(self, program: Program, messages: Sequence[tuple[Row, Summary, bytes]]) -> AsyncIterator[Row]:
        small = [row.content_id for row, *_ in messages if row.size <= SMALL_MESSAGE]
        bodies = await self._mailbox.bodies(small) if small else {}
        for row, summary, header in messages:
            try:
                words = await self._mailbox.words(row.content_id, summary, bodies.get(row.content_id))
            except Refused as refusal:
                _unless_damaged(refusal)
                continue
            if program.judge(Opened(row, header, words))[0]:
                yield row
            await asyncio.sleep(0)

    async def _headers(self, rows: Sequence[Row]) -> AsyncIterator[tuple[Row, Summary, bytes]]:
        """Messages with summary and whole header; one that does not open is left out (and was logged)."""
        for start in range(0, len(rows), IMAP_FETCH_STEP):
            self._progress(start, len(rows))
            step = rows[start : start + IMAP_FETCH_STEP]
            summaries = await self._mailbox.summaries([row.content_id for row in step])
            for row in step:
                summary = summaries.get(row.content_id)
                if summary is None:
                    continue
                try:
                    header = await whole_header(self._mailbox, row.content_id, summary)
                except Refused as refusal:
                    _unless_damaged(refusal)
                    continue
                yield row, summary, header
            await asyncio.sleep(0)

    def _progress(self, done: int, total: int) -> None:
        """Between steps. Raises Declined(LIMIT) where it takes too long."""
        if self._session.services.now() >= self._until:
            raise Declined(b"LIMIT", "The search took too long; ask for less at a time")
        self._session.progress(done, total)


def _unless_damaged(refusal: Refused) -> None:
    """One message that does not open, which was logged there, keeps nobody from the others."""
    if refusal.reason not in (Reason.CONTENT_DAMAGED, Reason.NO_SUCH_MESSAGE):
        raise refusal


def _chosen(rows: Sequence[Row], mask: int) -> list[Row]:
    if not mask:
        return []
    if mask == (1 << len(rows)) - 1:
        return list(rows)
    bits = bin(mask)[:1:-1]
    return [row for row, bit in zip(rows, bits, strict=False) if bit == "1"]
