"""QRESYNC (RFC 7162 §3.2.5): whatever happened meanwhile, a client that comes back ends with what the mailbox holds.

The client keeps uids, flags and the modseq of its last answer; SELECT (QRESYNC …) tells it the difference. Where the
store forgot what vanished, it is told more, and ends at the same.
"""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from server.imap.grammar.sequence import compact
from tests.imap_doubles import Backend, MemoryMailbox, Wire, signed_in

_FETCH = re.compile(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \(\d+\)\)")
_STEPS = st.lists(st.tuples(st.sampled_from(["append", "flag", "expunge"]), st.integers(0, 9)), max_size=12)


async def happen(mailbox: MemoryMailbox, steps: list[tuple[str, int]]) -> None:
    for what, which in steps:
        uids = sorted(mailbox.kept[1].rows)
        if what == "append":
            await mailbox.append(1, b"a: b\r\n\r\n")
        elif uids:
            uid = uids[which % len(uids)]
            await mailbox.store(1, [uid], "replace", 8 if what == "expunge" else which)
            if what == "expunge":
                await mailbox.expunge(1, [uid])


def uids_of(text: bytes) -> set[int]:
    found: set[int] = set()
    for piece in text.split(b","):
        low, _, high = piece.partition(b":")
        found.update(range(int(low), int(high or low) + 1))
    return found


class Client:
    """What a client keeps of a mailbox."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.flags: dict[int, bytes] = {}
        self.modseq = 0

    async def select(self, known: bool, matches: bool) -> None:
        resync = b""
        if self.modseq:
            uids = sorted(self.flags)
            extra = b" " + compact(uids) if known and uids else b""
            if matches and uids:
                extra += b" (%s %s)" % (compact(range(1, len(uids) + 1)), compact(uids))
            resync = b" (QRESYNC (1001 %d%s))" % (self.modseq, extra)
        told = await self.wire.ask(b"a SELECT INBOX" + resync)
        assert b"a OK" in told
        for vanished in re.findall(rb"VANISHED \(EARLIER\) (\S+)", told):
            for uid in uids_of(vanished):
                self.flags.pop(uid, None)
        self.flags |= {int(uid): flags for uid, flags in _FETCH.findall(told)}
        if not self.modseq or known:
            # What is new it asks for by itself.
            told += await self.wire.ask(b"b UID FETCH 1:* (FLAGS MODSEQ)" if not self.modseq else self._new())
            self.flags |= {int(uid): flags for uid, flags in _FETCH.findall(told)}
        self.modseq = int(re.findall(rb"HIGHESTMODSEQ (\d+)", told)[0])
        await self.wire.ask(b"c UNSELECT")

    def _new(self) -> bytes:
        return b"b UID FETCH %d:* (FLAGS MODSEQ)" % (max(self.flags, default=0) + 1)


@given(_STEPS, _STEPS, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
async def test_the_client_ends_with_what_is_there(
    before: list[tuple[str, int]], meanwhile: list[tuple[str, int]], known: bool, matches: bool, trimmed: bool
) -> None:
    mailbox = MemoryMailbox()
    await happen(mailbox, before)
    wire = await signed_in(Backend(mailbox))
    await wire.ask(b"e ENABLE QRESYNC")
    client = Client(wire)
    await client.select(known=False, matches=False)
    await happen(mailbox, meanwhile)
    mailbox.kept[1].trimmed = 1_000 * trimmed
    await client.select(known, matches)
    rows = mailbox.kept[1].rows
    assert sorted(client.flags) == sorted(rows)
    for uid, row in rows.items():
        assert (b"\\Seen" in client.flags[uid]) == bool(row.flags & 1)
        assert (b"\\Answered" in client.flags[uid]) == bool(row.flags & 2)
