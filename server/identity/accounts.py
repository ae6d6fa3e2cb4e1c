"""Sign-in by app password, and the making of app passwords."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import asyncpg

from crypto import blind_index
from crypto.edge import EdgeKeys
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.db.pool import AWAY, FULL, trouble
from server.identity import queries
from server.identity.model import Principal
from server.identity.passwords import app_password_hash, generate_app_password
from server.identity.throttle import Throttle
from server.mail.addresses import normalise

_REFUSED = "Address or password not accepted."
_PROOF_LABEL = b"credential 1\0"


class Accounts:
    """The mailboxes that may sign in."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge
        self._throttle = Throttle(pool, edge.credential)

    async def app_password(self, address: str, password: str, network: str) -> Principal:
        """Who this is. `network` is the peer's IP address.

        Raises Refused(BAD_CREDENTIALS), the same in word and time for an unknown address and a wrong password;
        TryLater(THROTTLED) in its place after too many; TryLater(STORE_AWAY).
        """
        account = normalise(address)
        given = app_password_hash(self._edge.credential, password)
        token = blind_index.token(self._edge.address, account)
        try:
            row = await self._pool.fetchrow(queries.BY_HASH, given, token)
            if row is not None and hmac.compare_digest(row["proof"], self._proof(row["owner_id"], given)):
                today = clock.now().date()
                if row["used_on"] != today:
                    await self._pool.execute(queries.MARK_USED, row["owner_id"], row["credential_id"], today)
                return Principal(row["owner_id"], account, row["kind"], "app-password")
            throttled = await self._throttle.failed(account, network)
        except (*AWAY, *FULL) as error:
            raise (trouble(error) or TryLater(Reason.STORE_AWAY, "Sign-in is not possible now.")) from error
        if throttled:
            raise TryLater(Reason.THROTTLED, "Too many failed sign-ins from this network.")
        raise Refused(Reason.BAD_CREDENTIALS, _REFUSED)

    async def new_app_password(self, owner_id: int, label: str) -> str:
        """A new app password of a mailbox: shown once, never stored."""
        return (await self.new_app_passwords([owner_id], label))[0]

    async def new_app_passwords(self, owner_ids: Sequence[int], label: str) -> list[str]:
        """One new app password for each mailbox, in order, in one statement (thousands at once)."""
        passwords = [generate_app_password() for _ in owner_ids]
        hashes = [app_password_hash(self._edge.credential, password) for password in passwords]
        proofs = [self._proof(owner_id, given) for owner_id, given in zip(owner_ids, hashes, strict=True)]
        await self._pool.execute(queries.ADD_CREDENTIALS, list(owner_ids), hashes, proofs, label, clock.now())
        return passwords

    def _proof(self, owner_id: int, given: bytes) -> bytes:
        message = _PROOF_LABEL + owner_id.to_bytes(8, "big") + given
        return hmac.digest(self._edge.credential, message, hashlib.sha256)
