"""What is kept of the trust space, in the database: the last good white list, the last good revocation lists.

Invariants:
- What is kept was verified; what does not pass leaves the last good one where it is and says why (Rejected).
- A list never goes back in time, and never loses a large share of its domains without an operator's word.
- Writers take turns (one lock), so that readers see revisions in commit order.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog
from cryptography import x509

from crypto.pki.crl import Crl
from crypto.pki.ocsp import OcspAnswer
from crypto.pki.standing import CLOCK_LEEWAY, Unusable
from crypto.smime.anchors import TrustAnchors
from server.base.errors import CaduceeError
from server.base.sections import Trust
from server.trust import queries
from server.trust.signature import NotSigned, signed_root
from server.trust.sources import pinned_signer
from server.trust.space import TrustSpace
from server.trust.white_list import NoList, WhiteList, read

FUTURE = timedelta(days=1)  # a list dated further ahead would make every next one "older"
DOCUMENTS = 10  # lists whose document stays

log = structlog.get_logger()


class Rejected(Exception):
    """What came is not kept; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a new list changed, rows of (domain, name), when there was one before; `left_out`: rows of it that cannot be
    read."""

    before: bool
    added: Collection[tuple[str, str]]
    removed: Collection[tuple[str, str]]
    left_out: int


class Keeper:
    """Judges what comes and keeps it. `space`: what is known of revocation, for the signer of the list."""

    def __init__(self, settings: Trust, anchors: TrustAnchors, space: TrustSpace) -> None:
        self._settings = settings
        self._anchors = TrustAnchors(anchors.certificates)  # its memory is not shared: lists are judged in a thread
        self._space = space
        self.signer: tuple[x509.Certificate, ...] = ()  # whom the list seen last leads to its anchor by

    async def white_list(
        self, connection: asyncpg.Connection, document: bytes, source: str, now: datetime, *, accept_loss: bool = False
    ) -> Change | None:
        """Keep a list; None when it is the one that is kept. Raises Rejected."""
        found = await asyncio.to_thread(self._verified, document, now)
        digest = hashlib.sha256(document).digest()
        async with connection.transaction():
            await connection.execute(queries.LOCK)
            newest = await connection.fetchrow(queries.NEWEST_LIST)
            if newest is not None and newest["digest"] == digest:
                return None
            before = None if newest is None else await asyncio.to_thread(self._kept, newest)
            _check_time(found, before, now)
            if before is not None and not accept_loss:
                self._check_loss(found, before)
            list_id = await connection.fetchval(
                queries.ADD_LIST, source, found.generated_at, now, digest, len(found.entries), document
            )
            change = _change(found, before)
            if change.before:
                await _add_changes(connection, list_id, change)
            await connection.execute(queries.DROP_DOCUMENTS, list_id, DOCUMENTS)
        return change

    def _verified(self, document: bytes, now: datetime) -> WhiteList:
        def objection(path: tuple[x509.Certificate, ...]) -> CaduceeError | None:
            self.signer = path
            return self._space.objection(path, now)

        try:
            return read(signed_root(document, self._anchors, pinned_signer(self._settings), now, objection))
        except (NotSigned, NoList) as error:
            raise Rejected(f"{error}.") from None

    def _kept(self, row: asyncpg.Record) -> WhiteList | None:
        """The list that is kept; None when it does not hold: somebody wrote to the database, or the anchors changed."""
        try:
            root = signed_root(row["document"], self._anchors, pinned_signer(self._settings), row["accepted_at"])
            return read(root)
        except (NotSigned, NoList) as error:
            log.error("white_list_damaged", list_id=row["list_id"], why=str(error))
            return None

    def _check_loss(self, found: WhiteList, before: WhiteList) -> None:
        lost, known = len(before.domains() - found.domains()), len(before.domains())
        most = self._settings.largest_loss_percent
        if lost * 100 > most * known:
            raise Rejected(
                f"it lost {lost} of {known} domains, more than {most} %: if that is right, "
                "`caducee trust refresh --accept-loss` takes it."
            )


def _check_time(found: WhiteList, before: WhiteList | None, now: datetime) -> None:
    if found.generated_at > now + FUTURE:
        raise Rejected(f"it says it was made in the future ({found.generated_at.isoformat()}).")
    if before is None or found.generated_at > before.generated_at:
        return
    kept = before.generated_at.isoformat()
    if found.generated_at == before.generated_at:
        raise Rejected(f"it is another list of the same moment as the one that is kept ({kept}).")
    raise Rejected(f"it is older ({found.generated_at.isoformat()}) than the one that is kept ({kept}).")


def _change(found: WhiteList, before: WhiteList | None) -> Change:
    old = frozenset[tuple[str, str]]() if before is None else before.keys()
    new = found.keys()
    return Change(before is not None, sorted(new - old), sorted(old - new), found.left_out)


async def _add_changes(connection: asyncpg.Connection, list_id: int, change: Change) -> None:
    rows = [(True, *row) for row in change.added] + [(False, *row) for row in change.removed]
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    await connection.execute(queries.ADD_CHANGES, list_id, *map(list, columns))


async def keep_crl(
    connection: asyncpg.Connection, document: bytes, source: str, issuers: Iterable[x509.Certificate], now: datetime
) -> bool:
    """Keep a revocation list that one of `issuers` signed; False when it is the one that is kept. Raises Rejected."""
    try:
        found = Crl.parse(document, source)
    except Unusable as error:
        raise Rejected(f"{error}.") from None
    if not any(found.signed_by(issuer) for issuer in issuers):
        raise Rejected("it is signed by no authority that is known here: put the authority into trust.anchors.")
    return await _keep(connection, "crl", found, document, now)


async def keep_ocsp(
    connection: asyncpg.Connection,
    document: bytes,
    source: str,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
    nonce: bytes = b"",
) -> bool:
    """Keep a responder's answer about a certificate, to the question with this `nonce`; False when it is the one that
    is kept. Raises Rejected."""
    try:
        found = OcspAnswer.parse(document, source)
    except Unusable as error:
        raise Rejected(f"{error}.") from None
    if nonce and not found.answers(nonce):
        raise Rejected("it is the answer to another question (nonce).")
    if found.answer(certificate, issuer, now) is None:
        raise Rejected("it is not about this certificate, or not signed by who may say it.")
    return await _keep(connection, "ocsp", found, document, now)


async def _keep(
    connection: asyncpg.Connection, kind: str, found: Crl | OcspAnswer, document: bytes, now: datetime
) -> bool:
    async with connection.transaction():
        await connection.execute(queries.LOCK)
        kept = await connection.fetchrow(queries.REVOCATION, found.source)
        if kept is not None and kept["document"] == document:
            return False
        if kept is not None and kept["this_update"] > found.this_update:
            raise Rejected(f"it is older ({found.this_update.isoformat()}) than the one that is kept.")
        if found.this_update > now + CLOCK_LEEWAY:
            raise Rejected(f"it says it was made in the future ({found.this_update.isoformat()}).")
        times = (found.this_update, found.next_update)
        await connection.execute(queries.KEEP_REVOCATION, found.source, kind, *times, document)
    return True
