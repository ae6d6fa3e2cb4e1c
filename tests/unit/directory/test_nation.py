"""The fictitious nation of benchmarks is one: forms as published, check digits that hold, the same bytes again."""

from __future__ import annotations

from pathlib import Path

import pytest

from directory.identifiers import is_finess, is_rpps, is_siret
from directory.national.extract import sources
from directory.national.lines import Line, LineReader
from tests.bench.nation import write


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("nation"), share=0.001)


def lines(path: Path) -> list[Line]:
    (source,) = sources([path])
    reader = LineReader(source.layout)
    return [reader.read(line) for _, some in source.blocks() for line in some]


def test_numbers_hold_and_nobody_is_twice(files: list[Path]) -> None:
    activities = lines(files[0])
    assert 2_200 <= len(activities) < 2_300
    people: dict[str, str] = {}
    for line in activities:
        assert line.person is not None
        assert line.place is not None
        assert is_rpps(line.person[2])
        assert people.setdefault(line.subject, line.person[4]) == line.person[4]
        _, finess, _, siret, *_, sector_code, _, _ = line.place.row
        assert is_siret(siret)
        assert is_finess(finess) or (not finess and sector_code == "SA07")
    assert all(line.subject in people for line in lines(files[1]))
    assert all(line.mailbox and line.place for line in lines(files[3]))
    assert {line.subject for line in lines(files[3]) if line.person} <= people.keys()


def test_the_same_again_and_a_little_other_the_next_day(files: list[Path], tmp_path: Path) -> None:
    again = write(tmp_path / "again", share=0.001)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]
    before = set(files[0].read_text().splitlines())
    days = [set(write(tmp_path / str(day), share=0.001, day=day)[0].read_text().splitlines()) for day in range(1, 6)]
    changed = [len(before ^ day) for day in days]
    assert 0 < sum(changed) < 200
