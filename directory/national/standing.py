"""What an operator asks of the directory: how old it is, and all that it says of one key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from directory.identifiers import is_finess, is_rpps, is_siret
from directory.national import queries
from directory.queries import Connection

OLD = timedelta(days=3)  # the files are published every day; an outage of some days has been seen


@dataclass(frozen=True, slots=True)
class Standing:
    """The last load; sizes are bytes of all tables, and of the index of search among them."""

    loaded_at: datetime
    files: tuple[str, ...]
    counts: dict[str, int]
    size: int
    index_size: int

    def is_old(self, now: datetime) -> bool:
        return now - self.loaded_at > OLD


async def standing(connection: Connection) -> Standing | None:
    """None: no file was ever loaded."""
    row = await connection.fetchrow(queries.LAST_LOAD)
    if row is None:
        return None
    return Standing(row["loaded_at"], tuple(row["files"]), json.loads(row["counts"]), row["size"], row["index_size"])


async def show(connection: Connection, key: str) -> dict[str, list[dict[str, Any]]]:
    """Every row about a person (RPPS, national id), a structure (FINESS, SIRET, technical id) or an address, by table.

    `holds` says of a number whether its check digit does. Empty lists: nobody has this key.
    """
    key = key.strip()
    key = key.lower() if "@" in key else key.replace(" ", "")
    national_id = f"8{key}" if len(key) == 11 and key.isdecimal() else key
    found = {
        name: [json.loads(row[0]) for row in await connection.fetch(statement, key, national_id)]
        for name, statement in queries.SHOW.items()
    }
    for person in found["professional"]:
        if person["national_id"].startswith("8"):
            person["holds"] = is_rpps(person["identifier"])
    for place in found["organisation"]:
        place["holds"] = (not place["finess"] or is_finess(place["finess"])) and (
            not place["siret"] or is_siret(place["siret"])
        )
    return found
