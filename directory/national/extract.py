"""Opens the files as they are published, as text or inside their ZIP, and gives their lines as a stream of blocks:
memory does not grow with their size.

UTF-8 (the FINESS file: Windows-1252), fields parted by "|" (";"), a header line first. A file whose header lacks a
column, that is no such file, is damaged, given twice or cut in its last line raises `ExtractError`. Whether a line can
be read is judged by `lines`.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from directory.national.columns import Kind, Layout, layout

LINE_BYTES = 16 * 1024  # the longest real line is under 1 KiB
FILE_BYTES = 8 << 30  # unpacked; the largest has 1.2 GB
ZIP_MEMBERS = 20  # PS_LibreAcces holds three
BLOCK_BYTES = 1 << 20

# All the ways in which zipfile says that an archive is damaged, locked (RuntimeError) or packed in a way it does not
# know (NotImplementedError, which is a RuntimeError).
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, RuntimeError)

# What several files say of the same thing is taken from the first in this order, in which they are read.
RANKS = {Kind.ACTIVITY: 0, Kind.KNOW_HOW: 0, Kind.MAILBOX: 1, Kind.FINESS: 2}


class ExtractError(Exception):
    """A file or a line cannot be read: where, and why, for the operator. Holds nothing of the line."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}" if line else f"{file}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Source:
    """One published file: text at `path`, or the member of that name of a ZIP."""

    path: Path
    member: str
    size: int  # bytes, unpacked
    header: bytes
    layout: Layout

    @property
    def kind(self) -> Kind:
        return self.layout.kind

    @property
    def name(self) -> str:
        return self.member or self.path.name

    def blocks(self) -> Iterator[tuple[int, list[bytes]]]:
        """The lines behind the header without their ends, some thousand at a time, and the first one's number.

        A line too long comes as its first LINE_BYTES + 1 bytes. Raises ExtractError.
        """
        with _opened(self.path, self.member) as stream:
            yield from blocks(stream, self.name)


def blocks(stream: IO[bytes], name: str) -> Iterator[tuple[int, list[bytes]]]:
    """As `Source.blocks`, of an open file."""
    stream.readline(LINE_BYTES + 1)
    number, rest, skipping = 2, b"", False
    while block := stream.read(BLOCK_BYTES):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if skipping and lines:
            # What was kept of the line too long ends here, whatever came since.
            lines[0], skipping = lines[0][: LINE_BYTES + 1], False
        if len(rest) > LINE_BYTES:
            rest, skipping = rest[: LINE_BYTES + 1], True
        if lines:
            yield number, lines
            number += len(lines)
    if rest:
        raise ExtractError(name, number, "the last line has no end: the file was cut")


def sources(paths: Sequence[Path]) -> list[Source]:
    """The files that are read here, in the order of their rank. Raises ExtractError."""
    found: dict[Kind, Source] = {}
    for path in paths:
        for source in _sources(path):
            if source.kind in found:
                raise ExtractError(source.name, 0, f"the file {source.kind} is given twice")
            found[source.kind] = source
    return sorted(found.values(), key=lambda source: (RANKS[source.kind], source.kind is not Kind.ACTIVITY))


def _sources(path: Path) -> Iterator[Source]:
    try:
        if not zipfile.is_zipfile(path):
            source = _source(path, "", path.stat().st_size)
            if source is None:
                raise ExtractError(path.name, 1, "this is no header of a file that is read here")
            yield source
            return
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if one.filename.lower().endswith((".txt", ".csv"))]
    except _UNREADABLE as error:
        raise _damaged(path, error) from None
    if len(members) > ZIP_MEMBERS:
        raise ExtractError(path.name, 0, f"more than {ZIP_MEMBERS} files inside")
    inside = [source for one in members if (source := _source(path, one.filename, one.file_size))]
    if not inside:
        raise ExtractError(path.name, 0, "holds no file that is read here")
    yield from inside


def _source(path: Path, member: str, size: int) -> Source | None:
    name = member or path.name
    if size > FILE_BYTES:
        raise ExtractError(name, 0, f"larger than {FILE_BYTES} bytes")
    with _opened(path, member) as stream:
        header = stream.readline(LINE_BYTES + 1)
    columns = header_layout(header, name)
    return None if columns is None else Source(path, member, size, header, columns)


def header_layout(header: bytes, name: str) -> Layout | None:
    """Read a file's first line; None: it is none of ours. Raises ExtractError."""
    if len(header) > LINE_BYTES:
        raise ExtractError(name, 1, f"longer than {LINE_BYTES} bytes")
    try:
        return layout(header.decode("utf-8").rstrip("\r\n").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise ExtractError(name, 1, f"no UTF-8 at byte {error.start + 1}") from None
    except ValueError as error:
        raise ExtractError(name, 1, str(error)) from None


@contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    try:
        if member:
            with zipfile.ZipFile(path) as archive, archive.open(member) as packed:
                yield packed
        else:
            with path.open("rb") as stream:
                yield stream
    except _UNREADABLE as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ExtractError:
    return ExtractError(path.name, 0, str(getattr(error, "strerror", None) or error))
