"""What pages show of the directory: a person or structure, where, and the addresses that one may write to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from directory.search import Found


@dataclass(frozen=True, slots=True)
class Box:
    """An address. `of_place`: that of the structure where a person practises, which others read too."""

    address: str
    of_place: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One person at one place, or a structure (`place` then holds no name)."""

    name: str
    profession: str
    place: str
    boxes: tuple[Box, ...]

    @classmethod
    def of(cls, found: Found) -> Entry:
        town = " ".join(part for part in (found.postcode, found.town) if part)
        place = (found.organisation if found.national_id else "", found.street, town)
        own = [address for _, address in found.mailboxes]
        boxes = [Box(address, False) for address in own]
        boxes += [Box(address, True) for _, address in found.place_mailboxes if address not in own]
        profession = ", ".join(dict.fromkeys(part for part in (found.profession, *found.know_how) if part))
        return cls(found.name, profession or found.sector, ", ".join(part for part in place if part), tuple(boxes))


def proposals(found: Sequence[Found], limit: int) -> list[dict[str, str | bool]]:
    """For completion: each address once, in the order found; that of a place for a person who has none."""
    rows: dict[str, dict[str, str | bool]] = {}
    for entry in map(Entry.of, found):
        own = [box for box in entry.boxes if not box.of_place]
        for box in own or entry.boxes:
            row = {"address": box.address, "name": entry.name, "profession": entry.profession, "place": entry.place}
            rows.setdefault(box.address, row | {"shared": box.of_place})
    return list(rows.values())[:limit]
