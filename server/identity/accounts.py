"""Sign-in to a mailbox by whatever proves it, and the making of app passwords.

Rules:
- An app password, the hot one (practice software signs in at every poll), is one indexed question and microseconds.
- Whatever is wrong (mailbox, password, token, certificate, right), the answer is one, BAD_CREDENTIALS, and counted.
- Who names another mailbox than their own opens it by a delegation that holds now and gives what the edge is for.
- What proves a person for minutes, or for another's mailbox, opens a session that ends.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import cast

import asyncpg

from crypto import blind_index
from crypto.edge import EdgeKeys
from crypto.pki import client
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.limits import SIGN_IN_SESSION_SECONDS
from server.db.gathered import Gathered
from server.db.pool import AWAY, FULL, trouble
from server.identity import certificates, delegations, queries, sasl
from server.identity.facility.sign_in import FacilityTokens
from server.identity.facility.tokens import PREFIX
from server.identity.holders import WARNING
from server.identity.local import alerts
from server.identity.local.alerts import Happened
from server.identity.local.model import Alert
from server.identity.model import Delegate, Principal, Rights
from server.identity.passwords import app_password_hash, generate_app_password
from server.identity.throttle import Throttle
from server.identity.tokens import ProviderTokens
from server.mail.addresses import normalise
from server.trust.space import TrustSpace

_REFUSED = "Address or password not accepted."
_PROOF_LABEL = b"credential 1\0"
_SESSION = timedelta(seconds=SIGN_IN_SESSION_SECONDS)


@dataclass(frozen=True, slots=True)
class Made:
    """An app password that was made, for its holder's list: nothing of the password; `used_on` None: never."""

    number: int
    label: str
    made_at: datetime
    used_on: date | None


