"""A block as it lies in memory: which messages it holds, and lines and signatures of them. Pure.

A block is the messages of a folder whose uid has the same thousand. Its members are listed once (uid and content id),
and each of its parts has a line or a signature a member, in the same order. It never changes what is true: a message
that is not among the members, or is with another content, is opened instead.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from crypto.errors import IntegrityError
from server.mail.gist import Gist
from server.mailbox.table import Chunk

SPAN = 1_000  # uids of a block
_FORMAT = 1  # what gist, folding and signature mean; another one is made anew
_ID_BYTES = 16
_CONTENT_BYTES = 16
_HEAD = struct.Struct(f"!BI{_ID_BYTES}s")

# The parts of a block and the lines of a gist that each holds; a search reads the parts it asks about.
WORDS = "words"
PARTS: dict[str, tuple[str, ...]] = {
    "from": ("from_",),
    "to": ("to", "cc", "bcc"),
    "subject": ("subject",),
    "id": ("message_id",),
    "sent": ("day", "moment"),
    "order": ("by_from", "by_to", "by_cc", "shown_from", "shown_to"),
    "thread": ("base", "ids"),
}
PART_OF = {line: part for part, lines in PARTS.items() for line in lines}


def number(uid: int) -> int:
    """The block a uid belongs to."""
    return uid // SPAN


@dataclass(frozen=True, slots=True)
class Members:
    """Who is in a block. `block_id` is random and binds the parts to just these members."""

    block_id: bytes
    uids: array[int]
    contents: bytes

    @classmethod
    def of(cls, block_id: bytes, chunk: Chunk) -> Members:
        return cls(block_id, chunk.uids, chunk.contents)

    def to_bytes(self) -> bytes:
        uids = struct.pack(f"!{len(self.uids)}I", *self.uids)
        return _HEAD.pack(_FORMAT, len(self.uids), self.block_id) + uids + self.contents

    @classmethod
    def from_bytes(cls, plain: bytes) -> Members:
        """Raises IntegrityError: of another format, or none."""
        try:
            form, count, block_id = _HEAD.unpack_from(plain)
            uids = array("I", struct.unpack_from(f"!{count}I", plain, _HEAD.size))
        except struct.error:
            raise IntegrityError("this is no list of a block's members") from None
        contents = plain[_HEAD.size + 4 * count :]
        if form != _FORMAT or len(contents) != _CONTENT_BYTES * count:
            raise IntegrityError("a block of another format")
        return cls(block_id, uids, contents)

    def each(self) -> list[bytes]:
        """The content ids, one a member."""
        size = _CONTENT_BYTES
        return [self.contents[at : at + size] for at in range(0, len(self.contents), size)]

    def places(self, chunk: Chunk) -> list[int] | None:
        """Where each message of a chunk stands among the members, -1 for nowhere; None: all of them, one for one."""
        if self.contents == chunk.contents and self.uids == chunk.uids:
            return None
        at = {uid: place for place, uid in enumerate(self.uids)}
        found = []
        for uid, content_id in zip(chunk.uids, chunk.content_ids(), strict=True):
            place = at.get(uid, -1)
            known = place >= 0 and self.contents.startswith(content_id, place * _CONTENT_BYTES)
            found.append(place if known else -1)
        return found


class Lines:
    """A line of text for each of some messages; a text is looked for in all of them at once."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def of(cls, lines: Sequence[str]) -> Lines:
        return cls("\n".join(lines))

    def split(self) -> list[str]:
        return self.text.split("\n")

    def holding(self, needle: str) -> list[bool] | None:
        """Which lines hold `needle`, which has no line end; None for none, as is most often so."""
        return [needle in line for line in self.split()] if needle in self.text else None


def encode_lines(gists: Sequence[Gist], part: str) -> bytes:
    """The plain form of a part of lines."""
    columns = ["\n".join([getattr(gist, line) for gist in gists]) for line in PARTS[part]]
    return "\0".join(columns).encode("utf-8", "replace")


def decode_lines(plain: bytes, part: str, count: int) -> dict[str, Lines]:
    """Raises IntegrityError when it does not have `count` lines of each kind."""
    try:
        columns = plain.decode("utf-8").split("\0")
    except UnicodeDecodeError:
        raise IntegrityError("a part of a block is no text") from None
    if len(columns) != len(PARTS[part]) or any(column.count("\n") != count - 1 for column in columns):
        raise IntegrityError("a part of a block does not have its members' lines")
    return dict(zip(PARTS[part], map(Lines, columns), strict=True))


def encode_words(signatures: Sequence[bytes]) -> bytes:
    """The plain form of the signatures."""
    return struct.pack(f"!{len(signatures)}H", *map(len, signatures)) + b"".join(signatures)


def decode_words(plain: bytes, count: int) -> list[bytes]:
    """Raises IntegrityError when it does not have `count` signatures."""
    try:
        sizes = struct.unpack_from(f"!{count}H", plain)
    except struct.error:
        raise IntegrityError("a part of a block is cut") from None
    at, signatures = 2 * count, []
    for size in sizes:
        signatures.append(plain[at : at + size])
        at += size
    if at != len(plain):
        raise IntegrityError("a part of a block does not have its members' signatures")
    return signatures


@dataclass(frozen=True, slots=True)
class Block:
    """The parts of a block that were asked for, for those messages of a chunk that it knows: all in one order."""

    chunk: Chunk
    lines: dict[str, Lines]
    words: list[bytes] | None = None


def select(
    places: Sequence[int] | None, chunk: Chunk, lines: dict[str, Lines], words: list[bytes] | None
) -> tuple[Block, Chunk]:
    """A block cut to a chunk, and the messages that it does not know; `places` is what its members say."""
    if places is None:
        return Block(chunk, lines, words), chunk.pick(())
    known = [at for at, place in enumerate(places) if place >= 0]
    kept = {}
    for name, column in lines.items():
        split = column.split()
        kept[name] = Lines.of([split[places[at]] for at in known])
    cut = None if words is None else [words[places[at]] for at in known]
    unknown = [at for at, place in enumerate(places) if place < 0]
    return Block(chunk.pick(known), kept, cut), chunk.pick(unknown)
