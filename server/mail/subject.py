"""The base subject of RFC 5256 §2.1: what is left of a subject without "Re:", "Fwd:", list names and "(fwd)"."""

from __future__ import annotations

import re

# subj-blob = "[" *BLOBCHAR "]" *WSP ; subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
_BLOB = r"\[[^\[\]]*+\]\s*+"
# subj-leader = (*subj-blob subj-refwd) / WSP
_LEADER = re.compile(rf"\s++|(?:{_BLOB})*(?:re|fwd?)\s*+(?:{_BLOB})?:", re.IGNORECASE)
_PREFIX_BLOB = re.compile(_BLOB)
# subj-trailer = "(fwd)" / WSP
_TRAILER = re.compile(r"(?:\(fwd\)|\s)\Z", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_CHARACTERS = 1_000  # of a subject; RFC 5322 §2.1.1 gives a line 998, and who writes more is sorted by the beginning


def base_subject(subject: str) -> tuple[str, bool]:
    """The base of a decoded subject, and whether it tells a reply or a forward."""
    text = _BLANKS.sub(" ", subject[:_CHARACTERS])
    answers = False
    while True:
        # (2) trailers, from the end
        while (trailer := _TRAILER.search(text)) is not None:
            answers |= not trailer[0].isspace()
            text = text[: trailer.start()]
        text, led = _without_leaders(text)
        answers |= led
        # (6) "[fwd: … ]" around the whole, and again from (2)
        if not (text[:5].lower() == "[fwd:" and text.endswith("]")):
            return text, answers
        text, answers = text[5:-1], True


def _without_leaders(text: str) -> tuple[str, bool]:
    """Steps (3) to (5): leaders, and blobs that leave something behind them."""
    answers, at = False, 0
    while True:
        leader = _LEADER.match(text, at)
        if leader is not None:
            answers |= not leader[0].isspace()
            at = leader.end()
            continue
        blob = _PREFIX_BLOB.match(text, at)
        if blob is None or not text[blob.end() :].strip():
            return text[at:], answers
        at = blob.end()
