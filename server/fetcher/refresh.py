"""One round of fetching: revocation lists, the white list, then answers about those certificates that no list covers.

Each source stands for itself: what fails is written down with its reason, tried again soon, and leaves what is kept
where it is. What was fetched is judged by server.trust.keeping.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import asyncpg
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from crypto.pki.crl import CRL_BYTES, list_urls
from crypto.pki.ocsp import NONCE_BYTES, OCSP_BYTES, request_bytes, responder_url
from crypto.pki.path import UNREADABLE
from crypto.pki.standing import Status, Unusable
from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.base.https import NotFetched
from server.base.metrics import FETCHES
from server.base.settings import Settings
from server.base.tls import client_context
from server.fetcher.http import Fetched, fetch
from server.trust import queries
from server.trust.follow import Follower
from server.trust.keeping import Change, Keeper, Rejected, keep_crl, keep_ocsp
from server.trust.signature import DOCUMENT_BYTES
from server.trust.sources import is_url
from server.trust.state import PEERS

WHITE_LIST, CRL, OCSP = "white-list", "crl", "ocsp"
AGAIN: Final = timedelta(minutes=5)  # after a failure
SOURCES: Final = 200  # lists fetched: an authority publishes one or two
AT_ONCE: Final = 8
FORGOTTEN_AFTER: Final = timedelta(days=90)  # peers not seen, sources not asked for

Pair = tuple[x509.Certificate, x509.Certificate]  # a certificate and its issuer
Keep = Callable[[asyncpg.Connection, bytes], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one source: `failure` says why it did not pass; `change`: what a new white list changed."""

    source: str
    kind: str
    changed: bool = False
    failure: str = ""
    change: Change | None = None


