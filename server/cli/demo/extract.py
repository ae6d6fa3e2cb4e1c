"""A public extract of mailboxes in the national file's exact form: the two of the story, of which their operator says
more, and a pharmacist's at another operator (fictitious people)."""

from __future__ import annotations

from pathlib import Path

from directory.own.export import NATIONAL_COLUMNS


def write_extract(folder: Path, doctor: str, rpps: str, pharmacy: str, finess: str) -> Path:
    """Write `Extraction_Correspondance_MSSante_….txt` into `folder`; its path."""
    place = ["", "", "12", "", "RUE", "DE L EXEMPLE", "", "69003 LYON", "69003", "Rhône (69)", "France"]
    person = ["PER", doctor, "8", rpps, f"8{rpps}", "", "", "", "Docteur", "MARTIN", "Aline", "C", "Civil", "10"]
    person += ["Médecin", "SM26", "Qualifié en médecine générale", "O", "CABINET DU DR MARTIN", "", *place]
    team = ["ORG", pharmacy, "", "", "", "FINESS", finess, "Officine", "", "", "", "", "", "", "", "", "", "O"]
    team += ["PHARMACIE DU CENTRE", "PHARMACIE DU CENTRE", *place]
    other = ["PER", "paul.exemple@operateur.exemple", "8", "10000000025", "810000000025", "FINESS", finess, "Officine"]
    other += ["Docteur", "EXEMPLE", "Paul", "C", "Civil", "21", "Pharmacien", "", "", "O"]
    other += ["PHARMACIE DU CENTRE", "PHARMACIE DU CENTRE", *place]
    lines = [NATIONAL_COLUMNS, *map("|".join, (person, team, other))]
    file = folder / "Extraction_Correspondance_MSSante_202611240200.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
