"""The fictitious nation of benchmarks is one: forms as published, check digits that hold, the same bytes again."""

from __future__ import annotations

from pathlib import Path

import pytest

from directory.extract import ExtractError, read
from directory.identifiers import is_finess, is_rpps, is_siret
from directory.model import Activity, KnowHow, MailboxEntry, Record
from tests.bench.nation import write


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("nation"), share=0.001)


def records(path: Path) -> list[Record]:
    problems: list[ExtractError] = []
    found = list(read(path, problems.append))
    assert not problems
    return found


def test_numbers_hold_and_nobody_is_twice(files: list[Path]) -> None:
    activities = records(files[0])
    assert 2_200 <= len(activities) < 2_300
    people: dict[str, str] = {}
    for record in activities:
        assert isinstance(record, Activity)
        person, place = record.professional, record.organisation
        assert is_rpps(person.identifier)
        assert people.setdefault(person.national_id, person.last_name) == person.last_name
        assert place
        assert is_siret(place.siret)
        assert is_finess(place.finess) or (not place.finess and place.sector_code == "SA07")
    assert all(isinstance(record, KnowHow) and record.national_id in people for record in records(files[1]))
    boxes = records(files[3])
    assert all(
        isinstance(record, MailboxEntry)
        and record.organisation
        and (record.professional is None or record.professional.national_id in people)
        for record in boxes
    )


def test_the_same_again_and_a_little_other_the_next_day(files: list[Path], tmp_path: Path) -> None:
    again = write(tmp_path / "again", share=0.001)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]
    before = set(files[0].read_text().splitlines())
    days = [set(write(tmp_path / str(day), share=0.001, day=day)[0].read_text().splitlines()) for day in range(1, 6)]
    changed = [len(before ^ day) for day in days]
    assert 0 < sum(changed) < 200
