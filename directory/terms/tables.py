"""Reads the code tables beside this file.

A file begins with its head ("# what", "# date", "# source", "# note"); then, under "[TRE_…]" for each code system, a
code, a tab and a label a line. Only codes that were seen at the source stand there: a code that is not in a table is
no error, it is one that we cannot name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Table:
    """`head`: what, date, source, note. `systems`: name of a code system → code → label."""

    head: Mapping[str, str]
    systems: Mapping[str, Mapping[str, str]]

    def find(self, code: str) -> tuple[str, str] | None:
        """(code system, label) of a code; None for one that is not in the table."""
        for system, codes in self.systems.items():
            if label := codes.get(code):
                return system, label
        return None


@cache
def table(name: str) -> Table:
    """A table by the name of its file. Raises ValueError: the file is no such table."""
    head: dict[str, str] = {}
    systems: dict[str, dict[str, str]] = {}
    codes: dict[str, str] = {}
    for number, line in enumerate((FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("# "):
            key, _, value = line[2:].partition(": ")
            head[key] = value
        elif line.startswith("["):
            codes = systems.setdefault(line[1:-1], {})
        else:
            code, tab, label = line.partition("\t")
            if not (tab and code and label and systems) or code in codes:
                raise ValueError(f"{name}.txt, line {number}: a code, a tab and a label, each code once")
            codes[code] = label
    return Table(head, systems)


def url(system: str) -> str:
    """The address of a code system as FHIR writes it: TRE_G15-ProfessionSante → https://mos.esante.gouv.fr/…"""
    return f"https://mos.esante.gouv.fr/NOS/{system}/FHIR/{system.replace('_', '-', 1)}"