class Refresher:
    """Fetches for one process. Its own `follower` knows what is kept."""

    def __init__(self, pool: asyncpg.Pool, settings: Settings, anchors: TrustAnchors, log: Any) -> None:
        self.follower = Follower(pool, settings.trust, anchors, log)
        self._pool = pool
        self._settings = settings
        self._anchors = anchors
        self._log = log
        self._keeper = Keeper(settings.trust, anchors, self.follower.space)
        self._tls: ssl.SSLContext = client_context(*(settings.path(one) for one in settings.trust.anchors))
        self._every = timedelta(minutes=settings.fetcher.refresh_minutes)
        self._room = asyncio.Semaphore(AT_ONCE)

    async def round(self, *, all_of_them: bool = False, accept_loss: bool = False) -> list[Outcome]:
        """Fetch what is due, or all; what became of each. `accept_loss`: a white list may have lost many domains."""
        await self.follower.look()
        due = await self._due(all_of_them)
        pairs = await self._pairs()
        issuers = [*self._anchors.certificates, *(issuer for _, issuer in pairs)]
        outcomes = await asyncio.gather(*(self._crl(url, issuers) for url in self._lists(pairs) if due(url)))
        await self.follower.look()
        source = self._settings.trust.white_list
        if source and due(source):
            outcomes.append(await self._white_list(source, accept_loss))
            pairs = await self._pairs()  # the signer's own authority may be new to us
        questions = [(certificate, issuer) for certificate, issuer in pairs if self._is_open(certificate, issuer)]
        asked = [(url, *pair) for pair in questions if (url := responder_url(pair[0])) and due(_named(url, pair[0]))]
        outcomes += await asyncio.gather(*(self._ocsp(*one) for one in asked))
        await self.follower.look()
        return outcomes

    async def forget(self) -> None:
        """Drop peers that were not seen for long, and what was long not asked for."""
        since = clock.now() - FORGOTTEN_AFTER
        async with self._connection() as connection, connection.transaction():
            await connection.execute(queries.LOCK)
            await connection.execute(queries.FORGET_PEERS, since.date())
            await connection.execute(queries.FORGET_SOURCES, since)
            await connection.execute(queries.FORGET_REVOCATIONS)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._pool.acquire() as acquired:
            yield cast(asyncpg.Connection, acquired)

    # What is to be fetched

    async def _due(self, all_of_them: bool) -> Callable[[str], bool]:
        async with self._connection() as connection:
            rows = {row["source"]: row for row in await connection.fetch(queries.SOURCES)}
        now = clock.now()

        def due(source: str) -> bool:
            row = rows.get(source)
            if row is None or all_of_them:
                return True
            return bool(row["tried_at"] + (min(AGAIN, self._every) if row["failure"] else self._every) <= now)

        return due

    async def _pairs(self) -> list[Pair]:
        """Certificates that are to be known about, each with its issuer: of peers, and of who signs the white list."""
        async with self._connection() as connection:
            rows = await connection.fetch(queries.PEERS, PEERS)
        paths = [path for row in rows if (path := self._path(row["path"]))]
        paths += [self._keeper.signer, self.follower.signer]
        found = {pair[0].fingerprint(hashes.SHA256()): pair for path in paths for pair in pairwise(path)}
        return list(found.values())

    def _path(self, ders: list[bytes]) -> tuple[x509.Certificate, ...]:
        """A peer's path to the end, judged again: what stands in the database proves nothing."""
        try:
            path = tuple(x509.load_der_x509_certificate(der) for der in ders)
            if not self._anchors.trusts(path[0], ders[0], ders[1:], clock.now()):
                return ()
            for certificate, issuer in pairwise(path):
                certificate.verify_directly_issued_by(issuer)
        except (*UNREADABLE, InvalidSignature, IndexError):
            return ()
        return path

    def _lists(self, pairs: Iterable[Pair]) -> list[str]:
        named = [url for certificate, _ in pairs for url in list_urls(certificate)]
        return list(dict.fromkeys([*self._settings.trust.crls, *named]))[:SOURCES]

    def _is_open(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether no list answers for it: nothing is known, or only by an earlier answer."""
        answer = self.follower.space.revocations.standing(certificate, issuer, clock.now())
        return answer.status is Status.UNKNOWN or answer.source == _named(responder_url(certificate) or "", certificate)

    # Fetching

    async def _crl(self, source: str, issuers: list[x509.Certificate]) -> Outcome:
        async def keep(connection: asyncpg.Connection, data: bytes) -> bool:
            return await keep_crl(connection, data, source, issuers, clock.now())

        return await self._one(CRL, source, keep, CRL_BYTES, conditional=source in self._sources())

    async def _white_list(self, source: str, accept_loss: bool) -> Outcome:
        changes: list[Change] = []

        async def keep(connection: asyncpg.Connection, data: bytes) -> bool:
            found = await self._keeper.white_list(connection, data, source, clock.now(), accept_loss=accept_loss)
            changes.extend([found] if found is not None else [])
            return found is not None

        known = self.follower.space.white_list is not None
        outcome = await self._one(WHITE_LIST, source, keep, DOCUMENT_BYTES, conditional=known)
        if not changes:
            return outcome
        change = changes[0]
        counts = {"added": len(change.added), "removed": len(change.removed), "left_out": change.left_out}
        self._log.info("white_list_kept", **counts)
        return Outcome(source, WHITE_LIST, True, change=change)

    async def _ocsp(self, url: str, certificate: x509.Certificate, issuer: x509.Certificate) -> Outcome:
        source, nonce = _named(url, certificate), os.urandom(NONCE_BYTES)

        async def keep(connection: asyncpg.Connection, data: bytes) -> bool:
            return await keep_ocsp(connection, data, source, certificate, issuer, clock.now(), nonce)

        try:
            # RFC 6960 appendix A.1
            post = ("application/ocsp-request", request_bytes(certificate, issuer, nonce))
        except Unusable as error:
            return Outcome(source, OCSP, failure=str(error))
        return await self._one(OCSP, source, keep, OCSP_BYTES, conditional=False, post=post)

    def _sources(self) -> frozenset[str]:
        return self.follower.space.revocations.sources()

    async def _one(
        self,
        kind: str,
        source: str,
        keep: Keep,
        largest: int,
        *,
        conditional: bool,
        post: tuple[str, bytes] | None = None,
    ) -> Outcome:
        """Fetch a source and keep it; what came of it is written down."""
        now = clock.now()
        async with self._connection() as connection:
            row = await connection.fetchrow(queries.SOURCE, source)
        validator = row["validator"] if row is not None and conditional else ""
        try:
            async with self._room:
                fetched = await self._read(source, largest, validator, post)
            async with self._connection() as connection:
                changed = fetched.data is not None and await keep(connection, fetched.data)
                await connection.execute(queries.SUCCEEDED, source, kind, now, fetched.validator or validator)
        except (NotFetched, Rejected) as error:
            async with self._connection() as connection:
                await connection.execute(queries.FAILED, source, kind, now, str(error))
            FETCHES.labels(kind, "refused").inc()
            self._log.warning("fetch_refused", kind=kind, source=source, why=str(error))
            return Outcome(source, kind, failure=str(error))
        FETCHES.labels(kind, "changed" if changed else "same").inc()
        return Outcome(source, kind, changed)

    async def _read(self, source: str, largest: int, validator: str, post: tuple[str, bytes] | None) -> Fetched:
        if is_url(source):
            return await fetch(source.partition("#")[0], self._tls, largest, validator=validator, post=post)
        return Fetched(await asyncio.to_thread(_file, self._settings.path(Path(source)), largest), "")


def _named(url: str, certificate: x509.Certificate) -> str:
    """The source of an answer: the responder, and the certificate that it was asked about."""
    return f"{url}#{certificate.fingerprint(hashes.SHA256()).hex()[:32]}"


def _file(path: Path, largest: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise NotFetched(f"the file cannot be read ({error.strerror}).") from None
    if len(data) > largest:
        raise NotFetched("the document is too large.")
    return data
