"""National files from anybody's hands.

Invariant: any bytes are read to the end or refused with `ExtractError`, never with another error; each line is a record
or is reported once with its number, in order; a report holds no field of the line; a record holds no control character,
no text longer than a field may be, and an address that is one.
"""

from __future__ import annotations

import io

from directory.extract import FIELD_CHARACTERS, ExtractError, records
from directory.indexing import WORDS_OF_A_LISTING, index_words, sort_name
from directory.model import MailboxEntry, Record

SECRET = "MARTIN"  # a name in the seeds that must not come back in an error


def texts(record: object) -> list[str]:
    found: list[str] = []
    for name in record.__slots__:  # type: ignore[attr-defined]
        value = getattr(record, name)
        if isinstance(value, str):
            found.append(value)
        elif hasattr(value, "__slots__"):
            found += texts(value)
    return found


def fuzz(data: bytes) -> None:
    reported: list[ExtractError] = []
    read: list[Record] = []
    refused = None
    try:
        read.extend(records(io.BytesIO(data), "file.txt", reported.append))
    except ExtractError as error:
        refused = error
    assert refused is None or (refused.line == 1 and not read and not reported)
    numbers = [error.line for error in reported]
    assert numbers == sorted(set(numbers))
    assert len(read) + len(reported) <= data.count(b"\n") + 1
    assert not any(SECRET in error.reason for error in reported)
    for record in read:
        some = texts(record)
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for text in some for c in text)
        assert max(map(len, some)) <= 4 * FIELD_CHARACTERS  # a street is put together from four fields
        if isinstance(record, MailboxEntry):
            assert record.address.count("@") == 1
            indexed(record)


def indexed(entry: MailboxEntry) -> None:
    """What a mailbox line says can be indexed, whatever it says."""
    person, place = entry.professional, entry.organisation
    row = {
        "national_id": person.national_id if person else "",
        "profession_code": person.profession_code if person else "",
        "last_name": person.last_name if person else None,
        "first_name": person.first_name if person else None,
        "profession": person.profession if person else None,
        "know_how": [entry.know_how.label] if entry.know_how else [],
        "services": [entry.service],
        "name": place.name if place else None,
        "sign": place.sign if place else None,
        "sector": place.sector if place else None,
        "town": place.town if place else None,
        "postcode": place.postcode if place else None,
    }
    found = index_words(row)
    assert len(found) <= WORDS_OF_A_LISTING
    assert all(word.isascii() and word.isalnum() and word == word.lower() for _, word in found)
    assert sort_name(row).isascii()
