"""Reads the national files as they are published: PS_LibreAcces (Personne_activite, SavoirFaire) and
Extraction_Correspondance_MSSante, as text or inside their ZIP.

UTF-8, fields parted by "|", a header line first; lines of PS_LibreAcces end with one more "|". Files are read as a
stream: memory does not grow with their size. What cannot be read is said with file, line and reason:

- a file whose header lacks a column, or that is no such file, raises `ExtractError`;
- a line that cannot be read is reported and left out, and the lines after it are read. Whoever loads judges how many
  such lines are too many.

Check digits are not judged here: the register is the authority for its own numbers. A name or address never stands in
an error's text.
"""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO

from directory.columns import SEPARATOR, Kind, Layout, layout
from directory.model import OWN_PLACE, Activity, KnowHow, MailboxEntry, MailboxKind, Organisation, Professional, Record

LINE_BYTES = 16 * 1024  # the longest real line is under 1 KiB
FIELD_CHARACTERS = 300  # L4 to L6 of an address are 38 characters, names under 100
ZIP_MEMBERS = 20  # PS_LibreAcces holds three
ADDRESS_CHARACTERS = 254  # RFC 5321 §4.5.3.1.3 less the brackets

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NATIONAL_ID = re.compile(r"[0-9][0-9A-Za-z/.-]{3,40}", re.ASCII)
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_ROUTING = re.compile(r"\s*(?:\d{5})?\s*(.*?)(?:\s+CEDEX(?:\s+\d{1,2})?)?\s*", re.IGNORECASE)
# The digit of the type in front of a structure's number → length of the number: FINESS, SIREN, SIRET.
_STRUCTURE_LENGTHS = {"1": 9, "2": 9, "3": 14}

# All the ways in which zipfile says that an archive is damaged, locked (RuntimeError) or packed in a way it does not
# know (NotImplementedError, which is a RuntimeError).
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, RuntimeError)

Report = Callable[["ExtractError"], None]


class ExtractError(Exception):
    """A file or a line cannot be read: where, and why, for the operator."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}" if line else f"{file}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


def read(path: Path, report: Report) -> Iterator[Record]:
    """The records of one published file (text, or ZIP of them), in their order.

    Calls `report` for each line that is left out. Raises ExtractError: no such file, no header of ours, damaged ZIP.
    """
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                if not (yield from records(stream, path.name, report)):
                    raise ExtractError(path.name, 1, "this is no header of a file that is read here")
            return
        with zipfile.ZipFile(path) as archive:
            yield from _members(archive, path.name, report)
    except _UNREADABLE as error:
        raise ExtractError(path.name, 0, str(getattr(error, "strerror", None) or error)) from None


def _members(archive: zipfile.ZipFile, name: str, report: Report) -> Iterator[Record]:
    members = [member for member in archive.infolist() if member.filename.lower().endswith(".txt")]
    if len(members) > ZIP_MEMBERS:
        raise ExtractError(name, 0, f"more than {ZIP_MEMBERS} files inside")
    known = 0
    for member in members:
        with archive.open(member) as stream:
            known += yield from records(stream, member.filename, report)
    if not known:
        raise ExtractError(name, 0, "holds no file that is read here")


def records(stream: IO[bytes], file: str, report: Report) -> Generator[Record, None, bool]:
    """The records of an open file; returns (as a generator does) whether it is one that is read here.

    Raises ExtractError when the header cannot be read or lacks a column.
    """
    try:
        header = _decoded(stream.readline(LINE_BYTES + 1)).removeprefix("\ufeff")
        columns = layout(header)
    except ValueError as error:
        raise ExtractError(file, 1, str(error)) from None
    if columns is None:
        return False
    make = _MAKERS[columns.kind]
    number = 1
    while line := stream.readline(LINE_BYTES + 1):
        number += 1
        try:
            fields = _fields(line, columns)
            yield make(_Row(fields, columns.places))
        except ValueError as error:
            report(ExtractError(file, number, str(error)))
            while len(line) > LINE_BYTES and not line.endswith(b"\n"):
                line = stream.readline(LINE_BYTES + 1)  # the rest of a line too long
                if not line:
                    break
    return True


def _decoded(line: bytes) -> str:
    if len(line) > LINE_BYTES:
        raise ValueError(f"longer than {LINE_BYTES} bytes")
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 at byte {error.start + 1}") from None


def _fields(line: bytes, columns: Layout) -> list[str]:
    text = _decoded(line)
    if _CONTROL.search(text):
        raise ValueError("holds a control character")
    fields = text.split(SEPARATOR)
    # Lines end with a "|" or do not, whatever the header does: both forms have been published.
    if len(fields) == columns.width + 1 and not fields[-1]:
        fields.pop()
    if len(fields) != columns.width:
        raise ValueError(f"{len(fields)} fields, the header has {columns.width}")
    return fields


class _Row:
    """A line's fields by our names; a column that the file lacks reads as empty."""

    __slots__ = ("_fields", "_places")

    def __init__(self, fields: list[str], places: dict[str, int]) -> None:
        self._fields = fields
        self._places = places

    def __getitem__(self, name: str) -> str:
        place = self._places.get(name)
        if place is None:
            return ""
        value = self._fields[place].strip()
        if len(value) > FIELD_CHARACTERS:
            raise ValueError(f'field {place + 1} ("{name}") is longer than {FIELD_CHARACTERS} characters')
        return value


