"""Writes our mailboxes for the national directory: the columns of its public extract, and behind them what only the
operator says.

How the national directory takes its operators' files is not published; what it gives out is. So a line is one of the
extract `Extraction_Correspondance_MSSante`, followed by the operation, the unlisted flag, rank, description and
responsible contact: whoever deposits it elsewhere in another form has all of it. An address and its type never change:
what changed is another mailbox, and here a deletion and a creation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from directory.national.columns import DELETED, SEPARATOR
from directory.own import queries
from directory.queries import Connection

NATIONAL_COLUMNS = (
    "Type de BAL|Adresse BAL|Type Identifiant PP|Identifiant PP|Identification nationale PP|"
    "Type identifiant structure|Identification Structure|Service de rattachement|Civilité d'exercice|"
    "Nom d'exercice|Prénom d'exercice|Catégorie profession|Libellé de catégorie profession|Code Profession|"
    "Libellé Profession|Code savoir-faire|Libellé savoir-faire|Dématérialisation|Raison Sociale structure BAL|"
    "Enseigne commerciale structure BAL|L2COMPLEMENTLOCALISATION|L3COMPLEMENTDISTRIBUTION|L4NUMEROVOIE|"
    "L4COMPLEMENTNUMEROVOIE|NL4TYPEVOIE|L4LIBELLEVOIE|L5LIEUDITMENTION|L6LIGNEACHEMINEMENT|Code postal|"
    "Département|Pays"
)
OUR_COLUMNS = "Opération|Liste rouge|Rang|Description|Responsable"
CREATED, CHANGED = "CREATION", "MODIFICATION"


async def export(connection: Connection, since: datetime | None = None) -> tuple[list[str], dict[str, int]]:
    """The lines of the file, its header first, and how many of each operation; all that is published, or what differs
    since a moment, those that left too."""
    lines, counts = [f"{NATIONAL_COLUMNS}|{OUR_COLUMNS}"], {CREATED: 0, CHANGED: 0, DELETED: 0}
    for row in await connection.fetch(queries.TOLD, since):
        created = since is None or row["published_at"] >= since
        if row["withdrawn_at"] is not None and created:
            continue  # came and left meanwhile: nobody there has heard of it
        operation = DELETED if row["withdrawn_at"] is not None else CREATED if created else CHANGED
        counts[operation] += 1
        lines.append(SEPARATOR.join(_field(value) for value in (*_national(row), operation, *_ours(row))))
    return lines, counts


def _national(row: Mapping[str, Any]) -> Sequence[str]:
    """The fields of the extract; a person and structure as the national files call them, where they do."""
    person = bool(row["national_id"])
    structure, number = ("FINESS", row["finess"]) if row["finess"] else ("SIRET" if row["siret"] else "", row["siret"])
    town = " ".join(part for part in (row["postcode"], row["town"]) if part)
    return (
        *(row["kind"], row["address"]),
        *(row["national_id"][:1], row["national_id"][1:], row["national_id"]),
        *(structure, number, row["service"]),
        *(row["civility"], row["last_name"], row["first_name"]),
        *("C" if person else "", "Civil" if person else "", row["profession_code"], row["profession"], "", "", "N"),
        *(row["organisation"], row["sign"] or "", "", "", "", "", "", row["street"] or "", "", town),
        *(row["postcode"] or "", row["department"] or "", row["country"] or ""),
    )


def _ours(row: Mapping[str, Any]) -> Sequence[str]:
    rank = str(row["rank"] or "")
    return ("O" if row["unlisted"] else "N", rank, row["description"], row["responsible"])


def _field(text: str) -> str:
    return text.replace(SEPARATOR, " ")
