"""Follows what is kept of the trust space: a new list or revocation is known to every worker within seconds.

Each worker asks the database for newer ones and checks their signatures itself, so that who writes to the database
alone adds no operator. A list is judged at the moment it was accepted: the last good one stays good when its signer's
certificate ends. While the database is away, what is known goes on to hold.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, cast

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.pki.crl import Crl
from crypto.pki.ocsp import OcspAnswer
from crypto.pki.revocation import Knowledge
from crypto.pki.standing import Unusable
from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.base.sections import Trust
from server.db.pool import trouble
from server.trust import queries
from server.trust.signature import NotSigned, signed_root
from server.trust.sources import pinned_signer
from server.trust.space import TrustSpace
from server.trust.white_list import NoList, WhiteList, read

POLL_SECONDS: Final = 2.0
_INS = re.compile(r"[0-9]{6}[0-9AB][0-9]{6}(?:[0-9]{2})?@")  # with its key or without


class Follower:
    """Keeps one process's TrustSpace up to date."""

    def __init__(self, pool: asyncpg.Pool, settings: Trust, anchors: TrustAnchors, log: Any) -> None:
        """Raises DistinguishedNameError: a name in `trust.members` is none."""
        strict = settings.revocation == "require"
        # the verdicts on messages ask the same knowledge
        self.space = TrustSpace(settings.members, strict=strict, revocations=anchors.revocations)
        self._pool = pool
        self._settings = settings
        self._signed = anchors  # tells of signers whose revocation nobody knows
        self._anchors = TrustAnchors(anchors.certificates)  # its memory is not shared: lists are read in a thread
        self._log = log
        self.signer: tuple[x509.Certificate, ...] = ()  # the path of who signed the list, to its anchor
        self._list_id = 0
        self._revision = 0
        self._loop: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, pool: asyncpg.Pool, settings: Trust, anchors: TrustAnchors, log: Any) -> Follower:
        """Know what is kept now, and follow it from now on."""
        follower = cls(pool, settings, anchors, log)
        await follower.look()
        follower._loop = asyncio.create_task(follower._follow(), name="trust")
        return follower

    async def close(self) -> None:
        """Follow no more."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.look()
            except Exception as error:  # whatever it meets, what is known goes on to hold
                self._log.warning("trust_waits" if trouble(error) is not None else "trust_failed", error=error)

    async def look(self) -> None:
        """Take what is new, and tell whose certificates were seen."""
        async with self._pool.acquire() as acquired:
            connection = cast(asyncpg.Connection, acquired)
            ((list_id, revision),) = await connection.fetch(queries.NEWEST)
            if (revision or 0) > self._revision:
                await self._learn(connection)
            if self._settings.white_list and (list_id or 0) > self._list_id:
                await self._take_list(connection)
            while self._signed.open_paths:
                path = self._signed.open_paths.popitem()[1]
                if not _names_a_patient(path[0]):
                    self.space.note(path, clock.now().date())
            while self.space.to_note:
                fingerprint, path = next(iter(self.space.to_note.items()))
                ders = [certificate.public_bytes(Encoding.DER) for certificate in path]
                await connection.execute(queries.NOTE_PEER, fingerprint, ders, clock.now().date())
                del self.space.to_note[fingerprint]

    async def _learn(self, connection: asyncpg.Connection) -> None:
        issuers = [*self._anchors.certificates, *self.space.issuers()]
        for row in await connection.fetch(queries.REVOCATIONS, self._revision):
            try:
                if row["kind"] == "crl":
                    found: Knowledge = await asyncio.to_thread(_read_crl, row["document"], row["source"], issuers)
                else:
                    found = OcspAnswer.parse(row["document"], row["source"])
                self.space.revocations.learn(found)
            except Unusable as error:
                self._log.error("revocation_damaged", source=row["source"], why=str(error))
            self._revision = row["revision"]
        self._log.info("revocations_taken", revision=self._revision)

    async def _take_list(self, connection: asyncpg.Connection) -> None:
        (row,) = await connection.fetch(queries.NEWEST_LIST)
        self._list_id = row["list_id"]
        try:
            found = await asyncio.to_thread(self._read, row["document"], row["accepted_at"])
        except (NotSigned, NoList) as error:
            self._log.error("white_list_damaged", list_id=self._list_id, why=str(error))
            return
        known = self.space.white_list
        if known is not None and found.generated_at < known.generated_at:
            self._log.error("white_list_damaged", list_id=self._list_id, why="it is older than the one before")
            return
        self.space.replace(found)
        self._log.info("white_list_taken", list_id=self._list_id, entries=len(found.entries))

    def _read(self, document: bytes, accepted_at: datetime) -> WhiteList:
        def note(path: tuple[x509.Certificate, ...]) -> None:
            self.signer = path

        return read(signed_root(document, self._anchors, pinned_signer(self._settings), accepted_at, note))


def _read_crl(document: bytes, source: str, issuers: Sequence[x509.Certificate]) -> Crl:
    """A list, its signature checked here where it delays no mail (10 MB take 0.2 s): it remembers the outcome."""
    found = Crl.parse(document, source)
    for issuer in issuers:
        if issuer.subject == found.about:
            found.signed_by(issuer)
    return found


def _names_a_patient(certificate: x509.Certificate) -> bool:
    """Whether an address in it holds an INS, or cannot be read: such a certificate stands nowhere in clear. What its
    authority publishes comes by the settings and by others that it certified."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    except ValueError:
        return True
    return any(_INS.match(address) for address in names.get_values_for_type(x509.RFC822Name))
