"""National files from anybody's hands.

Invariant: any bytes are read to the end or refused with `ExtractError`, never with another error; each line is read or
is reported once with its number, in order; a report holds no field of the line; what is read holds no control
character, no text longer than a field may be, and an address that is one; blocks of any size give the same lines.
"""

from __future__ import annotations

import io
from unittest import mock

from directory.indexing import folded, words_of
from directory.national import extract
from directory.national.extract import ExtractError, blocks, header_layout
from directory.national.lines import FIELD_CHARACTERS, Line, LineReader

SECRET = "MARTIN"  # a name in the seeds that must not come back in an error


def fuzz(data: bytes) -> None:
    try:
        columns = header_layout(io.BytesIO(data).readline(extract.LINE_BYTES + 1), "file.txt")
    except ExtractError:
        return
    if columns is None:
        return
    reader = LineReader(columns)
    numbers: list[int] = []
    lines: list[bytes] = []
    cut = 0
    try:
        for number, some in blocks(io.BytesIO(data), "file.txt"):
            numbers += range(number, number + len(some))
            lines += some
    except ExtractError as error:
        cut = error.line
    assert cut in {0, len(numbers) + 2}
    assert numbers == list(range(2, len(numbers) + 2))
    assert len(lines) <= data.count(b"\n")
    assert all(len(line) <= extract.BLOCK_BYTES + extract.LINE_BYTES for line in lines)
    in_pieces(data, lines)
    reasons: list[str] = []
    for line in lines:
        try:
            said = reader.read(line)
        except ValueError as error:
            reasons.append(str(error))
            continue
        check(said)
        if said.mailbox is not None:
            assert reader.address(line) == said.mailbox[0]
            indexed(said)
    assert not any(SECRET in reason for reason in reasons)


def in_pieces(data: bytes, lines: list[bytes]) -> None:
    """Whatever the size of a block, lines that may be read are the same."""
    found: list[bytes] = []
    with mock.patch.object(extract, "BLOCK_BYTES", 97):
        try:
            for _, some in blocks(io.BytesIO(data), "file.txt"):
                found += some
        except ExtractError:
            assert len(found) == len(lines)
    longest = extract.LINE_BYTES + 1
    assert [line[:longest] for line in found] == [line[:longest] for line in lines]


def check(said: Line) -> None:
    place = said.place.row if said.place else ()
    rows = [row for row in (said.person, said.know_how, place, said.activity, said.mailbox) if row]
    texts = [text for row in rows for text in row]
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for text in texts for c in text)
    assert max(map(len, texts), default=0) <= 4 * FIELD_CHARACTERS  # a street is put together from four fields
    if said.mailbox is not None:
        assert said.mailbox[0].count("@") == 1


def indexed(said: Line) -> None:
    """What a mailbox line says can be indexed, whatever it says."""
    assert said.mailbox is not None
    texts = [("service", said.mailbox[5], "")]
    if said.person is not None:
        _, code, _, _, last_name, first_name, label, *_ = said.person
        texts += [("last_name", last_name, ""), ("first_name", first_name, ""), ("profession", label, code)]
    if said.know_how is not None:
        texts.append(("know_how", said.know_how[4], ""))
    if said.place is not None:
        _, _, _, _, _, name, sign, _, postcode, town, _, _, _, _, sector, _ = said.place.row
        texts += [("organisation", name, sign), ("place", town, postcode), ("sector", sector, "")]
    for kind, text, beside in texts:
        found = words_of(kind, [(text, beside)])
        assert all(word.isascii() and word == word.lower() for word in found)
        assert "\0" not in folded(text)
