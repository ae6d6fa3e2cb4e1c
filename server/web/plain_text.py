"""HTML mail to plain text: nothing of the markup survives, so nothing can run, load or lie in a link's name.

Invariant: any characters in, text out, never an exception; the output has no control character but line feed and tab;
time is linear in the input, which `LIMIT` bounds.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from server.base.limits import WEB_TEXT_CHARACTERS

LIMIT = 4 * WEB_TEXT_CHARACTERS  # markup is mostly longer than its text
_DROPPED = frozenset({"script", "style", "head", "title", "template", "noscript", "iframe", "object", "svg", "math"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer", "form"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre"}
    | {"section", "table", "tr", "ul"}
)
# Controls, and the marks that reorder text (a file name that reads backwards, CVE-2021-42574).
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._dropping: str | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._dropping is not None:
            self._depth += tag == self._dropping
        elif tag in _DROPPED:
            self._dropping, self._depth = tag, 1
        elif tag == "li":
            self.pieces.append("\n• ")
        elif tag in _BLOCKS:
            self.pieces.append("\n")
        elif tag in ("td", "th"):
            self.pieces.append("\t")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._dropping is None and tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if self._dropping is not None:
            self._depth -= tag == self._dropping
            if self._depth <= 0:
                self._dropping = None
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        # The parser of the standard library raises on `<![`; HTML (§13.2.5.42) reads a bogus comment there.
        return self.parse_bogus_comment(i)

    def handle_data(self, data: str) -> None:
        if self._dropping is None:
            self.pieces.append(re.sub(r"\s+", " ", data))


def from_html(markup: str) -> str:
    """The text of an HTML body, paragraphs kept apart by line feeds."""
    parser = _Text()
    parser.feed(markup[:LIMIT])
    parser.close()
    lines = [line.strip(" ") for line in "".join(parser.pieces).split("\n")]
    return clean(re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip())


def clean(text: str) -> str:
    """Text without control characters; line ends become line feeds."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_line(text: str) -> str:
    """One line of a message (subject, name, file name) fit to be shown: as `clean`, on one line."""
    return " ".join(clean(text).split())
