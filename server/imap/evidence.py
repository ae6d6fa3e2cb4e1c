"""What is known of some messages when a search judges them: what a view holds, then a block, at last all of them.

Each kind answers questions with two masks over its messages (bit 0: the first): who is meant for sure, and who may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

from server.mail import headers
from server.mail.gist import MARK, SEARCHED, UNTOLD, Gist, gist, searched
from server.mailbox.blocks.block import Block
from server.mailbox.blocks.signature import Question
from server.mailbox.table import Chunk
from server.mailbox.words import Words

Bounds = tuple[int, int]  # messages that match for sure, messages that may match


_DIGITS = bytes([48, *[49] * 255])


def mask(answers: Iterable[bool]) -> int:
    """Answers as a mask, the first one being bit 0."""
    return int(bytes(answers)[::-1].translate(_DIGITS) or b"0", 2)


class Evidence:
    """What a view holds: flags, dates, sizes, numbers."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.all = (1 << len(chunk)) - 1

    def in_field(self, name: str, needle: str) -> Bounds:
        """Messages with a field of this name (lower case) that holds the folded needle."""
        return 0, self.all

    def by_day(self, test: Callable[[str], bool]) -> Bounds:
        """Messages whose day of sending (ISO, "" for none) passes."""
        return 0, self.all

    def in_words(self, question: Question, needle: str, header: bool) -> Bounds:
        """Messages whose body, or header too, holds the folded needle."""
        return 0, self.all


class Gathered(Evidence):
    """Lines of gists, and signatures where there are some: a block, or messages whose summaries are open."""

    def __init__(self, block: Block) -> None:
        super().__init__(block.chunk)
        self.lines = block.lines
        self.words = block.words

    def in_field(self, name: str, needle: str) -> Bounds:
        column = self.lines.get(SEARCHED.get(name, ""))
        if column is None:
            return super().in_field(name, needle)
        found = mask(column.holding(needle or MARK) or ())
        return found, found | mask(column.holding(UNTOLD) or ())

    def by_day(self, test: Callable[[str], bool]) -> Bounds:
        column = self.lines.get("day")
        if column is None:
            return super().by_day(test)
        untold = mask(column.holding(UNTOLD) or ())
        found = mask(map(test, column.split())) & ~untold
        return found, found | untold

    def in_words(self, question: Question, needle: str, header: bool) -> Bounds:
        if self.words is None:
            return super().in_words(question, needle, header)
        return 0, mask(question.may_stand_in(self.words))


class Opened(Evidence):
    """One message, open: its whole header, and its words when they were asked for."""

    def __init__(self, chunk: Chunk, header: bytes, words: Words | None = None) -> None:
        """`chunk` of this message alone."""
        super().__init__(chunk)
        self._header = header
        self._words = words

    @cached_property
    def _gist(self) -> Gist:
        return gist(self._header)

    def in_field(self, name: str, needle: str) -> Bounds:
        line = SEARCHED.get(name)
        text = getattr(self._gist, line) if line else searched(headers.every(self._header, name))
        found = int((needle or MARK) in text)
        return found, found

    def by_day(self, test: Callable[[str], bool]) -> Bounds:
        found = int(test(self._gist.day))
        return found, found

    def in_words(self, question: Question, needle: str, header: bool) -> Bounds:
        if self._words is None:
            return 0, 1
        found = int(needle in self._words.body or (header and needle in self._words.header))
        return found, found
