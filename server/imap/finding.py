"""Finds the messages of a folder that match a search, and reads lines of their gists, cheapest first.

1. What a view holds decides what it can: numbers, flags, dates, sizes.
2. Where that leaves many messages open, view blocks are read, a thousand messages each: they decide about the common
   header fields, and rule out most messages that cannot hold a text.
3. What is still open is opened itself, and decides exactly.
Between steps other sessions run. Only messages that the session knows of are looked at.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
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
from server.mailbox.table import Chunk, Table
from server.mailbox.words import whole_header

if TYPE_CHECKING:
    from server.imap.session import Session
    from server.mail.summary import Summary

_STEP = 10  # chunks judged before other sessions get a turn: about a millisecond
_BLOCKS_AT_ONCE = 4  # read and opened together: 2 MB where texts are searched

Chunks = dict[int, Chunk]


class Finder:
    """The searches of one command over one folder; after `before`, they share its time."""

    def __init__(self, session: Session, selected: Selected, before: Finder | None = None) -> None:
        self._session = session
        self._selected = selected
        self._mailbox = session.mailbox
        self._folder_id = selected.folder.folder_id
        start = session.services.now()
        self._until: datetime = start + timedelta(seconds=IMAP_SEARCH_SECONDS) if before is None else before._until

    async def find(self, program: Program) -> list[int]:
        """The uids that match, in order. Raises Declined(LIMIT) after 15 minutes."""
        found: list[int] = []
        chunks: Chunks = {}
        open_: Chunks = {}
        for turn, (at, chunk) in enumerate(self._chunks()):
            certain, possible = program.judge(Evidence(chunk))
            found += _uids(chunk, certain)
            if possible != certain:
                chunks[at], open_[at] = chunk, _chosen(chunk, possible ^ certain)
            if turn % _STEP == 0:
                await asyncio.sleep(0)
        if not open_:
            return found
        known = set(found)
        async for uid in self._look_closer(program, chunks, open_):
            known.add(uid)
        return sorted(known)

    async def matching(self, program: Program, rows: Sequence[Row]) -> set[int]:
        """The uids of those of some messages that match."""
        chunk = Table(rows).chunk()
        certain, possible = program.judge(Evidence(chunk))
        found = set(_uids(chunk, certain))
        async for uid in self._open(program, _chosen(chunk, possible ^ certain)):
            found.add(uid)
        return found

    async def lines(self, uids: Sequence[int], names: Sequence[str]) -> dict[int, tuple[str, ...]]:
        """Lines of the gists of messages (in order of uid), by uid; of one that does not open all are empty."""
        found: dict[int, tuple[str, ...]] = dict.fromkeys(uids, ("",) * len(names))
        chunks = dict(self._chunks({number(uid) for uid in uids}))
        wanted = {
            at: chunk.pick([place for place, uid in enumerate(chunk.uids) if uid in found])
            for at, chunk in chunks.items()
        }
        loose = list(wanted.values())
        if len(uids) > BLOCK_SLACK:
            loose = []
            async for asked, block in self._blocks(chunks, wanted, {PART_OF[name] for name in names}):
                if block is None:
                    loose.append(asked)
                    continue
                columns = [block.lines[name].split() for name in names]
                untold = []
                for place, (uid, *values) in enumerate(zip(block.chunk.uids, *columns, strict=True)):
                    if UNTOLD in values:
                        untold.append(place)
                    elif uid in found:
                        found[uid] = tuple(values)
                loose.append(block.chunk.pick([place for place in untold if block.chunk.uids[place] in found]))
        for chunk in loose:
            async for place, _, header in self._headers(chunk):
                one = gist(header)
                found[chunk.uids[place]] = tuple(getattr(one, name) for name in names)
        return found

    def facts(self, uids: Collection[int]) -> dict[int, tuple[int, int]]:
        """INTERNALDATE (as a view holds it) and size, by uid."""
        found = dict.fromkeys(uids, (0, 0))
        for _, chunk in self._chunks({number(uid) for uid in uids}):
            for uid, internal, size in zip(chunk.uids, chunk.internal, chunk.sizes, strict=True):
                if uid in found:
                    found[uid] = internal, size
        return found

    def _chunks(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Chunk]]:
        """The folder as the session knows it, a thousand uids at a time, of all thousands or those wanted; what went
        meanwhile is left out."""
        low = 0
        while True:
            table, known = self._selected.shared.table, self._selected.uids
            newest = known[-1] if known else 0
            start = bisect_left(table.uids, low)
            if start == len(table.uids) or table.uids[start] > newest:
                return
            at = number(table.uids[start])
            low = (at + 1) * SPAN
            if wanted is None or at in wanted:
                yield at, table.chunk(start, bisect_left(table.uids, min(low, newest + 1), start))

    async def _look_closer(self, program: Program, chunks: Chunks, open_: Chunks) -> AsyncIterator[int]:
        if sum(map(len, open_.values())) <= BLOCK_SLACK or not program.parts:
            for chunk in open_.values():
                async for uid in self._open(program, chunk):
                    yield uid
            return
        async for asked, block in self._blocks(chunks, open_, program.parts):
            left = asked
            if block is not None:
                certain, possible = program.judge(Gathered(block))
                for uid in _uids(block.chunk, certain):
                    yield uid
                left = _chosen(block.chunk, possible ^ certain)
            async for uid in self._open(program, left):
                yield uid

    async def _blocks(
        self, chunks: Chunks, asked: Mapping[int, Chunk], parts: Collection[str]
    ) -> AsyncIterator[tuple[Chunk, Block | None]]:
        """The blocks that hold the messages asked for; messages that no block knows come with None."""
        numbers = [at for at in chunks if len(asked[at])]
        done, total = 0, sum(len(asked[at]) for at in numbers)
        for start in range(0, len(numbers), _BLOCKS_AT_ONCE):
            self._progress(done, total)
            step = numbers[start : start + _BLOCKS_AT_ONCE]
            # Making a block opens all its messages: worth it where many of them would be opened anyway.
            worth = {at for at in step if len(asked[at]) > BLOCK_SLACK}
            blocks = await self._mailbox.blocks(self._folder_id, {at: chunks[at] for at in step}, parts, worth)
            for at in step:
                done += len(asked[at])
                if at not in blocks:
                    yield asked[at], None
                    continue
                block, unknown = blocks[at]
                if len(block.chunk):
                    yield asked[at], block
                if len(unknown):
                    missing = set(unknown.uids)
                    yield asked[at].pick([place for place, uid in enumerate(asked[at].uids) if uid in missing]), None
            await asyncio.sleep(0)

    async def _open(self, program: Program, chunk: Chunk) -> AsyncIterator[int]:
        """Those of the messages that match, judged by the messages themselves."""
        rest: list[tuple[int, Summary, bytes]] = []
        async for place, summary, header in self._headers(chunk):
            certain, possible = program.judge(Opened(chunk.pick([place]), header))
            if certain:
                yield chunk.uids[place]
            elif possible and program.needs_words:
                rest.append((place, summary, header))
                if len(rest) == IMAP_FETCH_STEP:
                    async for uid in self._read(program, chunk, rest):
                        yield uid
                    rest.clear()
        async for uid in self._read(program, chunk, rest):
            yield uid

    async def _read(
        self, program: Program, chunk: Chunk, messages: Sequence[tuple[int, Summary, bytes]]
    ) -> AsyncIterator[int]:
        content_ids = chunk.content_ids()
        small = [content_ids[place] for place, *_ in messages if chunk.sizes[place] <= SMALL_MESSAGE]
        bodies = await self._mailbox.bodies(small) if small else {}
        for place, summary, header in messages:
            content_id = content_ids[place]
            try:
                words = await self._mailbox.words(content_id, summary, bodies.get(content_id))
            except Refused as refusal:
                _unless_damaged(refusal)
                continue
            if program.judge(Opened(chunk.pick([place]), header, words))[0]:
                yield chunk.uids[place]
            await asyncio.sleep(0)

    async def _headers(self, chunk: Chunk) -> AsyncIterator[tuple[int, Summary, bytes]]:
        """Messages with summary and whole header, by position; one that does not open is left out (and was logged)."""
        content_ids = chunk.content_ids()
        for start in range(0, len(chunk), IMAP_FETCH_STEP):
            self._progress(start, len(chunk))
            step = content_ids[start : start + IMAP_FETCH_STEP]
            summaries = await self._mailbox.summaries(step)
            for place, content_id in enumerate(step, start):
                summary = summaries.get(content_id)
                if summary is None:
                    continue
                try:
                    header = await whole_header(self._mailbox, content_id, summary)
                except Refused as refusal:
                    _unless_damaged(refusal)
                    continue
                yield place, summary, header
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


def _places(mask: int) -> list[int]:
    return [place for place, bit in enumerate(bin(mask)[:1:-1]) if bit == "1"]


def _uids(chunk: Chunk, mask: int) -> list[int]:
    if mask == (1 << len(chunk)) - 1:
        return list(chunk.uids)
    return [chunk.uids[place] for place in _places(mask)]


def _chosen(chunk: Chunk, mask: int) -> Chunk:
    return chunk.pick(_places(mask))
