"""A holder's password with its one-time codes: set, shown at sign-in, changed.

- Password and code are asked for together, and compared together: the answer to a wrong password, a wrong code and an
  address that nobody has is one, after the same computations and the same questions to the database.
- A one-time code and a recovery code each sign in once.
- After many wrong ones from elsewhere, a browser that is not known needs a recovery code (`throttle.py`).
"""

from __future__ import annotations

from typing import cast

import asyncpg

from crypto import blind_index
from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.limits import RECOVERY_CODES
from server.identity.chosen import ChosenPasswords, Weakness, weakness
from server.identity.local import alerts, codes, devices, invitations, queries, totp
from server.identity.local.alerts import Happened
from server.identity.local.enrolment import Ticket
from server.identity.local.model import Alert, Holder
from server.identity.local.seal import keyed, opened, seal
from server.identity.throttle import Attempt, Throttle
from server.mail.addresses import normalise

RECOVERY_LETTERS = 16
_LABEL = "password"
_NOBODYS = bytes(totp.SECRET_BYTES)


class WeakPassword(Refused):
    """A password that is not taken, and why."""

    def __init__(self, weakness: Weakness) -> None:
        super().__init__(Reason.MALFORMED, "This password is too easy to guess.")
        self.weakness = weakness


class StrongerProofNeeded(Refused):
    """So many wrong passwords came for this address that six digits from an unknown browser do not do today."""

    def __init__(self) -> None:
        super().__init__(Reason.THROTTLED, "Use a recovery code, a passkey, or a browser you signed in with before.")


class LocalPasswords:
    """The passwords of one process."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge
        self._passwords = ChosenPasswords(edge)
        self.throttle = Throttle(pool, edge.credential)

    async def sign_in(self, address: str, password: str, typed: str, network: str, browser: str) -> Holder:
        """Who shows this password with this one-time or recovery code; `browser` is its cookie of known ones, or "".

        Raises Refused(BAD_CREDENTIALS), StrongerProofNeeded; TryLater: THROTTLED, BUSY.
        """
        account, now = normalise(address), clock.now()
        row = await self._pool.fetchrow(queries.ACCOUNT, blind_index.token(self._edge.address, account))
        owner_id = row["owner_id"] if row is not None else 0
        device = await devices.known(self._pool, self._edge, owner_id, browser, now)
        attempt = await self.throttle.attempt(account, network, device)
        if attempt.closed:
            raise TryLater(Reason.THROTTLED, "Too many failed sign-ins.")
        await self._warn(owner_id, attempt, network)
        kept = opened(self._edge, _LABEL, owner_id, row["sealed"]) if row is not None and row["sealed"] else None
        right = await self._passwords.matches(kept["hash"] if kept else None, password)
        secret = bytes.fromhex(kept["secret"]) if kept else _NOBODYS
        step = totp.step_of(secret, typed, now, row["step"] if row is not None else 0)
        # For a wrong password the same questions are asked, about nobody.
        proven = owner_id if right else 0
        recovery = codes.read(typed, RECOVERY_LETTERS)
        if recovery is not None:
            hashed = self._recovery(proven, recovery)
            accepted = await self._pool.fetchval(queries.TAKE_RECOVERY_CODE, proven, hashed)
        elif step is not None and not attempt.guessed:
            accepted = await self._pool.fetchval(queries.TAKE_STEP, proven, step, now.date())
        else:
            accepted = None
        if row is None or not accepted:
            raise StrongerProofNeeded if attempt.guessed else Refused(Reason.BAD_CREDENTIALS, "Not accepted.")
        await self.throttle.right(attempt)
        if recovery is not None:
            await self._used_recovery_code(owner_id, account)
        return Holder(owner_id, account, row["kind"])

    async def enrol(self, ticket: Ticket, password: str, typed: str, own: tuple[str, ...]) -> list[str]:
        """Set password and one-time codes of a ticket's holder; the recovery codes, to be shown this once.

        Raises WeakPassword; Refused(BAD_CREDENTIALS): the code is not of the secret that was shown, or what stands
        behind the ticket was used; TryLater(BUSY).
        """
        step = totp.step_of(ticket.secret, typed, clock.now(), 0)
        hashed = await self._hash(ticket.holder, password, own)
        if step is None:
            raise Refused(Reason.BAD_CREDENTIALS, "This is not the code of the application.")
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            if ticket.mark:
                await invitations.use(connection, ticket.holder.owner_id, ticket.mark)
            await self._set(connection, ticket.holder, hashed, ticket.secret, step)
            return await self.new_recovery_codes(connection, ticket.holder)

    async def change(self, holder: Holder, password: str, own: tuple[str, ...]) -> None:
        """Another password; the one-time codes stay.

        Raises WeakPassword; Refused(NOT_ALLOWED): there is none to change; TryLater(BUSY).
        """
        hashed = await self._hash(holder, password, own)
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            row = await connection.fetchrow(queries.CHOSEN, holder.owner_id)
            kept = opened(self._edge, _LABEL, holder.owner_id, row["sealed"]) if row is not None else None
            if row is None or kept is None:
                raise Refused(Reason.NOT_ALLOWED, "There is no password to change.")
            await self._set(connection, holder, hashed, bytes.fromhex(kept["secret"]), row["step"])

    async def _hash(self, holder: Holder, password: str, own: tuple[str, ...]) -> str:
        found = weakness(password, (*own, holder.address.partition("@")[0]))
        if found is not None:
            raise WeakPassword(found)
        return await self._passwords.hash(password)

    async def new_recovery_codes(self, connection: asyncpg.Connection, holder: Holder) -> list[str]:
        """Recovery codes in place of those before, to be shown this once. In the caller's transaction."""
        made = [codes.make(RECOVERY_LETTERS) for _ in range(RECOVERY_CODES)]
        await connection.execute(queries.DROP_RECOVERY_CODES, holder.owner_id)
        hashes = [self._recovery(holder.owner_id, code) for code in made]
        await connection.execute(queries.ADD_RECOVERY_CODES, holder.owner_id, hashes)
        await Audit(self._edge).account_changed(connection, holder.address, holder.owner_id, "recovery-codes-made")
        return [codes.shown(code) for code in made]

    async def _set(self, connection: asyncpg.Connection, holder: Holder, hashed: str, secret: bytes, step: int) -> None:
        now = clock.now()
        sealed = seal(self._edge, _LABEL, holder.owner_id, {"hash": hashed, "secret": secret.hex()})
        await connection.execute(queries.SET_CHOSEN, holder.owner_id, sealed, step, now)
        await Audit(self._edge).account_changed(connection, holder.address, holder.owner_id, "password-set")
        await alerts.add(connection, self._edge, holder.owner_id, Happened(Alert.PROOF, now, "", ""))

    async def _used_recovery_code(self, owner_id: int, account: str) -> None:
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            await connection.execute(queries.MARK_CHOSEN, owner_id, clock.now().date())
            await Audit(self._edge).account_changed(connection, account, owner_id, "recovery-code-used")

    async def _warn(self, owner_id: int, attempt: Attempt, network: str) -> None:
        """Tell the holder, once a day, that somebody guesses."""
        if attempt.first_guessed and owner_id:
            await alerts.add(self._pool, self._edge, owner_id, Happened(Alert.GUESSES, clock.now(), "", network))

    def _recovery(self, owner_id: int, code: str) -> bytes:
        return keyed(self._edge, "recovery code", owner_id, code)
