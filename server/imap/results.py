"""How what was found is told and kept: the SEARCH and SORT responses, ESEARCH, and "$"."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from server.imap.grammar.search import Returns
from server.imap.grammar.sequence import compact
from server.imap.session import Session
from server.imap.view import Selected

_SILENT = frozenset({"SAVE"})


def numbers(selected: Selected, uids: Sequence[int], by_uid: bool) -> Sequence[int]:
    # A message that went while we searched keeps its number until the session is told (view.py, rule 2).
    return uids if by_uid else [selected.number(uid) for uid in uids]


def tell_plain(session: Session, name: bytes, found: Sequence[int], modseq: int | None) -> None:
    """`* SEARCH 1 2 3 (MODSEQ 9)`, or the same of SORT."""
    listed = b"".join(b" %d" % number for number in found)
    session.line(name + listed + (b"" if modseq is None else b" (MODSEQ %d)" % modseq))


def tell_extended(
    session: Session,
    returns: Returns,
    found: Sequence[int],
    modseq: int | None,
    by_uid: bool,
    mailbox: bytes = b"",
) -> None:
    """The ESEARCH response; `found` in the order asked, `mailbox` the correlators of MULTISEARCH.

    esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data) (RFC 4731 §3.1)
    """
    if returns.options == _SILENT:
        return  # RFC 5182 §2.2: only saving tells nothing
    answer = [b'ESEARCH (TAG "%s"%s)' % (session.tag, mailbox)]
    if by_uid:
        answer.append(b"UID")
    if found:
        if "MIN" in returns:
            answer.append(b"MIN %d" % found[0])
        if "MAX" in returns:
            answer.append(b"MAX %d" % found[-1])
        if "ALL" in returns:
            answer.append(b"ALL " + compact(found))
    if returns.partial is not None:
        # RFC 9394 §3.1: NIL where nothing is in the range.
        answer.append(b"PARTIAL (%s %s)" % (returns.partial.text, compact(returns.partial.cut(found)) or b"NIL"))
    if "COUNT" in returns:
        answer.append(b"COUNT %d" % len(found))
    if modseq is not None:
        answer.append(b"MODSEQ %d" % modseq)
    session.line(b" ".join(answer))


def highest_modseq(selected: Selected, uids: Sequence[int], returns: Returns | None) -> int | None:
    """What MODSEQ tells beside the results; None when nothing was found."""
    # RFC 4731 §3.2: with only MIN or MAX, the mod-sequence of just those messages.
    ends = {"MIN": uids[:1], "MAX": uids[-1:]}
    told = [uid for name in ends if returns is not None and name in returns for uid in ends[name]]
    only_ends = returns is not None and returns.options <= {"MIN", "MAX", "SAVE", "UPDATE", "CONTEXT"}
    rows = [selected.row(uid) for uid in (told if told and only_ends else uids)]
    return max((row.modseq for row in rows if row is not None), default=None)


def save(selected: Selected, returns: Returns, uids: Sequence[int]) -> None:
    """Set "$" (RFC 5182 §2.4, RFC 9394 §3.2): what is told of single messages, or all of them."""
    kept: set[int] = set()
    some = returns.options & {"MIN", "MAX", "PARTIAL"}
    if not some or returns.options & {"ALL", "COUNT"}:
        kept.update(uids)
    else:
        kept.update(uids[:1] if "MIN" in some else ())
        kept.update(uids[-1:] if "MAX" in some else ())
        kept.update(returns.partial.cut(uids) if returns.partial is not None else ())
    selected.saved = array("I", sorted(kept))
