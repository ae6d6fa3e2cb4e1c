"""The trust anchors of a process, with the paths lately found to them.

A result is kept: a good one for the time in which all its certificates are valid, a bad one for an hour. The memory is
bounded, so a flood of strange certificates costs only their own checks.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import Store

from crypto.errors import CryptoError
from crypto.pki.crl import list_urls
from crypto.pki.path import Found, find
from crypto.pki.revocation import Revocations

CACHED_PATHS = 4_096  # signers seen lately; an entry is about 5 KB, its certificates
OPEN_PATHS = 256  # signers whose revocation is not known, waiting to be told to who fetches
ANCHOR_FILE_BYTES = 16 * 1024 * 1024  # a bundle of all public roots is 0.3 MB


class TrustAnchors:
    """The roots that are trusted. One object a process."""

    def __init__(
        self,
        certificates: Iterable[x509.Certificate],
        policies: Iterable[str] = (),
        stampers: TrustAnchors | None = None,
        *,
        strict: bool = False,
    ) -> None:
        """`policies`: OIDs of which a signer's certificate must be of one; of any where there are none. `stampers`: the
        anchors of time stamps, where they are others. `strict`: no signer passes whose revocation is unknown."""
        self.stampers = stampers or self
        self.strict = strict
        self._policies = frozenset(policies)
        if self._policies:
            # Now: a process that is sealed later reads no file more.
            from crypto.pki.policies import holds

            self._is_of = holds
        self.certificates = tuple(certificates)
        if not self.certificates:
            raise CryptoError("no trust anchor: at least one root certificate is needed")
        self._store = Store(list(self.certificates))
        self.revocations = Revocations()  # what is known; who follows the trust space teaches it
        self.open_paths: dict[x509.Certificate, tuple[x509.Certificate, ...]] = {}  # who tells of one takes it out
        self._of_policy: dict[tuple[x509.Certificate, ...], bool] = {}
        self._noted: dict[x509.Certificate, date] = {}
        self._found: OrderedDict[bytes, Found] = OrderedDict()

    @classmethod
    def load(
        cls,
        paths: Iterable[Path],
        policies: Iterable[str] = (),
        stampers: TrustAnchors | None = None,
        *,
        strict: bool = False,
    ) -> TrustAnchors:
        """Read PEM files, each with one certificate or more. Raises `CryptoError` that names the file."""
        certificates: list[x509.Certificate] = []
        for path in paths:
            try:
                with path.open("rb") as file:
                    certificates += x509.load_pem_x509_certificates(file.read(ANCHOR_FILE_BYTES))
            except (OSError, ValueError) as error:
                raise CryptoError(f"{path}: no certificates can be read from it ({type(error).__name__})") from None
        return cls(certificates, policies, stampers, strict=strict)

    def trusts(self, leaf: x509.Certificate, leaf_der: bytes, others: Sequence[bytes], now: datetime) -> bool:
        """Whether `leaf` leads to an anchor at `now`, with `others` (DER) as possible intermediates."""
        return bool(self.path(leaf, leaf_der, others, now))

    def path(
        self, leaf: x509.Certificate, leaf_der: bytes, others: Sequence[bytes], now: datetime
    ) -> tuple[x509.Certificate, ...]:
        """The path from `leaf` to an anchor at `now`, both included; empty where there is none."""
        digest = hashlib.sha256(leaf_der)
        for other in others:
            digest.update(hashlib.sha256(other).digest())
        key = digest.digest()
        found = self._found.get(key)
        if found is None or not found.since <= now <= found.until:
            found = find(self._store, leaf, others, now)
            self._found[key] = found
            if len(self._found) > CACHED_PATHS:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return found.path

    def is_of_policy(self, path: tuple[x509.Certificate, ...], moment: datetime) -> bool:
        """Whether a path that was found is of the policies asked for. (Time is judged with the path itself.)"""
        if not self._policies:
            return True
        if path not in self._of_policy:
            if len(self._of_policy) >= CACHED_PATHS:
                self._of_policy.clear()
            self._of_policy[path] = self._is_of(path, self._policies, moment)
        return self._of_policy[path]

    def note_open(self, path: tuple[x509.Certificate, ...], now: datetime) -> None:
        """Nobody knows whether this path to an anchor is revoked: who fetches should ask. One signer a day stands for
        all of its authority where that publishes a list."""
        leaf, today = path[0], now.date()
        if self._noted.get(leaf) == today or len(self.open_paths) >= OPEN_PATHS:
            return
        authority = path[1] if len(path) > 1 and list_urls(leaf) else leaf
        if self._noted.get(authority) != today:
            self.open_paths[leaf] = path
        if len(self._noted) >= CACHED_PATHS:
            self._noted.clear()
        self._noted[leaf] = self._noted[authority] = today
