"""Reads lines a block at a time, each into the rows and numbers it gives: here, or in processes of their own.

A nation's files are a minute of work for one processor, in which the database has little to do. `python -m
directory.national.blocks` is such a process: it gets blocks of lines from the importing process over a socket that both
inherit, answers what they say, and ends with it.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any

from directory.national.columns import Layout
from directory.national.difference import KnownLines, numbers_of
from directory.national.extract import RANKS, ExtractError, Source
from directory.national.lines import LineReader
from directory.national.stage import Stage

LARGE_BYTES = 64 << 20  # of all files: below it a process has hardly begun before all is read
PROCESSES = 2  # more give rows faster than one connection takes them


@dataclass(slots=True)
class Block:
    """What the lines of a block say; damaged ones are (place in the block, reason, line)."""

    rows: dict[str, bytes]
    known: KnownLines
    suspects: set[str]
    damaged: list[tuple[int, str, bytes]] = field(default_factory=list)


class BlockReader:
    """Reads the blocks of a file; lines on the addresses `own` are passed over."""

    def __init__(self, layout: Layout, own: Set[str]) -> None:
        self._reader = LineReader(layout)
        self._rank = RANKS[layout.kind]
        self._own = own
        self._stage = Stage()

    def read(self, lines: list[bytes]) -> Block:
        """What the lines that can be read say."""
        reader, stage, known, damaged = self._reader, self._stage, KnownLines(), []
        for place, (number, line) in enumerate(zip(numbers_of(lines), lines, strict=True)):
            try:
                said = reader.read(line)
            except ValueError as error:
                damaged.append((place, str(error), line))
                continue
            if said.mailbox is None or said.mailbox[0] not in self._own:
                known.add(number, said)
                stage.put(said, self._rank)
        suspects, stage.suspects = stage.suspects, set()
        return Block(stage.taken(), known, suspects, damaged)


class Readers:
    """Reads the blocks of files, in their order. Large files in processes, which end with the `with`."""

    def __init__(self, sources: list[Source], own: Set[str]) -> None:
        self._large = sum(source.size for source in sources) >= LARGE_BYTES
        self._own = own
        self._processes: list[_Process] = []
        self._stack = ExitStack()

    def __enter__(self) -> Readers:
        with ExitStack() as stack:
            if self._large:
                self._processes = [stack.enter_context(_Process()) for _ in range(PROCESSES)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, source: Source) -> Iterator[tuple[int, int, Block]]:
        """The number of a block's first line, its bytes, and what it says. Raises ExtractError."""
        if not self._processes:
            reader = BlockReader(source.layout, self._own)
            for number, lines in source.blocks():
                yield number, _size(lines), reader.read(lines)
            return
        idle = list(self._processes)
        asked: deque[tuple[int, int, _Process]] = deque()
        try:
            for process in idle:
                process.begin(source.layout, self._own)
            for number, lines in source.blocks():
                done = None
                if idle:
                    process = idle.pop()
                else:
                    first, size, process = asked.popleft()
                    done = first, size, process.answer()
                process.ask(lines)
                asked.append((number, _size(lines), process))
                if done:
                    yield done
            for first, size, process in asked:
                yield first, size, process.answer()
        except (EOFError, ConnectionError):
            raise ExtractError(source.name, 0, "a process that was reading it ended") from None


def _size(lines: list[bytes]) -> int:
    return sum(map(len, lines)) + len(lines)


class _Process:
    """One reading process: an `answer` after each `ask`, so that neither waits to write while the other does."""

    def __init__(self) -> None:
        self._ours, theirs = Pipe()
        number = theirs.fileno()
        # In a session of its own: who interrupts the import is answered by the import alone.
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "directory.national.blocks", str(number)], pass_fds=[number], start_new_session=True
        )
        theirs.close()

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._ours.close()

    def begin(self, layout: Layout, own: Set[str]) -> None:
        """The lines that follow are of another file."""
        self._ours.send((layout, own))

    def ask(self, lines: list[bytes]) -> None:
        """Give it lines to read."""
        self._ours.send(lines)

    def answer(self) -> Block:
        """What the lines asked last say."""
        block: Block = self._ours.recv()
        return block


def serve(asking: Connection[Any, Any]) -> None:
    """Read what comes until nobody asks any more."""
    reader: BlockReader | None = None
    while True:
        try:
            asked = asking.recv()
        except EOFError:
            return
        if isinstance(asked, tuple):
            reader = BlockReader(*asked)
        elif reader:
            asking.send(reader.read(asked))


if __name__ == "__main__":
    # By its own name, so that what is pickled here is known there.
    from directory.national import blocks

    blocks.serve(Connection(int(sys.argv[1])))
