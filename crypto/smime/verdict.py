"""The verdict on a signature: what readers are shown and what is stored.

Three answers, as in ETSI EN 319 102-1: PASSED, FAILED (proven wrong, or made to mislead), INDETERMINATE (may be
genuine, but cannot be shown to be), and NONE for what is not signed. `reason` says why in one stable word; texts for
people are made elsewhere from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from crypto.errors import CryptoError


class Status(StrEnum):
    PASSED = "passed"
    INDETERMINATE = "indeterminate"
    FAILED = "failed"
    NONE = "none"


class SubReason(StrEnum):
    """Why. Stored and shown by name: rows are added, never renamed."""

    VALID = "valid"
    NOT_SIGNED = "not-signed"
    # FAILED
    MALFORMED = "malformed"  # not a SignedData that can be read
    NO_SIGNER = "no-signer"
    NO_CONTENT = "no-content"  # opaque, and nothing inside
    ENCLOSED_CONTENT = "enclosed-content"  # detached, and another content inside: two readers may see two texts
    BAD_ATTRIBUTES = "bad-attributes"  # missing, repeated, or about another content type
    TAMPERED = "tampered"  # the content is not the one signed
    BAD_SIGNATURE = "bad-signature"  # not made with this certificate's key
    WEAK_DIGEST = "weak-digest"  # MD5, SHA-1: a second text with the same signature can be made
    WEAK_KEY = "weak-key"
    OTHER_CERTIFICATE = "other-certificate"  # the signer named another certificate in what it signed
    NOT_FOR_MAIL = "not-for-mail"  # key usage forbids it
    OTHER_SENDER = "other-sender"  # signed by another than the From
    # INDETERMINATE
    TOO_LARGE = "too-large"
    SEVERAL_SIGNERS = "several-signers"
    UNKNOWN_ALGORITHM = "unknown-algorithm"
    NO_CERTIFICATE = "no-certificate"
    TWO_CERTIFICATES = "two-certificates"  # two that fit the signer
    UNTRUSTED = "untrusted"  # no path to our anchors
    EXPIRED = "expired"
    REVOKED = "revoked"
    NOT_YET_VALID = "not-yet-valid"
    NO_ADDRESS = "no-address"  # the certificate names no mailbox
    AMBIGUOUS = "ambiguous"  # another reader may see another content than the one signed


class Doubt(StrEnum):
    """What a PASSED leaves open, said with it."""

    REVOCATION_NOT_CHECKED = "revocation-not-checked"
    PART_ONLY = "part-only"  # text outside of the signed part is anybody's
    MICALG_DIFFERS = "micalg-differs"
    SIGNING_TIME_IN_FUTURE = "signing-time-in-future"
    SIGNING_TIME_OUTSIDE_CERTIFICATE = "signing-time-outside-certificate"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who the certificate says it is: a claim until the verdict is PASSED. Identifiers are "" when it has none."""

    name: str
    organisation: str
    rpps: str
    finess: str
    addresses: tuple[str, ...]
    serial: str  # lower-case hexadecimal
    fingerprint: str  # SHA-256 of the certificate, lower-case hexadecimal
    issuer: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`covers`: "whole", "part" or "nothing". `signing_time` is the signer's word."""

    status: Status
    reason: SubReason
    signer: Signer | None = None
    covers: str = "nothing"
    signing_time: datetime | None = None
    doubts: tuple[Doubt, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A plain dict for storage."""
        signer = self.signer
        return {
            "status": self.status.value,
            "reason": self.reason.value,
            "signer": None
            if signer is None
            else {
                "name": signer.name,
                "organisation": signer.organisation,
                "rpps": signer.rpps,
                "finess": signer.finess,
                "addresses": list(signer.addresses),
                "serial": signer.serial,
                "fingerprint": signer.fingerprint,
                "issuer": signer.issuer,
            },
            "covers": self.covers,
            "signing_time": None if self.signing_time is None else self.signing_time.isoformat(),
            "doubts": [doubt.value for doubt in self.doubts],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Verdict:
        """What `to_json` gave. Raises `CryptoError` for anything else."""
        try:
            signer, time = stored["signer"], stored["signing_time"]
            return cls(
                Status(stored["status"]),
                SubReason(stored["reason"]),
                None if signer is None else Signer(**{**signer, "addresses": tuple(signer["addresses"])}),
                str(stored["covers"]),
                None if time is None else datetime.fromisoformat(time),
                tuple(Doubt(doubt) for doubt in stored["doubts"]),
            )
        except (KeyError, TypeError, ValueError):
            raise CryptoError("not a stored verdict") from None


UNSIGNED = Verdict(Status.NONE, SubReason.NOT_SIGNED)
