"""The national files as published, drifted, and damaged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from directory.columns import layout, normalised
from directory.extract import LINE_BYTES, ExtractError, read, records
from directory.model import Activity, KnowHow, MailboxEntry, MailboxKind, Record
from tests.directory_sample import ACTIVITY_HEADER, write


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("national"), people=10)


def parse(data: bytes | str) -> tuple[list[Record], list[str]]:
    """The records, and the reports as text."""
    reported: list[ExtractError] = []
    data = data.encode() if isinstance(data, str) else data
    found = list(records(io.BytesIO(data), "f.txt", reported.append))
    return found, [str(error) for error in reported]


def test_an_activity_line_is_read_whole(files: list[Path]) -> None:
    first = parse(files[0].read_bytes())[0][0]
    assert isinstance(first, Activity)
    assert first.professional.national_id == "889990000013"
    assert (first.professional.last_name, first.professional.first_name) == ("MARTIN", "Claire")
    assert first.know_how is not None
    assert (first.know_how.code, first.know_how.label) == ("SM54", "Médecine générale")
    assert first.organisation is not None
    assert first.organisation.town == "Lyon 3e Arrondissement"
    assert first.organisation.street.endswith(("l'Exemple", "Essais", "Modèle", "Fiction", "Épreuves"))
    assert first.mode == "Libéral"


def test_a_mailbox_line_is_read_whole(files: list[Path]) -> None:
    found = parse(files[2].read_bytes())[0]
    person, service = found[0], found[1]
    assert isinstance(person, MailboxEntry)
    assert isinstance(service, MailboxEntry)
    assert (person.address, person.kind, person.paperless) == ("claire.martin@msg.exemple.fr", MailboxKind.PER, True)
    assert service.professional is None
    assert service.organisation is not None
    assert service.organisation.town == "LYON"
    assert len(service.organisation.finess) == 9  # without the digit of its type


def test_a_know_how_line_is_read_whole(files: list[Path]) -> None:
    first = parse(files[1].read_bytes())[0][0]
    assert first == KnowHow("889990000013", "10", "S", "SM54", "Médecine générale")


def test_spellings_order_and_additions_do_not_matter(files: list[Path]) -> None:
    plain = files[0].read_text()
    expected = parse(plain)[0]
    head, *lines = plain.splitlines()
    respelled = head.replace("Code rôle", "Code fonction").replace("Libellé rôle", "LIBELLE FONCTION")
    respelled = respelled.replace("(coord. structure)", "(structure)").replace("Nom d'exercice", "nom d’exercice")
    assert parse("\n".join([respelled, *lines]))[0] == expected
    assert parse("\n".join([f"Nouveau|{head}", *(f"x|{line}" for line in lines)]))[0] == expected
    backwards = ["|".join(reversed(line.removesuffix("|").split("|"))) for line in (head, *lines)]
    assert parse("\n".join(backwards))[0] == expected  # neither in order nor with a "|" at the end
    assert parse(("\ufeff" + plain.replace("\n", "\r\n")).encode())[0] == expected
    assert parse("\n".join([head.removesuffix("|"), *lines]))[0] == expected


def test_specialties_may_stand_in_the_other_file_alone(files: list[Path]) -> None:
    dropped = {place for place, name in enumerate(ACTIVITY_HEADER.split("|")) if "savoir-faire" in name}
    lines = files[0].read_text().splitlines()
    fewer = ["|".join(f for place, f in enumerate(line.split("|")) if place not in dropped) for line in lines]
    found, reported = parse("\n".join(fewer))
    assert len(found) == len(lines) - 1
    assert reported == []
    assert {record.know_how for record in found if isinstance(record, Activity)} == {None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line.replace(b"|889990000013|", b"|8899900|"), "begins with 8 has 11 more digits"),
        (
            lambda line: line.replace(b"|889990000013|", b"||").replace(b"|89990000013|", b"||"),
            "is missing or is no number",
        ),
        (lambda line: line.replace(b"|MARTIN|", b"||"), "the name of the person is missing"),
        (lambda line: line.replace(b"|MARTIN|", b"|MAR|TIN|"), "58 fields, the header has 56"),
        (lambda line: line.replace(b"MARTIN", b"MART\xe9"), "no UTF-8 at byte"),
        (lambda line: line.replace(b"MARTIN", b"MAR\0TIN"), "control character"),
        (lambda line: line.replace(b"MARTIN", b"M" * 400), 'field 8 ("last_name") is longer than 300'),
        (lambda line: line.replace(b"MARTIN", b"M" * LINE_BYTES * 3), f"longer than {LINE_BYTES} bytes"),
    ],
)
def test_a_damaged_line_is_said_and_left_out(files: list[Path], change: object, reason: str) -> None:
    lines = files[0].read_bytes().splitlines(keepends=True)
    assert callable(change)
    found, reported = parse(b"".join([*lines[:1], change(lines[1]), *lines[2:]]))
    assert len(found) == len(lines) - 2
    assert len(reported) == 1
    assert reported[0].startswith("f.txt, line 2: ")
    assert reason in reported[0]
    assert "MARTIN" not in reported[0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("PER|claire.martin@", "PAT|claire.martin@", "none of PER, ORG, APP, CAB"),
        ("claire.martin@msg", "claire martin@msg", "is no e-mail address"),
        ("claire.martin@msg", f"{'c' * 300}@msg", "longer than 300"),
        ("claire.martin@msg", f"{'c' * 65}@msg", "is no e-mail address"),
        ("ORG|pharmacie.centre@msg.exemple.fr||||1|", "ORG|pharmacie.centre@msg.exemple.fr||||||", "36 fields"),
    ],
)
def test_a_damaged_mailbox_is_said_and_left_out(files: list[Path], old: str, new: str, reason: str) -> None:
    text = files[2].read_text()
    assert old in text
    found, reported = parse(text.replace(old, new, 1))
    assert len(found) == text.count("\n") - 2
    assert len(reported) == 1
    assert reason.replace("36 fields", "32 fields") in reported[0]


def test_a_header_lacks_a_column_or_has_it_twice() -> None:
    with pytest.raises(
        ExtractError, match=r'f.txt, line 1: the column "code profession" is missing from a file Personne'
    ):
        parse(ACTIVITY_HEADER.replace("Code profession", "Autre") + "\n")
    with pytest.raises(ExtractError, match='the column "code postal" stands there twice'):
        parse(ACTIVITY_HEADER + "|Code postal (bis)\n")
    with pytest.raises(ExtractError, match="line 1: no UTF-8 at byte 1"):
        parse(b"\xff\xfe")


def test_other_files_are_not_ours(tmp_path: Path) -> None:
    assert layout("Type d'identifiant PP|Identifiant PP|Code diplôme obtenu|") is None
    other = tmp_path / "other.txt"
    other.write_text("a|b\n1|2\n")
    with pytest.raises(ExtractError, match=r"other\.txt, line 1: this is no header"):
        list(read(other, lambda error: None))


def test_an_archive_with_nothing_or_too_much(tmp_path: Path) -> None:
    for count, reason in ((0, "holds no file"), (1, "holds no file"), (21, "more than 20 files")):
        archive = tmp_path / f"{count}.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("LISEZMOI.md", "x")
            for number in range(count):
                packed.writestr(f"{number}.txt", "a|b\n")
        with pytest.raises(ExtractError, match=reason):
            list(read(archive, lambda error: None))


def test_names_of_columns_are_normalised() -> None:
    assert normalised("  Numéro  Voie (coord. structure) ") == "numero voie"
    assert normalised("L4LIBELLEVOIE") == "l4libellevoie"
    assert normalised("Identifiant PP") != normalised("Identification nationale PP")
