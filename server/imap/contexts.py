"""Searches that are kept up to date: RETURN (UPDATE), told by ADDTO and REMOVEFROM (RFC 5267 §4.3).

A context remembers what its client knows: the messages found, in their order. At each `Session.sync` what is gone is
told before the EXPUNGEs, while its numbers are right, and what changed or came after the EXISTS and FETCHes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from server.base.limits import IMAP_CONTEXT_RESULTS, IMAP_CONTEXTS
from server.imap.finding import Finder
from server.imap.grammar.sequence import compact
from server.imap.responses import Illegal, untagged

if TYPE_CHECKING:
    from server.imap.grammar.search import Returns
    from server.imap.matching import Program
    from server.imap.session import Session
    from server.imap.sorting import Order
    from server.imap.view import Selected


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
        self.known = set(uids)
        self._places = list(zip(keys, uids, strict=True)) if order is not None else []  # (key of the sort, uid)

    def add(self, uid: int, key: Any) -> int:
        """Take a result in; returns the position it takes, 0 in mailbox order, where the uid itself tells it."""
        self.known.add(uid)
        if self.order is None:
            return 0
        at = bisect_left(self._places, (key, uid))
        self._places.insert(at, (key, uid))
        return at + 1

    def remove(self, uids: Collection[int]) -> list[tuple[int, int]]:
        """Take results away; each comes with the position it had when those before it in the answer were gone."""
        self.known.difference_update(uids)
        if self.order is None:
            return [(0, uid) for uid in sorted(uids)]
        removed: list[tuple[int, int]] = []
        kept: list[tuple[Any, int]] = []
        for place in self._places:
            if place[1] in uids:
                removed.append((len(kept) + 1, place[1]))
            else:
                kept.append(place)
        self._places = kept
        return removed


def refuse_tag_in_use(session: Session, selected: Selected, returns: Returns | None) -> None:
    # RFC 5267 §4.3
    if returns is not None and "UPDATE" in returns and session.tag in selected.contexts:
        raise Illegal("Tag reuse")


def follow(session: Session, selected: Selected, context: Context) -> None:
    """Keep a search up to date from now on."""
    kept = sum(len(other.known) for other in selected.contexts.values())
    if len(selected.contexts) >= IMAP_CONTEXTS or (kept and kept + len(context.known) > IMAP_CONTEXT_RESULTS):
        # RFC 5267 §4.3.1: one is kept up to date in any case.
        session.write(untagged(b"NO", "Too many searches are kept up to date", b'NOUPDATE "%s"' % session.tag))
    else:
        selected.contexts[session.tag] = context


def tell_gone(session: Session, selected: Selected) -> None:
    """REMOVEFROM of results that no longer exist; to be called before their EXPUNGE is told."""
    for tag, context in selected.contexts.items():
        if context.generation == selected.shared.generation:
            continue
        context.generation = selected.shared.generation
        gone = context.known.difference(selected.shared.uids)
        if gone:
            _tell(session, selected, tag, context, b"REMOVEFROM", context.remove(gone))


async def tell_changed(session: Session, selected: Selected) -> None:
    """What messages that changed or came since the last time do to the results; after EXISTS and FETCH were told."""
    present = selected.shared.modseq
    for tag, context in tuple(selected.contexts.items()):
        if present <= context.modseq:
            continue
        changed = [row for row in selected.shared.changed_since(context.modseq) if selected.number(row.uid)]
        finder = Finder(session, selected)
        matching = await finder.matching(context.program, changed)
        left = {row.uid for row in changed if row.uid in context.known} - matching
        if left:
            _tell(session, selected, tag, context, b"REMOVEFROM", context.remove(left))
        fresh = sorted(matching - context.known)
        if fresh:
            keys = await context.order.keys(finder, fresh) if context.order is not None else [()] * len(fresh)
            added = [(context.add(uid, key), uid) for key, uid in sorted(zip(keys, fresh, strict=True))]
            _tell(session, selected, tag, context, b"ADDTO", added)
        context.modseq = present


def _tell(
    session: Session, selected: Selected, tag: bytes, context: Context, item: bytes, told: list[tuple[int, int]]
) -> None:
    pairs = [(at, uid if context.by_uid else selected.number(uid)) for at, uid in told]
    if context.order is None:
        # RFC 5267 §4.3.3, §4.3.4: position 0 in mailbox order, where the set itself tells it.
        listed = b"0 " + compact(number for _, number in pairs)
    else:
        listed = b" ".join(b"%d %d" % pair for pair in pairs)
    uid = b" UID" if context.by_uid else b""
    session.line(b'ESEARCH (TAG "%s")%s %s (%s)' % (tag, uid, item, listed))
