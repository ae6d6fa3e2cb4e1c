"""The national files as published, drifted, and damaged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from directory.national.columns import layout, normalised
from directory.national.extract import LINE_BYTES, ExtractError, blocks, header_layout, sources
from directory.national.lines import Line, LineReader
from tests.directory_sample import ACTIVITY_HEADER, write


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("national"), people=10)


def parse(data: bytes | str) -> tuple[list[Line], list[str]]:
    """What the lines say, and the reports as text."""
    data = data.encode() if isinstance(data, str) else data
    columns = header_layout(data.split(b"\n", 1)[0] + b"\n", "f.txt")
    assert columns is not None
    reader = LineReader(columns)
    found: list[Line] = []
    reported: list[str] = []
    for number, lines in blocks(io.BytesIO(data), "f.txt"):
        for place, line in enumerate(lines):
            try:
                found.append(reader.read(line))
            except ValueError as error:
                reported.append(str(ExtractError("f.txt", number + place, str(error))))
    return found, reported


def test_an_activity_line_is_read_whole(files: list[Path]) -> None:
    first = parse(files[0].read_bytes())[0][0]
    assert first.subject == "889990000013"
    assert first.person == ("889990000013", "10", "89990000013", "Docteur", "MARTIN", "Claire", "Médecin", "C")
    assert first.know_how == ("889990000013", "10", "SM54", "S", "Médecine générale")
    assert first.place is not None
    organisation_id, finess, _, siret, siren, name, _, street, postcode, town, *_ = first.place.row
    assert (name, postcode, town) == ("CABINET DU DOCTEUR MARTIN", "69003", "Lyon 3e Arrondissement")
    assert (len(finess), len(siret), siret[:9]) == (9, 14, siren)
    assert street.endswith(("l'Exemple", "Essais", "Modèle", "Fiction", "Épreuves"))
    assert first.activity == ("889990000013", "10", organisation_id, "L", "", "Libéral", "")


def test_a_mailbox_line_is_read_whole(files: list[Path]) -> None:
    person, service = parse(files[2].read_bytes())[0][:2]
    assert person.mailbox is not None
    assert person.mailbox[:4] == ("claire.martin@msg.exemple.fr", "PER", "889990000013", "10")
    assert person.mailbox[6] == "t"
    assert (service.subject, service.person) == ("pharmacie.centre@msg.exemple.fr", None)
    assert service.place is not None
    assert service.place.row[9] == "LYON"
    assert len(service.place.row[1]) == 9  # without the digit of its type


def test_a_know_how_line_is_read_whole(files: list[Path]) -> None:
    first = parse(files[1].read_bytes())[0][0]
    assert first == Line("889990000013", know_how=("889990000013", "10", "SM54", "S", "Médecine générale"))


def test_a_finess_line_is_read_whole_in_either_encoding() -> None:
    line = (
        "structureet;010000024;010780054;CH EXEMPLE;CENTRE HOSPITALIER DE L'EXEMPLE ÉTÉ;;;900;RTE;DES ESSAIS;BIS;;451;"
        "01;AIN;01440 VIRIAT CEDEX;0199000001;;355;Centre Hospitalier;1102;Centres Hospitaliers;26010004500012;8610Z;"
        "03;ARS;1;Public;1979-02-13;1979-02-13;2020-02-04;\n"
    )
    text = "finess;etalab;93;2026-11-03\n" + line + "geolocalisation;010000024;870215.7;6571590.5;1,ATLASANTE;2026\n"
    for encoding in ("utf-8", "cp1252"):
        (first, other), reported = parse(text.encode(encoding))
        assert (reported, other) == ([], Line(""))
        assert first.place is not None
        assert first.place.row == (
            *("010000024", "010000024", "010780054", "26010004500012", "", "CENTRE HOSPITALIER DE L'EXEMPLE ÉTÉ"),
            *("CH EXEMPLE", "900 BIS RTE DES ESSAIS", "01440", "VIRIAT", "", "AIN", "", "", "Centre Hospitalier"),
            "0199000001",
        )
    assert "at least 31" in parse("finess;etalab;93\nstructureet;010000024;\n")[1][0]


def test_spellings_order_and_additions_do_not_matter(files: list[Path]) -> None:
    plain = files[0].read_text()
    expected = parse(plain)[0]
    head, *lines = plain.splitlines()
    respelled = head.replace("Code rôle", "Code fonction").replace("Libellé rôle", "LIBELLE FONCTION")
    respelled = respelled.replace("(coord. structure)", "(structure)").replace("Nom d'exercice", "nom d’exercice")
    assert parse("\n".join([respelled, *lines, ""]))[0] == expected
    assert parse("\n".join([f"Nouveau|{head}", *(f"x|{line}" for line in lines), ""]))[0] == expected
    backwards = ["|".join(reversed(line.removesuffix("|").split("|"))) for line in (head, *lines)]
    assert parse("\n".join([*backwards, ""]))[0] == expected  # neither in order nor with a "|" at the end
    assert parse(("\ufeff" + plain.replace("\n", "\r\n")).encode())[0] == expected
    assert parse("\n".join([head.removesuffix("|"), *lines, ""]))[0] == expected


def test_specialties_may_stand_in_the_other_file_alone(files: list[Path]) -> None:
    dropped = {place for place, name in enumerate(ACTIVITY_HEADER.split("|")) if "savoir-faire" in name}
    lines = files[0].read_text().splitlines()
    fewer = ["|".join(f for place, f in enumerate(line.split("|")) if place not in dropped) for line in lines]
    found, reported = parse("\n".join([*fewer, ""]))
    assert len(found) == len(lines) - 1
    assert reported == []
    assert {line.know_how for line in found} == {None}


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


def test_a_file_that_was_cut_or_is_there_twice_is_refused(files: list[Path]) -> None:
    with pytest.raises(ExtractError, match=r"f.txt, line 2: the last line has no end: the file was cut"):
        parse(files[0].read_bytes()[: len(ACTIVITY_HEADER.encode()) + 40])
    with pytest.raises(ExtractError, match="the file SavoirFaire is given twice"):
        sources([files[1], files[1]])


def test_other_files_are_not_ours(tmp_path: Path) -> None:
    assert layout("Type d'identifiant PP|Identifiant PP|Code diplôme obtenu|") is None
    other = tmp_path / "other.txt"
    other.write_text("a|b\n1|2\n")
    with pytest.raises(ExtractError, match=r"other\.txt, line 1: this is no header"):
        sources([other])


def test_an_archive_with_nothing_or_too_much(tmp_path: Path) -> None:
    for count, reason in ((0, "holds no file"), (1, "holds no file"), (21, "more than 20 files")):
        archive = tmp_path / f"{count}.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("LISEZMOI.md", "x")
            for number in range(count):
                packed.writestr(f"{number}.txt", "a|b\n")
        with pytest.raises(ExtractError, match=reason):
            sources([archive])


def test_names_of_columns_are_normalised() -> None:
    assert normalised("  Numéro  Voie (coord. structure) ") == "numero voie"
    assert normalised("L4LIBELLEVOIE") == "l4libellevoie"
    assert normalised("Identifiant PP") != normalised("Identification nationale PP")