def _professional(row: _Row) -> Professional:
    national_id = row["national_id"]
    if not national_id and row["identifier_type"] and row["identifier"]:
        national_id = row["identifier_type"] + row["identifier"]
    if _NATIONAL_ID.fullmatch(national_id) is None:
        raise ValueError("the national identification of the person is missing or is no number")
    if national_id[0] == "8" and not (len(national_id) == 12 and national_id.isdigit()):
        raise ValueError("a national identification that begins with 8 has 11 more digits (RPPS)")
    if not row["last_name"]:
        raise ValueError("the name of the person is missing")
    return Professional(
        national_id=national_id,
        identifier=row["identifier"] or national_id[1:],
        civility=row["civility"],
        last_name=row["last_name"],
        first_name=row["first_name"],
        profession_code=row["profession_code"],
        profession=row["profession"],
        category_code=row["category_code"],
    )


def _know_how(row: _Row, person: Professional) -> KnowHow | None:
    if not row["know_how_code"]:
        return None
    return KnowHow(
        national_id=person.national_id,
        profession_code=person.profession_code,
        kind_code=row["know_how_kind"],
        code=row["know_how_code"],
        label=row["know_how"],
    )


def _organisation(row: _Row, organisation_id: str, finess: str, siret: str, town: str) -> Organisation:
    street = (row["street_number"], row["street_repeat"], row["street_type"], row["street_name"])
    return Organisation(
        organisation_id=organisation_id,
        finess=finess,
        legal_finess=row["legal_finess"],
        siret=siret,
        siren=row["siren"],
        name=row["name"] or row["sign"],
        sign=row["sign"],
        street=" ".join(part for part in street if part),
        postcode=row["postcode"],
        town=town,
        commune_code=row["commune_code"],
        department=row["department"],
        country=row["country"],
        sector_code=row["sector_code"],
        sector=row["sector"],
        phone=row["phone"],
    )


def _town(routing: str) -> str:
    """The town of a routing line: "69003 LYON CEDEX 03" → LYON."""
    match = _ROUTING.fullmatch(routing)
    return match[1] if match else ""


def _activity(row: _Row) -> Activity:
    person = _professional(row)
    number = row["organisation_id"] or row["finess"] or row["siret"]
    town = row["town"] or _town(row["delivery"])
    return Activity(
        professional=person,
        organisation=_organisation(row, number, row["finess"], row["siret"], town) if number else None,
        know_how=_know_how(row, person),
        mode_code=row["mode_code"],
        mode=row["mode"],
        role_code=row["role_code"],
        role=row["role"],
    )


def _know_how_line(row: _Row) -> KnowHow:
    found = _know_how(row, _professional(row))
    if found is None:
        raise ValueError("the code of the specialty is missing")
    return found


def structure_number(kind: str, number: str) -> str:
    """A structure's number without the digit of its type in front (1 FINESS, 2 SIREN, 3 SIRET), where it has one."""
    length = _STRUCTURE_LENGTHS.get(kind)
    return number[1:] if length and len(number) == length + 1 and number[0] == kind else number


def _mailbox(row: _Row) -> MailboxEntry:
    address = row["address"].lower()
    if len(address) > ADDRESS_CHARACTERS or _ADDRESS.fullmatch(address) is None:
        raise ValueError("the address is no e-mail address")
    try:
        kind = MailboxKind(row["kind"].upper())
    except ValueError:
        raise ValueError("the type of mailbox is none of PER, ORG, APP, CAB") from None
    person = _professional(row) if row["national_id"] or kind is MailboxKind.PER else None
    number_type = row["structure_type"]
    number = structure_number(number_type, row["structure_id"])
    if person is None and not number:
        raise ValueError("neither a person nor a structure holds this mailbox")
    # A line may tell where a person practises without the structure's number: that place is the mailbox's own.
    place_id = number or (f"{OWN_PLACE}{address}" if row["postcode"] or row["routing"] else "")
    finess = number if number_type in {"1", "FINESS"} else ""
    siret = number if number_type in {"3", "SIRET"} else ""
    return MailboxEntry(
        address=address,
        kind=kind,
        professional=person,
        know_how=_know_how(row, person) if person else None,
        organisation=_organisation(row, place_id, finess, siret, _town(row["routing"])) if place_id else None,
        service=row["service"],
        paperless=row["paperless"].upper() in {"O", "OUI", "TRUE", "1"},
    )


_MAKERS: dict[Kind, Callable[[_Row], Record]] = {
    Kind.ACTIVITY: _activity,
    Kind.KNOW_HOW: _know_how_line,
    Kind.MAILBOX: _mailbox,
}
