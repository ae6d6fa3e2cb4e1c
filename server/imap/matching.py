"""Does a message match a search program? Keys are judged over some messages at once, from what is known of them.

The answer has two masks: who matches for sure, and who may match. They differ where the evidence does not suffice, as
for a text whose block holds a signature only; then the caller opens the messages between the two and asks again.
Strings are compared folded (`server/mail/folding.py`), after decoding, as RFC 9051 §6.4.4 asks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import or_

from server.imap.evidence import Bounds, Evidence, mask
from server.imap.grammar import search as keys
from server.imap.grammar.search import CHARSETS, Key, Search
from server.imap.object_ids import email_id
from server.imap.responses import Declined, Illegal
from server.imap.view import Selected
from server.mail.folding import fold
from server.mail.gist import SEARCHED
from server.mailbox.blocks.block import PART_OF, WORDS
from server.mailbox.blocks.signature import Question
from server.mailbox.table import Chunk, microseconds

Judge = Callable[[Evidence], Bounds]


class Program:
    """The keys of a search, ready to be asked about messages of a folder.

    Numbers are resolved when it is made (RFC 5267 §4.3). `parts` are the parts of a block that it asks about; `opens`
    whether a message may have to be opened where rows do not decide, `needs_words` whether with its body.
    """

    def __init__(self, command: Search, selected: Selected, now: datetime) -> None:
        """Raises Declined(BADCHARSET), Illegal: a string is not in the charset."""
        codec = CHARSETS.get(command.charset)
        if codec is None:
            raise Declined(b"BADCHARSET (%s)" % " ".join(CHARSETS).encode(), "That charset is not offered")
        self._codec = codec
        self._selected = selected
        self._now = now
        self.parts: set[str] = set()
        self.opens = False
        self.needs_words = False
        try:
            self.judge: Judge = self._judge(command.key)
        except UnicodeDecodeError:
            raise Illegal("A search string is not in the charset") from None

    def _judge(self, key: Key) -> Judge:
        match key:
            case keys.All():
                return lambda evidence: (evidence.all, evidence.all)
            case keys.And():
                return _both([self._judge(part) for part in key.keys])
            case keys.Or():
                return _either([self._judge(key.first), self._judge(key.second)])
            case keys.Not():
                return _not(self._judge(key.key))
            case keys.Field():
                return self._field(key)
            case keys.Words():
                return self._words(key)
            case keys.Dated() if key.field == "sent":
                return self._sent(key)
            case _:
                return _exact(self._test(key))

    def _test(self, key: Key) -> Callable[[Chunk], int]:
        match key:
            case keys.HasFlag(bit, has):
                digits = bytes([48 + (bool(flags & bit) is has) for flags in range(256)])
                return lambda chunk: int(chunk.flags[::-1].translate(digits) or b"0", 2)
            case keys.HasKeyword(keyword, has):
                return lambda chunk: mask([_named(chunk, uid, keyword) is has for uid in chunk.uids])
            case keys.Numbers():
                return self._numbers(key)
            case keys.Sized(">", octets):
                return lambda chunk: mask([size > octets for size in chunk.sizes])
            case keys.Sized(_, octets):
                return lambda chunk: mask([size < octets for size in chunk.sizes])
            case keys.Modified(modseq):
                return lambda chunk: mask([own >= modseq for own in chunk.modseqs])
            case keys.Aged(relation, seconds):
                edge = microseconds(self._now - timedelta(seconds=seconds))
                if relation == "<=":
                    return lambda chunk: mask([moment >= edge for moment in chunk.internal])
                return lambda chunk: mask([moment <= edge for moment in chunk.internal])
            case keys.Dated(field, relation, day):
                start, end = _interval(relation, day)
                if field == "saved":
                    return lambda chunk: mask([start <= moment < end for moment in chunk.saved])
                return lambda chunk: mask([start <= moment < end for moment in chunk.internal])
            case keys.Identified(object_id, thread):
                # No message has a THREADID here (object_ids.py).
                asked = b"" if thread else b"EMAILID (%s)" % object_id.encode()
                return lambda chunk: mask([email_id(content_id) == asked for content_id in chunk.content_ids()])
        raise TypeError(f"no test for {type(key).__name__}")

    def _numbers(self, key: keys.Numbers) -> Callable[[Chunk], int]:
        # Ranges of uids, however many messages they name: "1:*" written 500 times costs nothing.
        starts, ends = self._selected.spans(key.numbers, key.by_uid)

        def test(chunk: Chunk) -> int:
            uids, found = chunk.uids, 0
            if not uids:
                return 0
            for at in range(bisect_left(ends, uids[0]), bisect_right(starts, uids[-1])):
                first, last = bisect_left(uids, starts[at]), bisect_right(uids, ends[at])
                found |= (1 << last) - (1 << first)
            return found

        return test

    def _folded(self, needle: bytes) -> str:
        return fold(needle.decode(self._codec))

    def _field(self, key: keys.Field) -> Judge:
        name, needle = key.name, self._folded(key.needle)
        self.opens = True
        if name in SEARCHED:  # of other fields only the header itself tells
            self.parts.add(PART_OF[SEARCHED[name]])
        return lambda evidence: evidence.in_field(name, needle)

    def _words(self, key: keys.Words) -> Judge:
        needle, header = self._folded(key.needle), key.header
        question = Question(needle)
        self.parts.add(WORDS)
        self.opens = self.needs_words = True
        return lambda evidence: evidence.in_words(question, needle, header)

    def _sent(self, key: keys.Dated) -> Judge:
        relation, day = key.relation, key.day.isoformat()
        self.parts.add("sent")
        self.opens = True

        def test(sent: str) -> bool:
            if relation == "=":
                return sent == day
            return bool(sent) and (sent < day if relation == "<" else sent >= day)

        return lambda evidence: evidence.by_day(test)


def _both(judges: Collection[Judge]) -> Judge:
    def judge(evidence: Evidence) -> Bounds:
        sure = maybe = evidence.all
        for part in judges:
            certain, possible = part(evidence)
            sure &= certain
            maybe &= possible
            if not maybe:
                break
        return sure, maybe

    return judge


def _either(judges: Collection[Judge]) -> Judge:
    def judge(evidence: Evidence) -> Bounds:
        answers = [part(evidence) for part in judges]
        return reduce(or_, [sure for sure, _ in answers]), reduce(or_, [maybe for _, maybe in answers])

    return judge


def _not(inner: Judge) -> Judge:
    def judge(evidence: Evidence) -> Bounds:
        sure, maybe = inner(evidence)
        return evidence.all ^ maybe, evidence.all ^ sure

    return judge


def _exact(test: Callable[[Chunk], int]) -> Judge:
    def judge(evidence: Evidence) -> Bounds:
        found = test(evidence.chunk)
        return found, found

    return judge


def _named(chunk: Chunk, uid: int, keyword: str) -> bool:
    return any(name.lower() == keyword for name in chunk.keywords.get(uid, ()))


def _interval(relation: str, day: date) -> tuple[int, int]:
    """The moments [start, end) that BEFORE, ON or SINCE means; days are those of UTC, as INTERNALDATE is told."""
    start = microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
    if relation == "<":
        return -_EVER, start
    return start, (start + _DAY if relation == "=" else _EVER)


_DAY = 24 * 3_600 * 1_000_000
_EVER = 2**63
