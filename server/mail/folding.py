"""How texts are compared: folded for a search, casemapped for an order.

A search ignores case and how a character was typed, after decoding (RFC 9051 §6.4.4): both sides are brought to
compatibility form and folded, and a run of blanks counts as one. A sort uses i;unicode-casemap (RFC 5051), as RFC 5256
§7 asks.
"""

from __future__ import annotations

import re
import unicodedata

_BLANKS = re.compile(r"\s+")


def fold(text: str) -> str:
    """A text as a search compares it; it holds no blank but single spaces."""
    if text.isascii():
        return _BLANKS.sub(" ", text.lower())
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))


def casemap(text: str) -> str:
    """The key by which i;unicode-casemap orders a text; compare these as code points."""
    if text.isascii():
        return text.upper()
    # RFC 5051 §2: (a) the simple titlecase mapping, which never grows, then (b) all decompositions.
    titled = "".join(upper if len(upper := character.title()) == 1 else character for character in text)
    return unicodedata.normalize("NFKD", titled)
