"""Writes a fictitious national directory exactly as the public extracts are published, at any size up to the nation's:
the three files of PS_LibreAcces and Extraction_Correspondance_MSSante.

    python -m tests.bench.nation FOLDER [--share 0.01] [--seed 1] [--day 0]

A share of 1 is 2.2 million lines of activity, 1.4 million professionals, half a million structures and 540,000
mailboxes, of which 85 % are PER. The same arguments give the same bytes. A day past 0 gives the files of day 0 as they
would be published after about 3,000 lines have come, gone or changed (at share 1).

Nobody real can be meant: RPPS numbers begin with 899, FINESS and SIREN with numbers from the top of their ranges (check
digits hold), telephone numbers are from the ranges kept for fiction, mailboxes under `.example`.
"""

from __future__ import annotations

import argparse
import random
import unicodedata
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from directory.identifiers import luhn_digit
from tests.bench.nation_words import (
    PLURALS,
    SPECIALTIES,
    STREET_KINDS,
    STREETS,
    STRUCTURES,
    TRADES,
    Structure,
    Town,
    Trade,
    first_names,
    last_names,
    towns,
)
from tests.directory_sample import ACTIVITY_HEADER, KNOW_HOW_HEADER, MAILBOX_HEADER

NATION = 2_200_000  # lines of activity
DIPLOMA_HEADER = (
    "Type d'identifiant PP|Identifiant PP|Identification nationale PP|Nom d'exercice|Prénom d'exercice|"
    "Code type diplôme obtenu|Libellé type diplôme obtenu|Code diplôme obtenu|Libellé diplôme obtenu|"
    "Code type autorisation|Libellé type autorisation|Code discipline autorisation|Libellé discipline autorisation"
)
FILES = (
    ("PS_LibreAcces_Personne_activite", ACTIVITY_HEADER + "|"),
    ("PS_LibreAcces_SavoirFaire", KNOW_HOW_HEADER + "|"),
    ("PS_LibreAcces_Dipl_AutExerc", DIPLOMA_HEADER + "|"),
    ("Extraction_Correspondance_MSSante", MAILBOX_HEADER),
)
_MODES = (("L", "Libéral"), ("S", "Salarié"), ("B", "Bénévole"))
_SOLO = Structure("SA07", "Cabinet individuel", ("CABINET {name}",), 0, (1, 1), "", 0.02)
_SOLO_PER_GROUP = 10.0
_NEARBY = 400  # structures met last, among which a person has a second place
_FICTION = ("019900", "026191", "035301", "046571", "053649")  # beginnings of numbers that ARCEP keeps for fiction
_HIGH_RPPS = 2_000_000  # numbers of those who came on another day


@dataclass(slots=True)
class _Place:
    """A structure, as each file spells it."""

    activity: str  # columns 20 to 47
    tail: str  # columns 48 to 50: registration authority, sector
    number: str  # type and number, as the mailbox file has them
    mailbox: str  # the columns of the mailbox file behind "Dématérialisation"
    domain: str


@dataclass(slots=True)
class _Person:
    rpps: str
    last: str
    first: str
    civility: int
    trade: Trade
    specialties: list[tuple[str, str, float]]


