"""Two entries with what the index of words holds of them, and what a plan means of a row: without a database."""

from __future__ import annotations

from typing import Any

from directory.indexing import index_words
from directory.ldap.entries import Tree
from directory.ldap.plan import Address, Both, Condition, Either, Mailbox, Numbers, Word
from directory.ldap.values import about

ROW: dict[str, Any] = {
    "national_id": "889990000013",
    "profession_code": "10",
    "organisation_id": "R10000000001",
    "identifier": "89990000013",
    "last_name": "LE GOFF",
    "first_name": "Jean-Pierre",
    "profession": "Médecin",
    "finess": "690000013",
    "siret": "99000001800010",
    "name": "CABINET DE L'EXEMPLE",
    "sign": "",
    "street": "3 Rue des Essais",
    "postcode": "42000",
    "town": "Saint-Étienne",
    "department": "Loire",
    "sector": "Cabinet individuel",
    "phone": "0199000001",
    "know_how": ["Cardiologie et maladies vasculaires"],
    "mailboxes": ["jean-pierre.legoff@msg.exemple.fr"],
    "services": ["Secrétariat"],
}
TREE = Tree("msg.exemple.fr")
ROWS = (ROW, ROW | {"national_id": "", "profession_code": "", "mailboxes": ["cabinet.exemple@msg.exemple.fr"]})
ENTRIES = [(TREE.of(row, []), frozenset(index_words(row)), row) for row in ROWS]


def means(condition: Condition, held: frozenset[tuple[str, str]], row: dict[str, Any]) -> bool:
    """What the indexes would say of the row."""
    match condition:
        case Both(parts):
            return all(means(part, held, row) for part in parts)
        case Either(parts):
            return any(means(part, held, row) for part in parts)
        case Word(word, fields, begun, mistyped):
            mine = [one for kind, one in held if kind in fields]
            return any(
                one == word or (begun and one.startswith(word)) or (mistyped and about(one, word)) for one in mine
            )
        case Address(begins, whole, words):
            return any(
                (one == begins if whole else one.startswith(begins))
                and all(any(part.startswith(word) for part in local(one)) for word in words)
                for one in row["mailboxes"]
            )
        case Numbers(numbers):
            keys = {row["national_id"]} if row["national_id"] else {row["organisation_id"], row["finess"], row["siret"]}
            return bool(keys & set(numbers))
        case Mailbox():
            return bool(row["mailboxes"])


def local(address: str) -> list[str]:
    return address.partition("@")[0].replace("-", " ").replace(".", " ").split()
