"""A public extract of mailboxes with the two of the story, in the national file's exact form (fictitious people)."""

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
    file = folder / "Extraction_Correspondance_MSSante_202611240200.txt"
    file.write_text("\n".join([NATIONAL_COLUMNS, "|".join(person), "|".join(team)]) + "\n", encoding="utf-8")
    return file
