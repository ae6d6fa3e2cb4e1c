"""The blocks of a folder in the database: read, opened, and made where a search would open many messages instead.

Invariants: nothing of a block is in clear in the database; each part opens only under the mailbox's key, at its place,
with the members it was made for. What does not open, or is not there, is made anew from the messages; what could not
be written is used all the same. So a block is never needed, and never believed against a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import structlog

from crypto.errors import CryptoError
from server.base.errors import Refused, TryLater
from server.base.limits import BLOCK_SLACK, IMAP_FETCH_STEP, SMALL_MESSAGE
from server.mail.gist import Gist, kept
from server.mailbox import queries as mailbox_queries
from server.mailbox.blocks import block, queries
from server.mailbox.blocks.block import PARTS, WORDS, Block, Lines, Members
from server.mailbox.blocks.signature import ANYTHING, Signer
from server.mailbox.keys import OwnerKey
from server.mailbox.table import Chunk
from server.mailbox.trouble import connection
from server.mailbox.words import whole_header

if TYPE_CHECKING:
    from server.mailbox.store import Mailbox

_MEMBERS = "members"

log = structlog.get_logger()


@dataclass(slots=True)
class Opened:
    """A block as far as it was asked for."""

    members: Members
    lines: dict[str, Lines] = field(default_factory=dict)
    words: list[bytes] | None = None

    def has(self, parts: Collection[str], but: str = "") -> bool:
        """Whether those parts are there; nobody asks about the one named by `but`."""
        return all(
            part == but or (self.words is not None if part == WORDS else PARTS[part][0] in self.lines) for part in parts
        )

    def signatures(self) -> dict[bytes, bytes]:
        """Signatures by content id."""
        return {} if self.words is None else dict(zip(self.members.each(), self.words, strict=True))

    def put(self, part: str, plain: bytes) -> None:
        """Raises IntegrityError when the part is not of these members."""
        count = len(self.members.uids)
        if part == WORDS:
            self.words = block.decode_words(plain, count)
        else:
            self.lines |= block.decode_lines(plain, part, count)


def place(folder_id: int, number: int, part: str, block_id: bytes = b"") -> bytes:
    """What a part is bound to beside its owner."""
    return f"{folder_id}/{number}/{part}/".encode() + block_id


LABEL = "view block"


async def read(
    acquired: asyncpg.Connection, key: OwnerKey, folder_id: int, numbers: Sequence[int], parts: Collection[str]
) -> dict[int, Opened]:
    """The blocks that are there and open; of each the parts asked for that are there and open."""
    sealed: dict[int, dict[str, bytes]] = {}
    rows = await acquired.fetch(queries.BLOCKS, key.owner_id, folder_id, list(numbers), [_MEMBERS, *parts])
    for number, part, data in rows:
        sealed.setdefault(number, {})[part] = data
    opened: dict[int, Opened] = {}
    for number, found in sealed.items():
        try:
            plain = key.unwrap_own(LABEL, place(folder_id, number, _MEMBERS), found.pop(_MEMBERS, b""))
            one = opened[number] = Opened(Members.from_bytes(plain))
            for part, data in found.items():
                one.put(part, key.unwrap_own(LABEL, place(folder_id, number, part, one.members.block_id), data))
        except CryptoError:
            # Made by two at the same time, of an older format, or damaged: made anew by who asked.
            log.info("view_block_passed_over", owner=key.owner_id, folder=folder_id, block=number)
    return opened


class Shelf:
    """The blocks of one folder."""

    def __init__(self, mailbox: Mailbox, pool: asyncpg.Pool, key: OwnerKey, folder_id: int) -> None:
        self._mailbox = mailbox
        self._pool = pool
        self._key = key
        self._folder_id = folder_id

    async def blocks(
        self, chunks: Mapping[int, Chunk], parts: Collection[str], make: Collection[int]
    ) -> dict[int, tuple[Block, Chunk]]:
        """For each chunk (all messages whose uid has that number): the block, and the messages that it does not know.

        A block that is missing, or lacks words or too many of them, is made if its number is among `make`, else it
        is left out.
        """
        opened = await self._read(list(chunks), parts)
        found: dict[int, tuple[Block, Chunk]] = {}
        for number, chunk in chunks.items():
            one = opened.get(number)
            places = one.members.places(chunk) if one is not None else None
            if one is None or (places or []).count(-1) > BLOCK_SLACK or not one.has(parts, but=WORDS):
                if number not in make:
                    continue
                one = await self._made(number, chunk, parts)
                places = one.members.places(chunk)
            elif not one.has(parts):
                if number not in make:
                    continue
                one.words = await sign(self._mailbox, one.members, {})
                await self._keep(number, one, {WORDS: block.encode_words(one.words)})
            found[number] = block.select(places, chunk, one.lines, one.words)
        return found

    async def _read(self, numbers: Sequence[int], parts: Collection[str]) -> dict[int, Opened]:
        async with connection(self._pool) as acquired:
            return await read(acquired, self._key, self._folder_id, numbers, parts)

    async def _made(self, number: int, chunk: Chunk, parts: Collection[str]) -> Opened:
        """A new block in place of what was there; signatures that the old one had are taken over."""
        contents = chunk.content_ids()
        gists = await read_gists(self._mailbox, contents)
        # A message that does not open is no member: who searches tries it again, and says so in the log.
        members = [at for at, content_id in enumerate(contents) if content_id in gists]
        one = Opened(Members.of(os.urandom(16), chunk.pick(members)))
        plain = {part: block.encode_lines([gists[contents[at]] for at in members], part) for part in PARTS}
        old = (await self._read([number], (WORDS,))).get(number)
        known = old.signatures() if old is not None else {}
        if known or WORDS in parts:
            plain[WORDS] = block.encode_words(await sign(self._mailbox, one.members, known))
        for part in parts:
            one.put(part, plain[part])
        await self._keep(number, one, plain | {_MEMBERS: one.members.to_bytes()})
        return one

    async def _keep(self, number: int, one: Opened, plain: Mapping[str, bytes]) -> None:
        """Seal and write parts; with the list of members they replace the block that was there."""
        key, folder_id = self._key, self._folder_id
        parts, sealed = list(plain), []
        for part, octets in plain.items():
            bound = place(folder_id, number, part, b"" if part == _MEMBERS else one.members.block_id)
            sealed.append(key.wrap_own(LABEL, bound, octets))
        try:
            async with connection(self._pool) as acquired, acquired.transaction():
                # Under the folder's lock it is known for sure whether a member went meanwhile (queries.ADD_TO_BLOCK).
                if not await acquired.fetch(mailbox_queries.LOCK_FOLDERS, key.owner_id, [folder_id]):
                    return
                if _MEMBERS in plain:
                    await acquired.execute(queries.DROP_BLOCK, key.owner_id, folder_id, number)
                uids = list(one.members.uids)
                await acquired.execute(queries.ADD_TO_BLOCK, key.owner_id, folder_id, number, parts, sealed, uids)
        except (asyncpg.PostgresError, TryLater) as error:
            # A full disk, a lock that takes long: the search goes on, and the next one makes the block again.
            log.warning("view_block_not_kept", owner=key.owner_id, folder=folder_id, block=number, error=error)


async def read_gists(mailbox: Mailbox, contents: Sequence[bytes]) -> dict[bytes, Gist]:
    """The gists of the messages that open, by content, as they are kept."""
    found: dict[bytes, Gist] = {}
    for start in range(0, len(contents), IMAP_FETCH_STEP):
        for content_id, summary in (await mailbox.summaries(contents[start : start + IMAP_FETCH_STEP])).items():
            with contextlib.suppress(Refused):  # the rest of a long header does not open; told by who reads it
                found[content_id] = kept(await whole_header(mailbox, content_id, summary))
        await asyncio.sleep(0)
    return found


async def sign(mailbox: Mailbox, members: Members, known: Mapping[bytes, bytes]) -> list[bytes]:
    """A signature for each member; one whose message does not open rules nothing out."""
    contents = members.each()
    signatures = {content_id: known[content_id] for content_id in contents if content_id in known}
    fresh = [content_id for content_id in contents if content_id not in known]
    signer = Signer()
    for start in range(0, len(fresh), IMAP_FETCH_STEP):
        summaries = await mailbox.summaries(fresh[start : start + IMAP_FETCH_STEP])
        small = await mailbox.bodies([one for one, summary in summaries.items() if summary.size <= SMALL_MESSAGE])
        for content_id, summary in summaries.items():
            with contextlib.suppress(Refused):
                words = await mailbox.words(content_id, summary, small.get(content_id))
                signatures[content_id] = signer.sign(f"{words.header} {words.body}")
            await asyncio.sleep(0)
    return [signatures.get(content_id, ANYTHING) for content_id in contents]