class Accounts:
    """The mailboxes that may sign in."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        edge: EdgeKeys,
        *,
        tokens: ProviderTokens | None = None,
        facilities: FacilityTokens | None = None,
        trust: TrustSpace | None = None,
        needs: Rights = Rights.READ,
    ) -> None:
        """`tokens` asks identity providers, `facilities` knows tokens of ours for a facility's people, where there are
        any; `trust` knows what is revoked; `needs` is what a delegate must be allowed at this edge."""
        self._pool = pool
        self._edge = edge
        self._tokens = tokens
        self._facilities = facilities
        self._trust = trust
        self._needs = needs
        self._throttle = Throttle(pool, edge.credential)
        self._by_hash = Gathered(self._find)

    def mechanisms(self, shown: Sequence[bytes] = ()) -> tuple[str, ...]:
        """The SASL mechanisms to offer to a client that showed this certificate with its path (DER), or none."""
        external = (sasl.EXTERNAL,) if shown else ()
        bearer = (sasl.XOAUTH2, sasl.OAUTHBEARER) if self._tokens or self._facilities else ()
        return (sasl.PLAIN, *external, *bearer)

    async def sign_in(self, given: sasl.Given, network: str, shown: Sequence[bytes] = ()) -> Principal:
        """Who this is. `network` is the peer's IP address, `shown` its certificate and path (DER) as TLS verified them.

        Raises Refused(BAD_CREDENTIALS), the same in word and time for an unknown address and a wrong password;
        TryLater(THROTTLED) in its place after too many; TryLater(STORE_AWAY, REVOCATION_UNKNOWN).
        """
        account = given.address if isinstance(given, sasl.AppPassword) else given.mailbox
        return await self._counted(self._proven(given, network, shown), account, network)

    async def holder(self, token: str, network: str) -> Principal:
        """Whose token this is, for what opens no mailbox: as the first of the person's own, a patient's last.

        Raises as `sign_in`.
        """
        return await self._counted(self._holder(token), "", network)

    async def _holder(self, token: str) -> Principal | None:
        if self._facilities and token.startswith(PREFIX):
            return await self._facilities.opened(token, "", self._needs)
        person = await self._tokens.verify(token) if self._tokens and token else None
        row = await self._pool.fetchrow(queries.FIRST_OF, list(person.owner_ids)) if person else None
        return Principal(row["owner_id"], person.name, row["kind"], person.how) if person and row else None

    async def _counted(self, proof: Awaitable[Principal | None], account: str, network: str) -> Principal:
        try:
            principal = await proof
            if principal is not None:
                return principal
            throttled = await self._throttle.failed(normalise(account), network)
        except (*AWAY, *FULL) as error:
            raise (trouble(error) or TryLater(Reason.STORE_AWAY, "Sign-in is not possible now.")) from error
        if throttled:
            raise TryLater(Reason.THROTTLED, "Too many failed sign-ins from this network.")
        raise Refused(Reason.BAD_CREDENTIALS, _REFUSED)

    async def _proven(self, given: sasl.Given, network: str, shown: Sequence[bytes]) -> Principal | None:
        if isinstance(given, sasl.AppPassword):
            own = await self._app_password(normalise(given.address), given.password, network)
            mailbox = normalise(given.mailbox)
            if own is None or mailbox in ("", own.address):
                return own
            return await self._opened(mailbox, (own.owner_id,), own.address, own.how)
        if isinstance(given, sasl.Bearer):
            if self._facilities and given.token.startswith(PREFIX):
                return await self._facilities.opened(given.token, normalise(given.mailbox), self._needs)
            person = await self._tokens.verify(given.token) if self._tokens and given.token else None
            if person is None:
                return None
            return await self._opened(normalise(given.mailbox), person.owner_ids, person.name, person.how)
        return await self._certificate(normalise(given.mailbox), shown) if shown else None

    async def _app_password(self, account: str, password: str, network: str) -> Principal | None:
        hashed = app_password_hash(self._edge.credential, password)
        row = await self._by_hash.ask((hashed, blind_index.token(self._edge.address, account)))
        if row is None or not hmac.compare_digest(row["proof"], self._proof(row["owner_id"], hashed)):
            return None
        today = clock.now().date()
        if row["used_on"] != today:
            await self._pool.execute(queries.MARK_USED, row["owner_id"], row["credential_id"], today)
        if row["used_on"] is None and row["tells"]:
            happened = Happened(Alert.PROGRAM, clock.now(), row["label"], network)
            await alerts.add(self._pool, self._edge, row["owner_id"], happened)
        return Principal(row["owner_id"], account, row["kind"], "app-password")

    async def _find(self, wanted: list[tuple[bytes, bytes]]) -> list[asyncpg.Record | None]:
        found: list[asyncpg.Record | None] = [None] * len(wanted)
        hashes, tokens = map(list, zip(*wanted, strict=True))
        for row in await self._pool.fetch(queries.BY_HASH, hashes, tokens, clock.now() - WARNING):
            found[row["question"] - 1] = row
        return found

    async def _certificate(self, mailbox: str, shown: Sequence[bytes]) -> Principal | None:
        now = clock.now()
        try:
            certificate = client.read(shown[0], now)
        except client.ClientCertificateError:
            return None
        opened = await certificates.mailboxes(self._pool, self._edge, certificate.key_hash)
        # RFC 4422 Appendix A.1: without an authzid the identity is the certificate's, where it has only one here.
        named = [one for one in opened if one[1] == mailbox or not mailbox]
        if len(named) != 1 or (self._trust is not None and certificates.is_revoked(self._trust, shown, now)):
            return None
        owner_id, address = named[0]
        return Principal(owner_id, address, certificates.KINDS[0], "client-certificate")

    async def _opened(self, mailbox: str, people: Sequence[int], name: str, how: str) -> Principal | None:
        """The mailbox named, as one of `people` (numbers of their own mailboxes) may open it."""
        now = clock.now()
        token = blind_index.token(self._edge.address, mailbox)
        for row in await self._pool.fetch(queries.OPENED_BY, token, list(people), now):
            if row["owner_id"] in people:
                return Principal(row["owner_id"], mailbox, row["kind"], how, until=now + _SESSION)
            rights = delegations.rights_in(self._edge, row)
            if self._needs & rights:
                until = min(now + _SESSION, row["until"] or now + _SESSION)
                delegate = Delegate(row["delegate_id"], name, rights)
                return Principal(row["owner_id"], mailbox, row["kind"], how, delegate, until)
        return None

    async def new_app_password(self, owner_id: int, label: str, holder: str = "") -> str:
        """A new app password of a mailbox: shown once, never stored. `holder`: who makes it for themselves; its first
        use is told to them.
        """
        return (await self.new_app_passwords([owner_id], label, holder))[0]

    async def new_app_passwords(self, owner_ids: Sequence[int], label: str, holder: str = "") -> list[str]:
        """One new app password for each mailbox, in order, in one transaction (thousands at once)."""
        passwords = [generate_app_password() for _ in owner_ids]
        hashes = [app_password_hash(self._edge.credential, password) for password in passwords]
        proofs = [self._proof(owner_id, given) for owner_id, given in zip(owner_ids, hashes, strict=True)]
        async with self._pool.acquire() as connection, connection.transaction():
            values = (list(owner_ids), hashes, proofs, label, clock.now(), bool(holder))
            await connection.execute(queries.ADD_CREDENTIALS, *values)
            audit = Audit(self._edge)
            await audit.app_passwords_made(cast(asyncpg.Connection, connection), holder or "operator", owner_ids, label)
        return passwords

    async def app_passwords(self, owner_id: int) -> list[Made]:
        """The mailbox's app passwords, the oldest first."""
        return [Made(*row) for row in await self._pool.fetch(queries.CREDENTIALS, owner_id)]

    async def revoke_app_password(self, owner_id: int, credential_id: int, actor: str = "operator") -> bool:
        """Sign nobody in with it any more; False when the mailbox has none of this number."""
        async with self._pool.acquire() as connection, connection.transaction():
            label = await connection.fetchval(queries.REVOKE_CREDENTIAL, owner_id, credential_id, clock.now())
            if label is not None:
                audit = Audit(self._edge)
                await audit.app_password_revoked(cast(asyncpg.Connection, connection), actor, owner_id, label)
        return label is not None

    def _proof(self, owner_id: int, given: bytes) -> bytes:
        message = _PROOF_LABEL + owner_id.to_bytes(8, "big") + given
        return hmac.digest(self._edge.credential, message, hashlib.sha256)
