"""Searches that are kept up to date: RETURN (UPDATE), told by ADDTO and REMOVEFROM (RFC 5267 §4.3).

A context remembers what its client knows: the messages found, in their order. At each `Session.sync` what is gone is
told before the EXPUNGEs, while its numbers are right, and what changed or came after the EXISTS and FETCHes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from server.base.limits import IMAP_CONTEXTS
from server.imap.finding import Finder
from server.imap.grammar.sequence import compact
from server.imap.responses import Illegal, untagged

if TYPE_CHECKING:
    from server.imap.grammar.search import Returns
    from server.imap.matching import Program
    from server.imap.session import Session
    from server.imap.sorting import Order
    from server.imap.view import Selected

# A place in an order: the key of the sort (empty in mailbox order), then the uid.
_Place = tuple[Any, int]


class Context:
    """One search; `order` when it was a SORT, whose results have positions."""

    def __init__(
        self,
        program: Program,
        by_uid: bool,
        modseq: int,
        uids: Sequence[int],
        order: Order | None = None,
        keys: Sequence[Any] = (),
    ) -> None:
        """`uids` are the results as of `modseq`; of a SORT with their `keys`, in its order."""
        self.program = program
        self.by_uid = by_uid
        self.modseq = modseq
        self.generation = -1
        self.order = order
        self.key_of: dict[int, Any] = dict(zip(uids, keys if order is not None else [()] * len(uids), strict=True))
        self.places: list[_Place] = [(key, uid) for uid, key in self.key_of.items()]

    def position(self, uid: int) -> int:
        """Where a result stands, from 1."""
        return bisect_left(self.places, (self.key_of[uid], uid)) + 1

    def add(self, uid: int, key: Any) -> None:
        self.key_of[uid] = key
        insort(self.places, (key, uid))

    def remove(self, uid: int) -> None:
        del self.places[self.position(uid) - 1]
        del self.key_of[uid]


def refuse_tag_in_use(session: Session, selected: Selected, returns: Returns | None) -> None:
    # RFC 5267 §4.3
    if returns is not None and "UPDATE" in returns and session.tag in selected.contexts:
        raise Illegal("Tag reuse")


def follow(session: Session, selected: Selected, context: Context) -> None:
    """Keep a search up to date from now on."""
    if len(selected.contexts) >= IMAP_CONTEXTS:
        # RFC 5267 §4.3.1
        session.write(untagged(b"NO", "Too many searches are kept up to date", b'NOUPDATE "%s"' % session.tag))
    else:
        selected.contexts[session.tag] = context


def tell_gone(session: Session, selected: Selected) -> None:
    """REMOVEFROM of results that no longer exist; to be called before their EXPUNGE is told."""
    for tag, context in selected.contexts.items():
        if context.generation == selected.shared.generation:
            continue
        context.generation = selected.shared.generation
        table = selected.shared.table
        gone = [uid for uid in context.key_of if table.find(uid) < 0]
        if gone:
            _tell(session, selected, tag, context, b"REMOVEFROM", _removed(context, gone))


async def tell_changed(session: Session, selected: Selected) -> None:
    """What messages that changed or came since the last time do to the results; after EXISTS and FETCH were told."""
    present = selected.shared.modseq
    for tag, context in tuple(selected.contexts.items()):
        if present <= context.modseq:
            continue
        changed = [row for row in selected.shared.changed_since(context.modseq) if selected.number(row.uid)]
        finder = Finder(session, selected)
        matching = await finder.matching(context.program, changed)
        left = [row.uid for row in changed if row.uid in context.key_of and row.uid not in matching]
        if left:
            _tell(session, selected, tag, context, b"REMOVEFROM", _removed(context, left))
        fresh = sorted(matching - context.key_of.keys())
        if fresh:
            keys = await context.order.keys(finder, fresh) if context.order is not None else [()] * len(fresh)
            added = []
            for key, uid in sorted(zip(keys, fresh, strict=True)):
                context.add(uid, key)
                added.append((context.position(uid), uid))
            _tell(session, selected, tag, context, b"ADDTO", added)
        context.modseq = present


def _removed(context: Context, uids: Sequence[int]) -> list[tuple[int, int]]:
    """Take results away; each with the position it had when those before it in the list were gone."""
    removed = []
    for uid in uids:
        removed.append((context.position(uid), uid))
        context.remove(uid)
    return removed


def _tell(
    session: Session, selected: Selected, tag: bytes, context: Context, item: bytes, told: list[tuple[int, int]]
) -> None:
    pairs = [(at, uid if context.by_uid else selected.number(uid)) for at, uid in told]
    if context.order is None:
        # RFC 5267 §4.3.3, §4.3.4: position 0 in mailbox order, where the set itself tells it.
        listed = b"0 " + compact(number for _, number in sorted(pairs, key=lambda pair: pair[1]))
    else:
        listed = b" ".join(b"%d %d" % pair for pair in pairs)
    uid = b" UID" if context.by_uid else b""
    session.line(b'ESEARCH (TAG "%s")%s %s (%s)' % (tag, uid, item, listed))
