"""Where towns and postcodes are, for who looks for somebody near: the middle of each commune of more than 500 people.

The national files hold no positions, so distances are between communes, as the crow flies: about what one needs to
choose a pharmacy, nothing to send an ambulance by. A postcode is where its communes are; one without a known commune is
near nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from directory.folding import words
from directory.synonyms import OPTIONAL, department, district, written_out

KILOMETRES = 10.0  # when nobody says how far
FARTHEST = 200.0
# Regions (numbered as communes.tsv does) → their departments.
_REGIONS = {
    "11": "75 77 78 91 92 93 94 95",
    "24": "18 28 36 37 41 45",
    "27": "21 25 39 58 70 71 89 90",
    "28": "14 27 50 61 76",
    "32": "02 59 60 62 80",
    "44": "08 10 51 52 54 55 57 67 68 88",
    "52": "44 49 53 72 85",
    "53": "22 29 35 56",
    "75": "16 17 19 23 24 33 40 47 64 79 86 87",
    "76": "09 11 12 30 31 32 34 46 48 65 66 81 82",
    "84": "01 03 07 15 26 38 42 43 63 69 73 74",
    "93": "04 05 06 13 83 84",
    "94": "20",
}
_REGION_OF = {number: region for region, numbers in _REGIONS.items() for number in numbers.split()}
_NEAR = {"pres", "proche", "proximite", "autour"}
_FAR = re.compile(r"(\d{1,3})(?:km)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Near:
    """A postcode, or the folded name of a town, and how far from it one looks."""

    place: str
    kilometres: float = KILOMETRES


@cache
def _communes() -> dict[tuple[str, str], tuple[float, float]]:
    found = {}
    region = ""
    for line in (Path(__file__).parent / "communes.tsv").read_text().splitlines():
        if line.startswith("="):
            region = line[1:]
        elif not line.startswith("#"):
            name, latitude, longitude = line.split("\t")
            found[region, name] = (float(latitude), float(longitude))
    return found


def town_name(town: str) -> str:
    """The name of a town without what the post adds: "Lyon 3e Arrondissement" lyon, "ST DENIS CEDEX 2" saint denis."""
    name: list[str] = []
    for word in words(town):
        if word == "cedex" or (name and word[0].isdigit()):
            break
        name.append(written_out(word))
    return " ".join(name)


def town_key(town: str) -> str:
    """The name by which a town is asked for: without particles."""
    return " ".join(word for word in town_name(town).split() if word not in OPTIONAL)


def position(town: str, postcode: str) -> tuple[float, float] | None:
    """Latitude and longitude of a town of the national files, in degrees; None where it is not known."""
    name, number = town_name(town), department(postcode)
    region = _REGION_OF.get(number, number)
    part = district(postcode, town)
    names = [f"{name} {int(part[len(name) :]):02d}"] if part else []
    return next((found for one in (*names, name) if (found := _communes().get((region, one)))), None)


def near_asked(parts: Sequence[str]) -> tuple[list[str], Near | None]:
    """The words of a question without "près de 69003 20 km" at their end, and that."""
    start = next((at for at, word in enumerate(parts) if word in _NEAR), None)
    if start is None:
        return list(parts), None
    place = [written_out(word) for word in parts[start + 1 :] if word not in OPTIONAL and word not in _NEAR]
    kilometres = KILOMETRES
    if place and place[-1] == "km":
        place.pop()
        if place and (far := _FAR.fullmatch(place[-1])):
            kilometres = float(far[1])
            place.pop()
    elif place and place[-1].endswith("km") and (far := _FAR.fullmatch(place[-1])):
        kilometres = float(far[1])
        place.pop()
    if not place:
        return list(parts), None
    return list(parts[:start]), Near(" ".join(place), min(max(kilometres, 1.0), FARTHEST))