@lru_cache(None)
def _luhn_half(digits: str, even: bool) -> int:
    """What five digits add to Luhn's sum, the last of them standing at an even place or not."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if (place % 2 == 0) == even else 1)
        total += value - 9 if value > 9 else value
    return total


def _rpps(number: int) -> str:
    stem = f"899{number:07d}"
    return f"{stem}{-(_luhn_half(stem[5:], True) + _luhn_half(stem[:5], False)) % 10}"


@lru_cache(None)
def _local(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.lower().replace("œ", "oe")).encode("ascii", "ignore").decode()
    return "".join(letter if letter.isalnum() else "-" for letter in plain)


class _Writer:
    """Goes from structure to structure and gives each its people; draws of another day are the same draws."""

    def __init__(self, seed: int, day: int, lines: int, files: Sequence[IO[str]]) -> None:
        self.chance = random.Random(seed)
        self.day = day
        self.lines = lines
        self.files = files
        self.written = 0
        self.people = 0
        self.structures = 0
        self.finess: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        self.nearby: deque[_Place] = deque(maxlen=_NEARBY)
        self.out: list[list[str]] = [[] for _ in files]
        self.last, self.last_weights = last_names()
        self.first, self.first_weights = first_names()
        self.towns, self.town_weights = towns()
        self.solo_weights = [trade.share * trade.alone for trade in TRADES]
        self.staff = {kind: self._staff(kind) for kind in STRUCTURES}

    @staticmethod
    def _staff(kind: Structure) -> tuple[list[Trade], list[float]]:
        trades = [trade for trade in TRADES if not kind.trades or trade.code in kind.trades.split()]
        return trades, [trade.share * (1 - trade.alone * 0.5) for trade in trades]

    def write(self) -> None:
        """Structures and their people, until the lines are written."""
        draw = self.chance.random
        group_weights = [kind.share for kind in STRUCTURES]
        while self.written < self.lines:
            (town,) = self.chance.choices(self.towns, cum_weights=self.town_weights)
            if draw() < _SOLO_PER_GROUP / (1 + _SOLO_PER_GROUP):
                trades = self.chance.choices(TRADES, self.solo_weights)
                self._fill(_SOLO, town, trades)
            else:
                (kind,) = self.chance.choices(STRUCTURES, group_weights)
                low, high = kind.people
                size = low + int((high - low) * draw() ** 3)
                trades, weights = self.staff[kind]
                # A small nation has no hospital that holds all of it.
                self._fill(kind, town, self.chance.choices(trades, weights, k=min(size, max(5, self.lines // 50))))
            for file, some in zip(self.files, self.out, strict=True):
                file.write("".join(some))
                some.clear()

    def _fill(self, kind: Structure, town: Town, trades: list[Trade]) -> None:
        chance = self.chance
        lasts = chance.choices(self.last, cum_weights=self.last_weights, k=len(trades))
        firsts = chance.choices(self.first, cum_weights=self.first_weights, k=len(trades))
        place = self._place(kind, town, f"DU DOCTEUR {lasts[0]}" if trades[0].code == "10" else lasts[0])
        self.nearby.append(place)
        for last, first, trade in zip(lasts, firsts, trades, strict=True):
            specialties: list[tuple[str, str, float]] = []
            if trade.code == "10":
                number = 1 if chance.random() < 0.9 else 2
                specialties = chance.choices(SPECIALTIES, [share for *_, share in SPECIALTIES], k=number)
                specialties = list(dict.fromkeys(specialties))
            civility = int(chance.random() < 0.35)
            self.people += 1
            self._person(_Person(_rpps(self.people), last, first, civility, trade, specialties), place, kind)
        if chance.random() < kind.mailbox:
            boxes = max(1, min(60, len(trades) // 12)) if len(kind.services) > 2 else len(kind.services)
            for number in range(boxes):
                service = kind.services[number % len(kind.services)]
                if number >= len(kind.services):
                    service = f"{service} {number // len(kind.services) + 1}"
                self._mailbox("ORG", f"{_local(service)}.{place.domain}", place, "||||", "|||||||", service)

    def _place(self, kind: Structure, town: Town, owner: str) -> _Place:
        chance = self.chance
        self.structures += 1
        number = self.structures
        name = chance.choice(kind.names).format(
            name=owner, plural=chance.choice(PLURALS), town=town.name.split(" ")[0].upper()
        )
        stem = f"99{number:06d}"
        siren = stem + luhn_digit(stem)
        siret = f"{siren}0001{luhn_digit(f'{siren}0001')}"
        finess = legal = ""
        if kind is not _SOLO:
            finess, legal = self._finess(town.area), self._finess(town.area)
        street_number = str(chance.randrange(1, 180))
        street_code, street_kind = chance.choice(STREET_KINDS)
        street = chance.choice(STREETS)
        phone = f"{_FICTION[number % 5]}{number // 5 % 10_000:04d}"
        if self.day and self._dice(siret, 100_000) < 5:
            phone, name = f"{_FICTION[(number + 1) % 5]}{phone[6:]}", f"{name} NOUVEAU"
        routing = f"{town.postcode} {town.name.split(' ')[0].upper()}"
        area = f"{town.area}|{town.department}"
        activity = (
            f"{siret}|{siren}|{finess}|{legal}|R10{number:09d}|{name}||||{street_number}||{street_code}|{street_kind}|"
            f"{street}||{routing}|{town.postcode}|{town.code}|{town.name}|99000|France|{phone}||||{area}|"
        )
        mailbox = (
            f"{name}||||{street_number}||{street_kind.upper()}|{street.upper()}||{routing}|{town.postcode}|"
            f"{town.department}|FRANCE"
        )
        numbers = f"1|1{finess}" if finess else f"3|3{siret}"
        domain = f"s{number}.mssante.example"
        return _Place(activity, f"ARS/CPAM/CNOM|{kind.sector}|{kind.label}", numbers, mailbox, domain)

    def _finess(self, area: str) -> str:
        department = area if len(area) == 2 else f"9{area[2]}"
        rank = self.finess[department] = self.finess.get(department, 0) + 1
        stem = f"{999_999 - rank:06d}"
        digits = {"2A": "21", "2B": "22"}.get(department, department)
        return f"{department}{stem}{luhn_digit(digits + stem)}"

    def _dice(self, key: str, sides: int) -> int:
        """What happens to something on this day; no draw of the writer's, so that the rest stays."""
        return zlib.crc32(f"{key}/{self.day}".encode()) % sides

    def _person(self, person: _Person, place: _Place, kind: Structure) -> None:
        chance = self.chance
        places = [place]
        if chance.random() < 0.40:
            places += chance.choices(self.nearby, k=1 if chance.random() < 0.7 else 2)
            places = list({place.number: place for place in places}.values())
        self_employed = kind is _SOLO or chance.random() < person.trade.alone
        writes = chance.random() < person.trade.mailbox
        twice = chance.random() < 0.0004
        mode = 0 if self_employed else 1
        if self.day:
            dice = self._dice(person.rpps, 10_000)
            if dice < 2:
                return
            if dice < 6:
                person.last = self.last[(self.people * 7 + self.day) % len(self.last)]
            elif dice < 10:
                mode = 2
            elif dice < 14:
                newcomer = _rpps(_HIGH_RPPS + self.day % 100 * 50_000 + self.people % 50_000)
                self._lines(
                    _Person(newcomer, person.first.upper(), "Camille", 0, person.trade, []), [place], mode, True
                )
            elif dice < 16:
                writes = False
        self._lines(person, places, mode, writes)
        if writes and twice:
            self._mailbox_of(person, places[-1], again=True)

    def _lines(self, person: _Person, places: list[_Place], mode: int, writes: bool) -> None:
        trade = person.trade
        doctor = trade.code in {"10", "21", "40"}
        identity = f"8|{person.rpps}|8{person.rpps}"
        names = f"{person.last}|{person.first}|{trade.code}|{trade.label}|C|Civil"
        titles = "DR|Docteur" if doctor else "|"
        civility = "M|Monsieur" if person.civility else "MME|Madame"
        whose = f"{identity}|{titles}|{civility}|{names}"
        activities, know_how, diplomas, _ = self.out
        how = [f"S|Spécialité ordinale|{code}|{label}" for code, label, _ in person.specialties]
        code, label = _MODES[mode]
        section = "A|Section A (Officine)|FON-01|Titulaire d'officine" if trade.code == "21" else "|||"
        for place in places:
            for specialty in how or ["|||"]:
                activities.append(
                    f"{whose}|{specialty}|{code}|{label}|{place.activity}|{place.tail}|{section}|"
                    "GENR01|Activité standard de soin ou de pharmacien|\n"
                )
                self.written += 1
        know_how += [f"{identity}|{names}|{specialty}|\n" for specialty in how]
        if doctor:
            diplomas.append(
                f"{identity}|{person.last}|{person.first}|DE|Diplôme d'Etat français|DE{trade.code}|"
                f"Diplôme d'État de {trade.label.lower()}|||||\n"
            )
        if writes:
            self._mailbox_of(person, places[0])

    def _mailbox_of(self, person: _Person, place: _Place, again: bool = False) -> None:
        trade = person.trade
        local = f"{_local(person.first)}.{_local(person.last)}@{trade.domain}.mssante.example"
        identity = f"8|{person.rpps}|8{person.rpps}"
        code, label = person.specialties[0][:2] if person.specialties else ("", "")
        title = "Docteur" if trade.code in {"10", "21", "40"} else ""
        names = f"{title}|{person.last}|{person.first}|C|Civil|{trade.code}|{trade.label}|{code}|{label}"
        self._mailbox("PER", local, place, identity, names, "", again)

    def _mailbox(
        self, kind: str, address: str, place: _Place, identity: str, names: str, service: str, again: bool = False
    ) -> None:
        if kind == "ORG":
            identity, names = "||", "||||||||"
            address = address.replace(".s", "@s", 1) if "@" not in address else address
        if not again:
            self.addresses[address] = self.addresses.get(address, 0) + 1
        rank = self.addresses[address]
        if rank > 1:
            local, _, domain = address.partition("@")
            address = f"{local}{rank}@{domain}"
        self.out[3].append(f"{kind}|{address}|{identity}|{place.number}|{service}|{names}|O|{place.mailbox}\n")


def write(folder: Path, *, share: float = 1.0, seed: int = 1, day: int = 0) -> list[Path]:
    """Write the four files into `folder`; returns their paths, the activities first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}_202611{1 + day % 28:02d}0200.txt" for name, _ in FILES]
    files = [path.open("w", encoding="utf-8", newline="\n") for path in paths]
    try:
        for file, (_, header) in zip(files, FILES, strict=True):
            file.write(header + "\n")
        _Writer(seed, day, max(1, round(NATION * share)), files).write()
    finally:
        for file in files:
            file.close()
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--day", type=int, default=0)
    given = parser.parse_args()
    for written in write(given.folder, share=given.share, seed=given.seed, day=given.day):
        print(written)
