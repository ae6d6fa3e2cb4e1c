"""Copies one mailbox of another server, folder by folder, each in the order of its uids.

NEVER TWICE, NOTHING HALF. How far a folder is copied stands in `migrated_folder`, and moves in the transaction that
appends the messages, from exactly the state that was read: whatever is killed at whatever moment, and whoever copies at
the same time, a message is here once or still to come. No Message-ID is looked at: two messages may have one.

Nothing is changed there (EXAMINE, BODY.PEEK). Memory holds one batch: small messages to BATCH_BYTES together, or a
large one, which comes in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from server.base.errors import Refused
from server.base.limits import MIB
from server.cli.migrate import answers, queries
from server.cli.migrate.answers import Fetched
from server.cli.migrate.client import Declined, Source
from server.cli.migrate.places import Place, folder_for
from server.imap.grammar.sequence import compact
from server.mailbox.incoming import Incoming
from server.mailbox.model import NewMessage
from server.mailbox.store import Mailbox

BATCH_MESSAGES = 100
BATCH_BYTES = MIB  # also the piece of a large message
_HEADS = 500  # messages whose size, flags and date are asked for at once


@dataclass(slots=True)
class Report:
    """What became of a folder. `left` says why a message (by its uid) stays there, `trouble` why the folder does."""

    title: str
    there: int = 0
    before: int = 0  # copied by earlier runs
    copied: int = 0
    octets: int = 0
    left: dict[int, str] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """How far a folder is copied: all before `next_uid` but `left_out`."""

    next_uid: int = 1
    left_out: tuple[int, ...] = ()

    def after(self, uids: Sequence[int], left: Mapping[int, str]) -> State:
        """The state once `uids` (sorted) were dealt with, of which those in `left` stay there."""
        kept = set(self.left_out).difference(uids) | {uid for uid in uids if uid in left}
        return State(max(self.next_uid, uids[-1] + 1), tuple(sorted(kept)))


@dataclass(frozen=True, slots=True)
class Look:
    """A folder there, open, and what is to come of it. `known`: a run before began it, in this folder here."""

    uidvalidity: int
    state: State
    todo: tuple[int, ...]
    known: int | None


class AnotherRuns(Exception):
    """How far a folder is copied is not what was read: another migration of this mailbox runs."""


class Copier:
    """Copies into `mailbox`. `account` tells one source from another: server and account there."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        mailbox: Mailbox,
        account: bytes,
        largest: int,
        again: bool = False,
        advance: Callable[[int], None] = lambda messages: None,
    ) -> None:
        """`largest`: octets of a message; `again`: copy folders anew that were numbered anew; `advance` is told how
        many messages were dealt with."""
        self.reports: dict[str, Report] = {}  # by the folder's name there
        self._connection = connection
        self._mailbox = mailbox
        self._account = account
        self._largest = largest
        self._again = again
        self._advance = advance

    async def look(self, source: Source, place: Place) -> Look | None:
        """Open a folder there and see what is to come. Changes nothing; None: nothing can (`trouble`). Raises Lost."""
        report = self.reports.setdefault(place.name, Report(place.title))
        report.trouble = ""
        try:
            opened = answers.opened(await source.examine(place.name))
        except (Declined, ValueError) as error:  # no name that may stand in a command is one too
            report.trouble = f"it cannot be opened there ({error})"
            return None
        if opened is None:
            report.trouble = "its messages have no lasting numbers there (no UIDVALIDITY)"
            return None
        row = await self._connection.fetchrow(queries.STATE, self._mailbox.owner_id, self._token(place))
        state = State() if row is None else State(row["next_uid"], tuple(row["left_out"]))
        if row is not None and row["uidvalidity"] != opened.uidvalidity:
            if not self._again:
                report.trouble = (
                    "its messages were numbered anew there, so that those which are here cannot be told from the "
                    "others: --again copies the whole folder once more"
                )
                return None
            state = State()
        uids = answers.numbers(await source.ask("SEARCH", "ALL", prefix="UID")) if opened.exists else []
        left = set(state.left_out)
        todo = tuple(uid for uid in uids if uid >= state.next_uid or uid in left)
        report.there, report.before = len(uids), len(uids) - len(todo) - report.copied
        return Look(opened.uidvalidity, state, todo, row["folder_id"] if row else None)

    async def copy(self, source: Source, place: Place) -> None:
        """Copy what is to come of a folder. Raises Lost, AnotherRuns, TryLater."""
        look = await self.look(source, place)
        if look is None:
            return
        report = self.reports[place.name]
        try:
            folder_id = await self._begin(place, look)
        except Refused as refusal:
            report.trouble = f"it has no place here ({refusal.sentence})"
            return
        state = look.state
        for start in range(0, len(look.todo), _HEADS):
            step = look.todo[start : start + _HEADS]
            heads = answers.fetched(await source.fetch_uids(_set(step), "(UID FLAGS INTERNALDATE RFC822.SIZE)"))
            for batch in _batches(step, heads):
                state = await self._copy_batch(source, place, folder_id, state, batch, heads)

    async def _begin(self, place: Place, look: Look) -> int:
        """The folder here, with the state that `look` found or that a first run begins with."""
        owner, token = self._mailbox.owner_id, self._token(place)
        if look.known is None:
            folder = await folder_for(self._mailbox, place)
            await self._connection.execute(queries.BEGIN, owner, token, folder.folder_id, look.uidvalidity)
            return folder.folder_id
        await self._connection.execute(queries.BEGIN_AGAIN, owner, token, look.uidvalidity)
        return look.known

    async def _copy_batch(
        self,
        source: Source,
        place: Place,
        folder_id: int,
        state: State,
        batch: Sequence[int],
        heads: Mapping[int, Fetched],
    ) -> State:
        report, left = self.reports[place.name], dict[int, str]()
        messages: list[NewMessage] = []
        # A message that is there no more is neither copied nor left.
        wanted = [uid for uid in batch if uid in heads]
        bodies = await self._bodies(source, wanted, heads, left)
        for uid in wanted:
            head, body = heads[uid], bodies.get(uid)
            if body is not None and _octets(body):
                messages.append(NewMessage(body, head.flags, head.keywords, head.internaldate))
            else:
                left.setdefault(uid, "it is empty" if body is not None else "it was not sent")
        after = state.after(batch, left)

        async def advance(connection: asyncpg.Connection) -> None:
            row = (self._mailbox.owner_id, self._token(place), state.next_uid, list(state.left_out))
            if not await connection.fetchval(queries.ADVANCE, *row, after.next_uid, list(after.left_out)):
                raise AnotherRuns

        if messages:
            await self._mailbox.append_many(folder_id, messages, also=advance)
        else:
            await advance(self._connection)
        report.copied += len(messages)
        report.octets += sum(_octets(message.data) for message in messages)
        report.left |= left
        self._advance(len(batch))
        return after

    async def _bodies(
        self, source: Source, uids: Sequence[int], heads: Mapping[int, Fetched], left: dict[int, str]
    ) -> Mapping[int, bytes | Incoming]:
        if len(uids) != 1:
            told = answers.fetched(await source.fetch_uids(_set(uids), "(UID BODY.PEEK[])")) if uids else {}
            return {uid: message.body for uid, message in told.items() if message.body is not None}
        (uid,) = uids
        size = heads[uid].size or 0
        whole = self._mailbox.incoming()
        while size <= self._largest:
            item = f"(UID BODY.PEEK[]<{whole.size}.{BATCH_BYTES}>)"
            piece = answers.fetched(await source.fetch_uids(str(uid), item)).get(uid, Fetched()).body
            if piece is None:
                return {}
            await whole.add(piece)
            # What the server said of the size is not relied on.
            size = whole.size
            if len(piece) < BATCH_BYTES:
                return {uid: whole}
        left[uid] = f"it has {size} octets: more than transport.max_message_bytes"
        return {}

    def _token(self, place: Place) -> bytes:
        return self._mailbox.own_token("migrated folder", self._account + b"\0" + place.name.encode("utf-8", "replace"))


def _octets(body: bytes | Incoming) -> int:
    return body.size if isinstance(body, Incoming) else len(body)


def _batches(uids: Sequence[int], heads: Mapping[int, Fetched]) -> Iterator[list[int]]:
    """Messages that are fetched and stored together; a large one, and one of unknown size, alone."""
    batch: list[int] = []
    octets = 0
    for uid in uids:
        head = heads.get(uid, Fetched(size=0))
        size = BATCH_BYTES if head.size is None else head.size
        if batch and (len(batch) == BATCH_MESSAGES or octets + size > BATCH_BYTES):
            yield batch
            batch, octets = [], 0
        batch.append(uid)
        octets += size
    if batch:
        yield batch


def _set(uids: Sequence[int]) -> str:
    return compact(uids).decode()
