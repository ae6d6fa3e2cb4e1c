"""Invariant: any bytes of an HTML part become text without control characters, and no tag of theirs survives a page."""

from __future__ import annotations

from server.web.plain_text import clean_line, from_html


def fuzz(data: bytes) -> None:
    text = from_html(data.decode("utf-8", "replace"))
    assert all(character in "\n\t" or not 0 <= ord(character) < 32 for character in text)
    assert "\n" not in clean_line(text)
