"""Own mailboxes in the directory: published at once where everybody searches, and withdrawn.

What this operator says of a mailbox is kept apart (`own_mailbox`); `settle` brings the tables of the directory to it.
Invariants:
- The national files neither remove nor change an entry of our own; a load settles at its end.
- Whom the national files name is called as they say there: our words for a person or structure stand where they say
  nothing, and go when they do.
- An address and its type never change (référentiel): another one is another mailbox.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from directory.listing import refresh
from directory.model import MailboxKind
from directory.own import queries
from directory.own.nearest import near_keys
from directory.queries import Connection

_CIVILITIES = {
    "dr": "Docteur",
    "docteur": "Docteur",
    "pr": "Professeur",
    "professeur": "Professeur",
    "m": "Monsieur",
    "monsieur": "Monsieur",
    "mme": "Madame",
    "madame": "Madame",
}
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class OwnMailbox:
    """What is said of a mailbox, in the words of the directory. A person by RPPS (`national_id` "8" + 11 digits), a
    structure by FINESS or SIRET, or both. `rank` 1 is preferred, 0 none; `responsible` and `description` are free text.
    """

    address: str
    kind: MailboxKind
    national_id: str = ""
    civility: str = ""
    last_name: str = ""
    first_name: str = ""
    profession_code: str = ""
    profession: str = ""
    finess: str = ""
    siret: str = ""
    organisation: str = ""
    service: str = ""
    description: str = ""
    responsible: str = ""
    rank: int = 0
    unlisted: bool = False

    @property
    def has_holder(self) -> bool:
        """Whether the directory can hold it: an address alone is nobody's."""
        return bool(self.national_id or self.finess or self.siret)


async def publish(connection: Connection, mailboxes: Sequence[OwnMailbox], now: datetime) -> None:
    """Put them into the directory, in place of what was said of them before; each must have a holder.

    All in one go, and once in a transaction: the index is brought up to date for all of them together.
    """
    rows = [asdict(one) | {"near": near_keys(one.address)} for one in mailboxes]
    async with connection.transaction():
        await connection.execute(queries.LOCK)
        await connection.execute(queries.PUT, json.dumps(rows), now)
        await settle(connection, [one.address for one in mailboxes])
        await refresh(connection, _unwatched, whole=False)


async def withdraw(connection: Connection, addresses: Sequence[str], now: datetime) -> list[str]:
    """Take them out of the directory, as `publish` puts them in; returns those that stood there."""
    async with connection.transaction():
        await connection.execute(queries.LOCK)
        gone = [row["address"] for row in await connection.fetch(queries.WITHDRAW, addresses, now)]
        if gone:
            await connection.execute(queries.DROP_CERTIFICATES, gone)
            await settle(connection, gone)
            await refresh(connection, _unwatched, whole=False)
    return gone


async def said(connection: Connection, address: str) -> OwnMailbox | None:
    """What is said of a mailbox, or was before it was withdrawn; None: it was never published."""
    row = await connection.fetchrow(queries.SAID, address)
    return None if row is None else _own(row)


async def published(connection: Connection) -> list[str]:
    """The addresses that are published, unlisted ones too, in order."""
    return [row["address"] for row in await connection.fetch(queries.PUBLISHED)]


async def settle(connection: Connection, addresses: Sequence[str] | None = None) -> None:
    """Bring the tables that everybody searches to what is said, of these addresses or of all.

    In the caller's transaction, who brings the index up to date afterwards by the table `stage_touched`.
    """
    written = [row for statement in queries.SETTLE for row in await connection.fetch(statement, addresses)]
    removed = [row for statement in queries.REMOVE for row in await connection.fetch(statement, addresses)]
    keys = ([row[name] for row in written + removed] for name in ("national_id", "profession_code", "organisation_id"))
    await connection.execute(queries.CREATE_TOUCHED)
    await connection.execute(queries.TOUCH, *keys)
    for statement, rows in ((queries.BACK, written), (queries.GONE, removed)):
        await connection.execute(statement, [row["kind"] for row in rows], [row["key"] for row in rows])


def _unwatched(stage: str, done: int, total: int = 0) -> None:
    """Progress that nobody watches."""


async def certify(connection: Connection, address: str, certificates: Sequence[x509.Certificate]) -> None:
    """Mail to a mailbox may be encrypted to these, and to no others any more; one that is not published has none."""
    encoded = [one.public_bytes(Encoding.DER) for one in certificates]
    async with connection.transaction():
        await connection.execute(queries.DROP_OTHER_CERTIFICATES, address, encoded)
        ends = [one.not_valid_after_utc for one in certificates]
        await connection.execute(queries.ADD_CERTIFICATES, address, encoded, ends)


def named(mailbox: OwnMailbox, name: str) -> OwnMailbox:
    """With the name that people see, "Dr Aline MARTIN": a person's parts of it, a structure's name.

    The family name is what is written in capitals, as files and letters in France write it, else the last word.
    """
    if not mailbox.national_id:
        return replace(mailbox, organisation=name)
    parts = _WORD.findall(name)
    civility = _CIVILITIES.get(parts[0].lower().rstrip("."), "") if len(parts) > 1 else ""
    parts = parts[1:] if civility else parts
    family = [part for part in parts if part.isupper() and len(part) > 1] if len(parts) > 1 else parts
    if len(family) in (0, len(parts)):
        family = parts[-1:]
    given = [part for part in parts if part not in family]
    return replace(mailbox, civility=civility, last_name=" ".join(family), first_name=" ".join(given))


def _own(row: object) -> OwnMailbox:
    values = {name: row[name] for name in OwnMailbox.__slots__}  # type: ignore[index]
    return OwnMailbox(**values | {"kind": MailboxKind(values["kind"])})
