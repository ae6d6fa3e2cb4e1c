"""Who can sign in: `provider/people.json` of the data directory, written by the command line, read at each question.

`caducee init` writes people who do not exist (RPPS numbers from 99, which are given to nobody); who gets a mailbox with
an RPPS number here is added, so that the holder of a mailbox can sign in. Nothing in it is secret, and nothing proves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from server.base.settings import Settings
from server.provider.clients import write_private
from server.provider.model import Person

RPPS: Final = "8"  # the type digit of an RPPS number

FIRST: Final = (
    Person("899000000010", "ESSAI", "Camille", "MME", "10", "C", "SM54", "L", "SA07", "CABINET DU DR ESSAI", "R99001"),
    Person("899000000028", "MODELE", "Dominique", "M", "21", "C", "", "L", "SA33", "PHARMACIE MODELE", "R99002"),
    Person("899000000036", "EXEMPLE", "Claude", "M", "60", "C", "", "S", "SA01", "HOPITAL EXEMPLE", "R99003"),
    Person("899000000044", "APPRENTI", "Sacha", "MME"),  # without SubjectRefPro
)


def file_of(settings: Settings) -> Path:
    return settings.home / "provider" / "people.json"


def read_people(file: Path) -> dict[str, Person]:
    """Everybody, by national id. Raises OSError or ValueError."""
    try:
        people = [Person(**one) for one in json.loads(file.read_text(encoding="utf-8"))]
    except TypeError:
        raise ValueError(f"{file}: a person has a field that is none, or lacks one") from None
    return {person.national_id: person for person in people}


def write_people(file: Path, people: Iterable[Person]) -> None:
    """Replace the file in one step."""
    write_private(file, json.dumps([asdict(person) for person in people], ensure_ascii=False, indent=1) + "\n")


def enrol(settings: Settings, named: Mapping[str, str]) -> None:
    """Let the holders of mailboxes sign in: names as shown, by RPPS number. Nothing where no provider is set up."""
    file = file_of(settings)
    if not settings.provider.workers or not file.exists():
        return
    known = read_people(file)
    new = {RPPS + rpps: _person(RPPS + rpps, name) for rpps, name in named.items() if rpps}
    if new:
        write_people(file, (new | known).values())


def _person(national_id: str, shown: str) -> Person:
    """A general practitioner of that name: the family name is what stands in capitals."""
    words = [word for word in shown.split() if word.strip(".").lower() not in ("dr", "pr", "docteur", "professeur")]
    family = [word for word in words if word.isupper()] or words[-1:]
    given = [word for word in words if word not in family]
    return Person(national_id, " ".join(family), " ".join(given), profession="10", speciality="SM54")
