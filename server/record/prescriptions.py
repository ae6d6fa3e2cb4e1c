"""Prescriptions that their QR codes lead to: made, opened by who may, dispensed once, withdrawn, forgotten in time.

Invariants:
- Who has the paper's reference and is signed in as a professional, as its patient or as who prescribed may open it; who
  is not signed in needs the digits printed beside it, and only while it was not dispensed.
- Digits are tried five times; then nobody tries for an hour, whoever asks. Who is signed in is not concerned.
- Each opening is in the trail before the document leaves, and so is each wrong try.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from crypto import reference as references
from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import PRESCRIPTION_BYTES, STEP_MESSAGES
from server.mailbox.trouble import connection
from server.record import queries
from server.record.access import Party, dispenses, opens_prescription

TRIES: Final = 5  # a person who mistypes; 8 digits bear 10^8 / 5 hours
TRIES_REST: Final = timedelta(hours=1)
LISTED: Final = 500
# Crockford's base 32: no letter that another is read for.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS, _GROUP = 4, 4  # 80 bits


@dataclass(frozen=True, slots=True)
class Printed:
    """What is printed on a prescription."""

    number: str
    reference: str
    code: str


@dataclass(frozen=True, slots=True)
class Prescription:
    """One as it is found; `dispensed_at` and `withdrawn_at` are None until that happens."""

    number: str
    owner_id: int
    patient_id: int | None
    made_at: datetime
    ends_at: datetime
    dispensed_at: datetime | None
    withdrawn_at: datetime | None


def to_print() -> Printed:
    """A new number, reference and code."""
    drawn = [secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP)]
    number = "-".join("".join(drawn[start : start + _GROUP]) for start in range(0, len(drawn), _GROUP))
    return Printed(number, references.new_reference(), references.new_code())


class Prescriptions:
    """The prescriptions of one database."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, audit: Audit) -> None:
        self._pool = pool
        self._edge = edge
        self._audit = audit

    async def add(
        self, actor: str, owner_id: int, patient_id: int | None, printed: Printed, pdf: bytes, days: int
    ) -> None:
        """Keep a signed one for so many days. Raises Refused(TOO_LARGE)."""
        if len(pdf) > PRESCRIPTION_BYTES:
            raise Refused(Reason.TOO_LARGE, "The prescription is too large.")
        now = clock.now()
        found_by = references.found_by(self._edge, printed.reference)
        code = references.code_hash(self._edge, printed.reference, printed.code)
        sealed = references.seal_document(self._edge, printed.reference, pdf)
        async with connection(self._pool) as acquired, acquired.transaction():
            await acquired.execute(
                queries.ADD_PRESCRIPTION,
                printed.number,
                owner_id,
                patient_id,
                found_by,
                code,
                sealed,
                now,
                now + timedelta(days=days),
            )
            await self._audit.prescription_made(acquired, actor, owner_id, printed.number)

    async def find(self, reference: str) -> Prescription | None:
        """The one that a QR code leads to; None where there is none, or not any more."""
        row = await self._row(reference)
        return None if row is None else _prescription(row)

    async def open(self, reference: str, actor: Party | None, name: str, code: str = "") -> tuple[Prescription, bytes]:
        """The prescription and its PDF for `actor` (None: nobody is signed in), who calls themselves `name`.

        Raises Refused: NO_SUCH_MESSAGE, NOT_ALLOWED, BAD_CREDENTIALS for wrong digits, THROTTLED.
        """
        row = await self._row(reference)
        if row is None:
            raise Refused(Reason.NO_SUCH_MESSAGE, "There is no such prescription.")
        found = _prescription(row)
        if actor is None:
            await self._try(row, reference, code, name)
        opens_prescription(actor, found.owner_id, found.patient_id, found.dispensed_at).require()
        async with connection(self._pool) as acquired:
            await self._audit.prescription_read(acquired, name, found.owner_id, found.number, by_code=actor is None)
            sealed = await acquired.fetchval(queries.PRESCRIPTION_DOCUMENT, found.number)
        return found, references.open_document(self._edge, reference, sealed)

    async def _try(self, row: asyncpg.Record, reference: str, code: str, name: str) -> None:
        now = clock.now()
        async with connection(self._pool) as acquired:
            if not await acquired.fetchval(queries.TRY_CODE, row["number"], now, TRIES, now - TRIES_REST):
                raise Refused(Reason.THROTTLED, "Too many wrong codes.")
            if not hmac.compare_digest(row["code"], references.code_hash(self._edge, reference, code)):
                await self._audit.prescription_refused(acquired, name, row["owner_id"], row["number"])
                raise Refused(Reason.BAD_CREDENTIALS, "The code is wrong.")
            await acquired.execute(queries.CODE_WAS_RIGHT, row["number"])

    async def dispense(self, reference: str, actor: Party, name: str) -> None:
        """Say that it was dispensed. Raises Refused: NO_SUCH_MESSAGE, NOT_ALLOWED, LIMIT_REACHED (it was before)."""
        found = await self.find(reference)
        if found is None:
            raise Refused(Reason.NO_SUCH_MESSAGE, "There is no such prescription.")
        dispenses(actor, found.owner_id).require()
        async with connection(self._pool) as acquired, acquired.transaction():
            if not await acquired.fetchval(queries.DISPENSE, found.number, clock.now(), actor.owner_id):
                raise Refused(Reason.LIMIT_REACHED, "It was dispensed before, or withdrawn.")
            await self._audit.prescription_dispensed(acquired, name, found.owner_id, found.number)

    async def withdraw(self, actor: str, number: str) -> bool:
        """Withdraw one that was not dispensed; whether there was such a one."""
        async with connection(self._pool) as acquired, acquired.transaction():
            owner_id = await acquired.fetchval(queries.WITHDRAW, number, clock.now())
            if owner_id is not None:
                await self._audit.prescription_withdrawn(acquired, actor, owner_id, number)
        return owner_id is not None

    async def of_owner(self, owner_id: int) -> list[asyncpg.Record]:
        """What a mailbox prescribed, the newest first: number, made_at, ends_at, dispensed_at, withdrawn_at."""
        async with connection(self._pool) as acquired:
            return list(await acquired.fetch(queries.PRESCRIPTIONS, owner_id, LISTED))

    async def _row(self, reference: str) -> asyncpg.Record | None:
        if not references.is_reference(reference):
            return None
        async with connection(self._pool) as acquired:
            found_by = references.found_by(self._edge, reference)
            rows = await acquired.fetch(queries.PRESCRIPTION, found_by, clock.now())
        return rows[0] if rows else None


async def forget_prescriptions(pool: asyncpg.Pool) -> int:
    """Delete some of those that have ended; returns how many. For the jobs."""
    async with connection(pool) as acquired:
        done = await acquired.execute(queries.FORGET_PRESCRIPTIONS, clock.now(), STEP_MESSAGES)
    return int(done.rpartition(" ")[2])


def may_dispense(found: Prescription, actor: Party | None) -> bool:
    """Whether `actor` may say that it was dispensed, and nobody has."""
    return dispenses(actor, found.owner_id).allowed and found.dispensed_at is None and found.withdrawn_at is None


def _prescription(row: asyncpg.Record) -> Prescription:
    return Prescription(
        row["number"],
        row["owner_id"],
        row["patient_id"],
        row["made_at"],
        row["ends_at"],
        row["dispensed_at"],
        row["withdrawn_at"],
    )
