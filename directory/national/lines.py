"""What one line of a national file says, as rows of the tables.

A line that cannot be read raises ValueError, whose text holds no field of the line. Check digits are not judged here:
the register is the authority for its own numbers.

The files are two million lines long and repeat themselves: a person's lines follow each other, a structure's words
stand in the lines of all who work there. Both are looked at once and remembered.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from hashlib import blake2b
from operator import itemgetter
from typing import NamedTuple

from directory.model import OWN_PLACE, MailboxKind
from directory.national.columns import DELETED, FINESS_SECTION, Kind, Layout
from directory.national.extract import LINE_BYTES

FIELD_CHARACTERS = 300  # L4 to L6 of an address are 38 characters, names under 100
ADDRESS_CHARACTERS = 254  # RFC 5321 §4.5.3.1.3 less the brackets
DIGEST_BYTES = 8  # stand for a line: among three million, another one has the same with a chance of 10⁻⁷ a year
_PLACES_KEPT = 5_000
_POSTCODE, _ROUTING_LINE = 8, 17  # in what `LineReader._place` gets

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NATIONAL_ID = re.compile(r"[0-9][0-9A-Za-z/.-]{3,40}", re.ASCII)
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_ROUTING = re.compile(r"\s*(?:\d{5})?\s*(.*?)(?:\s+CEDEX(?:\s+\d{1,2})?)?\s*", re.IGNORECASE)
_FINESS = re.compile(r"[0-9][0-9A-Z][0-9]{7}", re.ASCII)
# The digit of the type in front of a structure's number → length of the number: FINESS, SIREN, SIRET.
_STRUCTURE_LENGTHS = {"1": 9, "2": 9, "3": 14}

Row = tuple[str, ...]


class Place(NamedTuple):
    """A structure in the words of a line: row of `organisation`; numbers that stand for its key and for the words."""

    row: Row
    key: int
    words: int


class Line(NamedTuple):
    """Whose it is (a national_id, or the address of an organisation's mailbox), and its rows."""

    subject: str
    person: Row | None = None
    know_how: Row | None = None
    place: Place | None = None
    activity: Row | None = None
    mailbox: Row | None = None


def subject_number(subject: str) -> int:
    """The number that stands for a subject: an RPPS itself, a digest (top bit set) of others, 0 for none."""
    if len(subject) == 12 and subject[0] == "8":
        return int(subject)
    if not subject:
        return 0
    return int.from_bytes(blake2b(subject.encode(), digest_size=DIGEST_BYTES).digest()) | 1 << 63


def place_key(organisation_id: str) -> int:
    """The number that stands for a structure; two may share one."""
    return zlib.crc32(organisation_id.encode())


class LineReader:
    """Reads the lines of one file."""

    def __init__(self, layout: Layout) -> None:
        self._kind = layout.kind
        self._width = layout.width
        self._separator = layout.separator
        self._blanks = (f" {self._separator}", f"{self._separator} ")
        self._layout = layout
        self._person = self._getter(
            "national_id identifier_type identifier civility last_name first_name profession_code profession "
            "category_code"
        )
        self._know_how = self._getter("know_how_code know_how_kind know_how")
        self._place = self._getter(
            "legal_finess siren name sign street_number street_repeat street_type street_name postcode town delivery "
            "commune_code department country sector_code sector phone routing"
        )
        self._how = self._getter("organisation_id finess siret mode_code role_code mode role")
        self._box = self._getter(
            "address kind national_id structure_type structure_id service paperless unlisted operation"
        )
        self._places: dict[Row, Place] = {}
        self._last: tuple[Row, Row] = ((), ())
        self._read = {
            Kind.ACTIVITY: self._activity,
            Kind.KNOW_HOW: self._know_how_line,
            Kind.MAILBOX: self._mailbox,
            Kind.FINESS: self._finess,
        }[layout.kind]

    def _getter(self, names: str) -> Callable[[list[str]], Row]:
        # A column that the file lacks is read as the empty field behind the last one.
        getter: Callable[[list[str]], Row] = itemgetter(
            *(self._layout.places.get(name, self._width) for name in names.split())
        )
        return getter

    def read(self, line: bytes) -> Line:
        """Raises ValueError."""
        return self._read(self._fields(line))

    def address(self, line: bytes) -> str:
        """The address of a line of the mailbox file that `read` takes."""
        place = self._layout.places["address"]
        return line.split(b"|", place + 1)[place].decode().strip().lower()

    def _fields(self, line: bytes) -> list[str]:
        if len(line) > LINE_BYTES:
            raise ValueError(f"longer than {LINE_BYTES} bytes")
        text = self._decoded(line)
        plain = text.isprintable()
        if not plain:
            text = text.removesuffix("\r")
            if _CONTROL.search(text):
                raise ValueError("holds a control character")
        fields = text.split(self._separator)
        # Lines end with a "|" or do not, whatever the header does: both forms have been published.
        if len(fields) == self._width:
            fields.append("")
        elif self._kind is Kind.FINESS:
            if fields[0] == FINESS_SECTION and len(fields) < self._width:
                raise ValueError(f"{len(fields)} fields, there are at least {self._width}")
            fields[self._width :] = [""]
        elif len(fields) != self._width + 1 or fields[-1]:
            raise ValueError(f"{len(fields)} fields, the header has {self._width}")
        before, behind = self._blanks
        if before in text or behind in text or not plain:
            return [field.strip() for field in fields]
        fields[0], fields[-1] = fields[0].strip(), fields[-1].strip()
        return fields

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            if self._kind is Kind.FINESS:
                return line.decode("cp1252")
            raise ValueError(f"no UTF-8 at byte {error.start + 1}") from None

    def _professional(self, fields: list[str]) -> Row:
        raw = self._person(fields)
        if raw == self._last[0]:
            return self._last[1]
        national_id, number_type, number, civility, last_name, first_name, code, label, category = raw
        if not national_id and number_type and number:
            national_id = number_type + number
        if _NATIONAL_ID.fullmatch(national_id) is None:
            raise ValueError("the national identification of the person is missing or is no number")
        if national_id[0] == "8" and not (len(national_id) == 12 and national_id.isdigit()):
            raise ValueError("a national identification that begins with 8 has 11 more digits (RPPS)")
        if not last_name:
            raise ValueError("the name of the person is missing")
        self._short(fields, raw)
        row = (national_id, code, number or national_id[1:], civility, last_name, first_name, label, category)
        self._last = raw, row
        return row

    def _short(self, fields: list[str], used: Iterable[str]) -> None:
        # Joining is the quickest look: together they are seldom that long.
        if len("".join(used)) > FIELD_CHARACTERS and max(map(len, used)) > FIELD_CHARACTERS:
            place = next(place for place, field in enumerate(fields) if len(field) > FIELD_CHARACTERS)
            name = next((name for name, at in self._layout.places.items() if at == place), "")
            raise ValueError(f'field {place + 1} ("{name}") is longer than {FIELD_CHARACTERS} characters')

    def _specialty(self, fields: list[str], person: Row) -> Row | None:
        code, kind, label = raw = self._know_how(fields)
        if not code:
            return None
        self._short(fields, raw)
        return (person[0], person[1], code, kind, label)

    def _structure(self, fields: list[str], *numbers: str) -> Place:
        """`numbers` are the structure's key, FINESS and SIRET."""
        raw = (*numbers, *self._place(fields))
        found = self._places.get(raw)
        if found is None:
            self._short(fields, raw)
            if len(self._places) >= _PLACES_KEPT:
                self._places.clear()
            found = self._places[raw] = _place(raw)
        return found

    def _activity(self, fields: list[str]) -> Line:
        person = self._professional(fields)
        organisation_id, finess, siret, mode_code, role_code, mode, role = how = self._how(fields)
        self._short(fields, how)
        number = organisation_id or finess or siret
        place = self._structure(fields, number, finess, siret) if number else None
        activity = (person[0], person[1], number, mode_code, role_code, mode, role)
        return Line(person[0], person, self._specialty(fields, person), place, activity)

    def _know_how_line(self, fields: list[str]) -> Line:
        person = self._professional(fields)
        found = self._specialty(fields, person)
        if found is None:
            raise ValueError("the code of the specialty is missing")
        return Line(person[0], know_how=found)

    def _mailbox(self, fields: list[str]) -> Line:
        raw = self._box(fields)
        address, kind, national_id, number_type, number, service, paperless, unlisted, operation = raw
        self._short(fields, raw)
        if operation == DELETED:
            raise ValueError("the line tells of a mailbox that left")
        address, kind = address.lower(), kind.upper()
        if len(address) > ADDRESS_CHARACTERS or _ADDRESS.fullmatch(address) is None:
            raise ValueError("the address is no e-mail address")
        if kind not in MailboxKind.__members__:
            raise ValueError("the type of mailbox is none of PER, ORG, APP, CAB")
        person = self._professional(fields) if national_id or kind == MailboxKind.PER else None
        number = structure_number(number_type, number)
        if person is None and not number:
            raise ValueError("neither a person nor a structure holds this mailbox")
        finess = number if number_type in {"1", "FINESS"} else ""
        siret = number if number_type in {"3", "SIRET"} else ""
        place = None
        if number:
            place = self._structure(fields, number, finess, siret)
        else:
            # A line may tell where a person practises without the structure's number: that place is the mailbox's own.
            raw_place = self._place(fields)
            if raw_place[_POSTCODE] or raw_place[_ROUTING_LINE]:
                place = self._structure(fields, f"{OWN_PLACE}{address}", "", "")
        whose = (person[0], person[1]) if person else ("", "")
        organisation_id = place.row[0] if place else ""
        marks = ("t" if mark.upper() in {"O", "OUI", "TRUE", "1"} else "f" for mark in (paperless, unlisted))
        mailbox = (address, kind, *whose, organisation_id, service, *marks, finess, siret)
        specialty = self._specialty(fields, person) if person else None
        return Line(whose[0] or address, person, specialty, place, mailbox=mailbox)

    def _finess(self, fields: list[str]) -> Line:
        if fields[0] != FINESS_SECTION:
            return Line("")
        _, finess, siret, *_ = self._how(fields)
        if _FINESS.fullmatch(finess) is None:
            raise ValueError("the FINESS number is missing or is no number")
        return Line("", place=self._structure(fields, finess, finess, siret))


def structure_number(kind: str, number: str) -> str:
    """A structure's number without the digit of its type in front (1 FINESS, 2 SIREN, 3 SIRET), where it has one."""
    length = _STRUCTURE_LENGTHS.get(kind)
    return number[1:] if length and len(number) == length + 1 and number[0] == kind else number


def _place(raw: Row) -> Place:
    organisation_id, finess, siret, legal_finess, siren, name, sign, *street = raw[:11]
    postcode, town, delivery, commune_code, department, country, sector_code, sector, phone, routing = raw[11:]
    if not town:
        town = _town(delivery or routing)
    if not postcode and routing[:5].isdecimal():
        postcode = routing[:5]
    row = (
        *(organisation_id, finess, legal_finess, siret, siren, name or sign, sign),
        *(" ".join(part for part in street if part), postcode, town),
        *(commune_code, department, country, sector_code, sector, phone),
    )
    return Place(row, place_key(organisation_id), zlib.crc32("\t".join(row).encode()))


def _town(routing: str) -> str:
    """The town of a routing line: "69003 LYON CEDEX 03" → LYON."""
    match = _ROUTING.fullmatch(routing)
    return match[1] if match else ""
