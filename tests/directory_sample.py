"""Writes a small national directory in the exact form of the published files: some hundred professionals, structures
and mailboxes, all of them fictitious, with check digits that hold. The same seed gives the same bytes.

    python -m tests.directory_sample FOLDER [--people 300] [--seed 1] [--domain msg.exemple.fr]

Nobody real can be meant: RPPS numbers begin with 8999, telephone numbers are from the range kept for fiction
(01 99 00), streets and domains are those of examples. A few persons are always there, for demonstrations and tests:
Claire MARTIN (general practitioner, Lyon 3e), the PHARMACIE DU CENTRE (69003), Jean-Pierre LE GOFF (Saint-Étienne).
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

from directory.identifiers import luhn_digit

STAMP = "20261101020000"
ACTIVITY_HEADER = (
    "Type d'identifiant PP|Identifiant PP|Identification nationale PP|Code civilité d'exercice|"
    "Libellé civilité d'exercice|Code civilité|Libellé civilité|Nom d'exercice|Prénom d'exercice|Code profession|"
    "Libellé profession|Code catégorie professionnelle|Libellé catégorie professionnelle|Code type savoir-faire|"
    "Libellé type savoir-faire|Code savoir-faire|Libellé savoir-faire|Code mode exercice|Libellé mode exercice|"
    "Numéro SIRET site|Numéro SIREN site|Numéro FINESS site|Numéro FINESS établissement juridique|"
    "Identifiant technique de la structure|Raison sociale site|Enseigne commerciale site|"
    "Complément destinataire (coord. structure)|Complément point géographique (coord. structure)|"
    "Numéro Voie (coord. structure)|Indice répétition voie (coord. structure)|"
    "Code type de voie (coord. structure)|Libellé type de voie (coord. structure)|"
    "Libellé Voie (coord. structure)|Mention distribution (coord. structure)|Bureau cedex (coord. structure)|"
    "Code postal (coord. structure)|Code commune (coord. structure)|Libellé commune (coord. structure)|"
    "Code pays (coord. structure)|Libellé pays (coord. structure)|Téléphone (coord. structure)|"
    "Téléphone 2 (coord. structure)|Télécopie (coord. structure)|Adresse e-mail (coord. structure)|"
    "Code Département (structure)|Libellé Département (structure)|Ancien identifiant de la structure|"
    "Autorité d'enregistrement|Code secteur d'activité|Libellé secteur d'activité|"
    "Code section tableau pharmaciens|Libellé section tableau pharmaciens|Code rôle|Libellé rôle|"
    "Code genre activité|Libellé genre activité"
)
KNOW_HOW_HEADER = (
    "Type d'identifiant PP|Identifiant PP|Identification nationale PP|Nom d'exercice|Prénom d'exercice|"
    "Code profession|Libellé profession|Code catégorie professionnelle|Libellé catégorie professionnelle|"
    "Code type savoir-faire|Libellé type savoir-faire|Code savoir-faire|Libellé savoir-faire"
)
MAILBOX_HEADER = (
    "Type de BAL|Adresse BAL|Type Identifiant PP|Identifiant PP|Identification nationale PP|"
    "Type identifiant structure|Identification Structure|Service de rattachement|Civilité d'exercice|"
    "Nom d'exercice|Prénom d'exercice|Catégorie profession|Libellé de catégorie profession|Code Profession|"
    "Libellé Profession|Code savoir-faire|Libellé savoir-faire|Dématérialisation|Raison Sociale structure BAL|"
    "Enseigne commerciale structure BAL|L2COMPLEMENTLOCALISATION|L3COMPLEMENTDISTRIBUTION|L4NUMEROVOIE|"
    "L4COMPLEMENTNUMEROVOIE|NL4TYPEVOIE|L4LIBELLEVOIE|L5LIEUDITMENTION|L6LIGNEACHEMINEMENT|Code postal|"
    "Département|Pays"
)

TOWNS = (
    ("69001", "Lyon 1er Arrondissement", "69381", "Rhône"),
    ("69003", "Lyon 3e Arrondissement", "69383", "Rhône"),
    ("69008", "Lyon 8e Arrondissement", "69388", "Rhône"),
    ("69100", "Villeurbanne", "69266", "Rhône"),
    ("75011", "Paris 11e Arrondissement", "75111", "Paris"),
    ("75015", "Paris 15e Arrondissement", "75115", "Paris"),
    ("13003", "Marseille 3e Arrondissement", "13203", "Bouches-du-Rhône"),
    ("42000", "Saint-Étienne", "42218", "Loire"),
    ("38000", "Grenoble", "38185", "Isère"),
    ("35000", "Rennes", "35238", "Ille-et-Vilaine"),
    ("29200", "Brest", "29019", "Finistère"),
    ("94240", "L'Haÿ-les-Roses", "94038", "Val-de-Marne"),
    ("57460", "Œting", "57521", "Moselle"),
    ("20200", "Bastia", "2B033", "Haute-Corse"),
    ("97400", "Saint-Denis", "97411", "La Réunion"),
)
LAST_NAMES = (
    "BERNARD DUBOIS THOMAS ROBERT PETIT DURAND LEROY MOREAU SIMON LAURENT LEFÈVRE MICHEL GARCIA ROUSSEAU VINCENT "
    "FOURNIER GIRARD MERCIER BLANC GUÉRIN BOYER GARNIER FAURE ANDRÉ HENRY GAUTIER PERRIN ROBIN CLÉMENT GAUTHIER "
    "NGUYEN BENSAÏD MUÑOZ DELCOURT LEBŒUF LE_GOFF DE_LA_TOUR D'ARC SAINT-EXEMPLE BEN_AMAR DUPONT-LEROY"
)
FIRST_NAMES = (
    "Camille Léa Chloé Inès Zoé Hélène Françoise Agnès Béatrice Noémie Louis Gabriel Raphaël Arthur Jules Noël "
    "Thaïs Anaïs Maëlle Loïc Rémi Jérôme Édouard Jean-Pierre Marie-Claude Anne-Sophie"
)
STREETS = ("de l'Exemple", "des Essais", "du Modèle", "de la Fiction", "des Épreuves")


@dataclass(frozen=True)
class Trade:
    code: str
    label: str
    specialties: tuple[tuple[str, str], ...]  # code and label, of the type "S" (specialty)
    sector: tuple[str, str]
    places: tuple[str, ...]  # names of structures


TRADES = (
    Trade(
        "10",
        "Médecin",
        (
            ("SM54", "Médecine générale"),
            ("SM26", "Qualifié en médecine générale"),
            ("SM04", "Cardiologie et maladies vasculaires"),
            ("SM15", "Dermatologie et vénéréologie"),
            ("SM38", "Ophtalmologie"),
            ("SM40", "Pédiatrie"),
            ("SM42", "Psychiatrie"),
        ),
        ("SA07", "Cabinet individuel"),
        ("CABINET DU DOCTEUR {name}", "MAISON DE SANTÉ DES {plural}", "CENTRE MÉDICAL DE L'EXEMPLE"),
    ),
    Trade(
        "21",
        "Pharmacien",
        (),
        ("SA33", "Pharmacie d'officine"),
        ("PHARMACIE {name}", "PHARMACIE DES {plural}", "PHARMACIE DE LA GARE", "GRANDE PHARMACIE"),
    ),
    Trade("40", "Chirurgien-Dentiste", (), ("SA07", "Cabinet individuel"), ("CABINET DENTAIRE {name}",)),
    Trade("50", "Sage-Femme", (), ("SA07", "Cabinet individuel"), ("CABINET DE SAGES-FEMMES DES {plural}",)),
    Trade("60", "Infirmier", (), ("SA07", "Cabinet individuel"), ("CABINET INFIRMIER DES {plural}",)),
    Trade("70", "Masseur-Kinésithérapeute", (), ("SA07", "Cabinet individuel"), ("KINÉ {name}",)),
    Trade("91", "Orthophoniste", (), ("SA07", "Cabinet individuel"), ("CABINET D'ORTHOPHONIE {name}",)),
)
PLURALS = ("LILAS", "TILLEULS", "MARRONNIERS", "GLYCINES", "ÉGLANTIERS")
HOSPITAL = ("SA01", "Etablissement public de santé")


class Writer:
    """Fills the lines of the three files; numbers are given in order, choices by the seeded generator."""

    def __init__(self, seed: int, domain: str) -> None:
        self.random = random.Random(seed)
        self.domain = domain
        self.activities: list[dict[str, str]] = []
        self.know_how: list[dict[str, str]] = []
        self.mailboxes: list[dict[str, str]] = []
        self.addresses: set[str] = set()
        self.people = 0
        self.structures = 0

    def rpps(self) -> str:
        self.people += 1
        stem = f"8999{self.people:06d}"
        return stem + luhn_digit(stem)

    def finess(self, postcode: str) -> str:
        self.structures += 1
        corsica = {"20": ("2B", "22")}.get(postcode[:2])
        department, digits = corsica or (postcode[:2], postcode[:2])
        stem = f"{(990_000 + self.structures) % 1_000_000:06d}"
        return department + stem + luhn_digit(digits + stem)

    def siret(self) -> str:
        stem = f"99{self.structures:06d}"
        siren = stem + luhn_digit(stem)
        nic = f"{siren}0001"
        return nic + luhn_digit(nic)

    def structure(self, name: str, sector: tuple[str, str], town: tuple[str, str, str, str]) -> dict[str, str]:
        """The columns that tell a structure, as Personne_activite spells them."""
        postcode, commune, commune_code, department = town
        finess = self.finess(postcode)
        siret = self.siret()
        area = commune_code[:3] if commune_code.startswith("97") else commune_code[:2]
        return {
            "Numéro SIRET site": siret,
            "Numéro SIREN site": siret[:9],
            "Numéro FINESS site": finess,
            "Identifiant technique de la structure": f"R10{self.structures:09d}",
            "Raison sociale site": name,
            "Numéro Voie (coord. structure)": str(self.random.randint(1, 150)),
            "Code type de voie (coord. structure)": "R",
            "Libellé type de voie (coord. structure)": "Rue",
            "Libellé Voie (coord. structure)": self.random.choice(STREETS),
            "Bureau cedex (coord. structure)": f"{postcode} {commune.split(' ')[0].upper()}",
            "Code postal (coord. structure)": postcode,
            "Code commune (coord. structure)": commune_code,
            "Libellé commune (coord. structure)": commune,
            "Code pays (coord. structure)": "99000",
            "Libellé pays (coord. structure)": "France",
            "Téléphone (coord. structure)": f"019900{self.structures % 10000:04d}",
            "Code Département (structure)": area,
            "Libellé Département (structure)": department,
            "Code secteur d'activité": sector[0],
            "Libellé secteur d'activité": sector[1],
        }

    def person(self, last: str, first: str, trade: Trade, woman: bool) -> dict[str, str]:
        rpps = self.rpps()
        doctor = trade.code in {"10", "21", "40"}
        return {
            "Type d'identifiant PP": "8",
            "Identifiant PP": rpps,
            "Identification nationale PP": f"8{rpps}",
            "Code civilité d'exercice": "DR" if doctor else "",
            "Libellé civilité d'exercice": "Docteur" if doctor else "",
            "Code civilité": "MME" if woman else "M",
            "Libellé civilité": "Madame" if woman else "Monsieur",
            "Nom d'exercice": last,
            "Prénom d'exercice": first,
            "Code profession": trade.code,
            "Libellé profession": trade.label,
            "Code catégorie professionnelle": "C",
            "Libellé catégorie professionnelle": "Civil",
        }

    def practise(
        self, person: dict[str, str], place: dict[str, str], specialty: tuple[str, str] | None, apart: bool = False
    ) -> None:
        """One line of activity; `apart` puts the specialty into the SavoirFaire file alone."""
        row = {
            **person,
            **place,
            "Code mode exercice": "L",
            "Libellé mode exercice": "Libéral",
            "Autorité d'enregistrement": "ARS/CPAM/CNOM",
            "Code genre activité": "GENR01",
            "Libellé genre activité": "Activité standard de soin ou de pharmacien",
        }
        if person["Code profession"] == "21":
            row |= {
                "Code section tableau pharmaciens": "A",
                "Libellé section tableau pharmaciens": "Section A (Officine)",
                "Code rôle": "FON-01",
                "Libellé rôle": "Titulaire d'officine",
            }
        if specialty:
            labels = {
                "Code type savoir-faire": "S",
                "Libellé type savoir-faire": "Spécialité ordinale",
                "Code savoir-faire": specialty[0],
                "Libellé savoir-faire": specialty[1],
            }
            self.know_how.append({**person, **labels})
            if not apart:
                row |= labels
        self.activities.append(row)

    def mailbox(
        self,
        kind: str,
        local: str,
        place: dict[str, str] | None,
        person: dict[str, str] | None = None,
        specialty: tuple[str, str] | None = None,
        service: str = "",
    ) -> None:
        address = f"{local}@{self.domain}"
        number = 2
        while address in self.addresses:
            address = f"{local}{number}@{self.domain}"
            number += 1
        self.addresses.add(address)
        row = {
            "Type de BAL": kind,
            "Adresse BAL": address,
            "Service de rattachement": service,
            "Dématérialisation": "O",
        }
        if person:
            row |= {
                "Type Identifiant PP": person["Type d'identifiant PP"],
                "Identifiant PP": person["Identifiant PP"],
                "Identification nationale PP": person["Identification nationale PP"],
                "Civilité d'exercice": person["Libellé civilité d'exercice"],
                "Nom d'exercice": person["Nom d'exercice"],
                "Prénom d'exercice": person["Prénom d'exercice"],
                "Catégorie profession": "C",
                "Libellé de catégorie profession": "Civil",
                "Code Profession": person["Code profession"],
                "Libellé Profession": person["Libellé profession"],
                "Code savoir-faire": specialty[0] if specialty else "",
                "Libellé savoir-faire": specialty[1] if specialty else "",
            }
        if place:
            row |= {
                "Type identifiant structure": "1",
                "Identification Structure": f"1{place['Numéro FINESS site']}",
                "Raison Sociale structure BAL": place["Raison sociale site"],
                "L4NUMEROVOIE": place["Numéro Voie (coord. structure)"],
                "NL4TYPEVOIE": "RUE",
                "L4LIBELLEVOIE": place["Libellé Voie (coord. structure)"].upper(),
                "L6LIGNEACHEMINEMENT": place["Bureau cedex (coord. structure)"],
                "Code postal": place["Code postal (coord. structure)"],
                "Département": place["Libellé Département (structure)"],
                "Pays": "FRANCE",
            }
        self.mailboxes.append(row)

    def known_people(self) -> None:
        """Those that demonstrations and tests ask for by name."""
        towns = {town[0]: town for town in TOWNS}
        doctor, pharmacist = TRADES[0], TRADES[1]
        practice = self.structure("CABINET DU DOCTEUR MARTIN", doctor.sector, towns["69003"])
        martin = self.person("MARTIN", "Claire", doctor, woman=True)
        self.practise(martin, practice, doctor.specialties[0])
        self.mailbox("PER", "claire.martin", practice, martin, doctor.specialties[0])
        pharmacy = self.structure("PHARMACIE DU CENTRE", pharmacist.sector, towns["69003"])
        owner = self.person("EXEMPLE", "Paul", pharmacist, woman=False)
        self.practise(owner, pharmacy, None)
        self.mailbox("ORG", "pharmacie.centre", pharmacy, service="Officine")
        other = self.structure("PHARMACIE DU CENTRE", pharmacist.sector, towns["38000"])
        self.mailbox("ORG", "pharmacie.centre.grenoble", other, service="Officine")
        legoff = self.person("LE GOFF", "Jean-Pierre", doctor, woman=False)
        saint_etienne = self.structure("CABINET DU DOCTEUR LE GOFF", doctor.sector, towns["42000"])
        self.practise(legoff, saint_etienne, doctor.specialties[2], apart=True)
        self.mailbox("PER", "jeanpierre.legoff", saint_etienne, legoff, doctor.specialties[2])
        # Same name, elsewhere and otherwise: what a search must tell apart.
        for last, first, trade, postcode in (
            ("MARTIN", "Louis", TRADES[0], "75011"),
            ("MARTIN", "Zoé", TRADES[4], "69003"),
            ("MARTINEAU", "Anaïs", TRADES[0], "69008"),
        ):
            place = self.structure(f"CABINET {last}", trade.sector, towns[postcode])
            someone = self.person(last, first, trade, woman=first != "Louis")
            specialty = trade.specialties[0] if trade.specialties else None
            self.practise(someone, place, specialty)
            self.mailbox(
                "PER", f"{first}.{last}".lower().replace("é", "e").replace("ï", "i"), place, someone, specialty
            )

    def crowd(self, people: int) -> None:
        for number in range(people):
            trade = self.random.choice(TRADES)
            town = self.random.choice(TOWNS)
            last = self.random.choice(LAST_NAMES.split()).replace("_", " ")
            first = self.random.choice(FIRST_NAMES.split())
            person = self.person(last, first, trade, woman=self.random.random() < 0.55)
            specialty = self.random.choice(trade.specialties) if trade.specialties else None
            names = {"name": last, "plural": self.random.choice(PLURALS)}
            place = self.structure(self.random.choice(trade.places).format(**names), trade.sector, town)
            self.practise(person, place, specialty, apart=number % 5 == 0)
            if number % 7 == 0:  # the same person at a second place
                hospital = self.structure(f"HÔPITAL DES {names['plural']}", HOSPITAL, self.random.choice(TOWNS))
                self.practise(person, hospital, None)
                self.mailbox("ORG", f"secretariat.{self.structures}", hospital, service="Secrétariat médical")
            if number % 6:  # one in six has no mailbox yet
                self.mailbox("PER", f"ps{person['Identifiant PP']}", place, person, specialty)
            if trade.code == "21":
                self.mailbox("ORG", f"pharmacie.{self.structures}", place, service="Officine")


def _text(header: str, rows: list[dict[str, str]], trailing: str) -> str:
    columns = header.split("|")
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    return "".join("|".join(line) + trailing + "\n" for line in lines)


def write(folder: Path, *, people: int = 300, seed: int = 1, domain: str = "msg.exemple.fr") -> list[Path]:
    """Write the three files into `folder`; returns their paths."""
    writer = Writer(seed, domain)
    writer.known_people()
    writer.crowd(people)
    # The mailbox file ends its lines without a "|", those of PS_LibreAcces with one.
    texts = {
        f"PS_LibreAcces_Personne_activite_{STAMP}.txt": _text(ACTIVITY_HEADER, writer.activities, "|"),
        f"PS_LibreAcces_SavoirFaire_{STAMP}.txt": _text(KNOW_HOW_HEADER, writer.know_how, "|"),
        f"Extraction_Correspondance_MSSante_{STAMP}.txt": _text(MAILBOX_HEADER, writer.mailboxes, ""),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--domain", default="msg.exemple.fr")
    given = parser.parse_args()
    for written in write(given.folder, people=given.people, seed=given.seed, domain=given.domain):
        print(written)
