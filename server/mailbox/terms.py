"""On which terms a mailbox takes mail: its room, whether its holder opposes messages, whether patients may begin."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base.errors import Reason, Refused
from server.mailbox import queries
from server.mailbox.model import OwnerKind, OwnerState


@dataclass(frozen=True, slots=True)
class Terms:
    """`quota_bytes`: None for the setting's, 0 for no limit. `refuses_mail`: the holder's opposition is recorded.
    `unlisted`: the address is not to be published (liste rouge).
    """

    quota_bytes: int | None
    refuses_mail: bool
    open_to_patients: bool
    unlisted: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A mailbox as an operator sees it, without what is in it. `used` counts octets, `entrusted` S/MIME keys with which
    what comes encrypted is opened."""

    kind: OwnerKind
    state: OwnerState
    used: int
    entrusted: int
    terms: Terms

    @property
    def is_public(self) -> bool:
        """Whether it belongs in the directory: it takes mail, and is no patient's."""
        return self.state is OwnerState.ACTIVE and self.kind is not OwnerKind.PATIENT


async def standing(connection: asyncpg.Connection, owner_id: int) -> Standing:
    """Raises Refused(UNKNOWN_RECIPIENT)."""
    row = await connection.fetchrow(queries.TERMS, owner_id)
    if row is None:
        raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
    terms = Terms(row["quota_bytes"], row["refuses_mail"], row["open_to_patients"], row["unlisted"])
    return Standing(OwnerKind(row["kind"]), OwnerState(row["state"]), int(row["used"] or 0), row["entrusted"], terms)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a mailbox holds, and may hold where that is bounded (`room` 0: it is not). Octets and numbers."""

    used: int
    room: int
    folders: int
    annotations: int


async def usage(connection: asyncpg.Connection, owner_id: int, usual: int) -> Usage:
    """`usual` is the room of a mailbox that has none of its own. Raises Refused(UNKNOWN_RECIPIENT)."""
    row = await connection.fetchrow(queries.USAGE, owner_id)
    if row is None:
        raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
    room = usual if row["quota_bytes"] is None else row["quota_bytes"]
    return Usage(int(row["used"] or 0), room, row["folders"], int(row["annotations"] or 0))


async def check_room(connection: asyncpg.Connection, owner_id: int, usual: int) -> None:
    """After messages were added, in their transaction. Raises Refused(MAILBOX_FULL)."""
    now = await usage(connection, owner_id, usual)
    if now.room and now.used > now.room:
        raise Refused(Reason.MAILBOX_FULL, "This mailbox is full.")


async def change(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, terms: Terms, actor: str) -> None:
    """Set the terms and tell the trail. Raises Refused: UNKNOWN_RECIPIENT; NOT_ALLOWED (only a team's mailbox is open
    to patients: référentiel, the pharmacy's ORG mailbox).
    """
    async with connection.transaction():
        before = await standing(connection, owner_id)
        if terms.open_to_patients and before.kind is not OwnerKind.ORG:
            raise Refused(Reason.NOT_ALLOWED, "Only a mailbox of type ORG, a pharmacy's, can be open to patients.")
        await connection.execute(queries.SET_TERMS, owner_id, *astuple(terms))
        await Audit(edge).terms_changed(connection, actor, owner_id, asdict(before.terms), asdict(terms))
