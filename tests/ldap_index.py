"""Two entries with what the index of words holds of them, and what a plan means of a row: without a database."""

from __future__ import annotations

from typing import Any

from directory.indexing import KINDS, Field, Vocabulary, field_of
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


def held_by(row: dict[str, Any]) -> frozenset[tuple[Field, str]]:
    """The fields and words by which the index finds the row's listing."""
    vocabulary = Vocabulary()

    def terms(kind: str, text: str, beside: str = "") -> tuple[list[int], list[int]]:
        return KINDS[kind](vocabulary, text, beside)

    found = terms("place", row["town"], row["postcode"])[0]
    own, inside = terms("organisation", row["name"], row["sign"])
    if row["national_id"]:
        found += terms("last_name", row["last_name"])[0] + terms("first_name", row["first_name"])[0] + inside
        found += terms("profession", row["profession"], row["profession_code"])[0]
        found += [term for label in row["know_how"] for term in terms("know_how", label)[0]]
    else:
        found += own + terms("sector", row["sector"])[0]
        found += [term for service in row["services"] for term in terms("service", service)[1]]
    return frozenset(
        (field_of(term), word)
        for word, number in vocabulary.numbers.items()
        for term in vocabulary.terms(number)
        if term in found
    )


ENTRIES = [(TREE.of(row, []), held_by(row), row) for row in ROWS]


def means(condition: Condition, held: frozenset[tuple[Field, str]], row: dict[str, Any]) -> bool:
    """What the indexes would say of the row."""
    match condition:
        case Both(parts):
            return all(means(part, held, row) for part in parts)
        case Either(parts):
            return any(means(part, held, row) for part in parts)
        case Word(word, fields, begun, mistyped):
            mine = [one for kind, one in held if kind in fields]
            return any(
                one == word or (begun and one.startswith(word)) or (mistyped and about(one, [word])) for one in mine
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
