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
    OTHER_HOLDER = "other-holder"  # the directory says that the mailbox is another's
    HEADER_CHANGED = "header-changed"  # a field outside is not the one that was signed
    TOO_LARGE = "too-large"
    SEVERAL_SIGNERS = "several-signers"  # that are not all the sender
    UNKNOWN_ALGORITHM = "unknown-algorithm"
    NO_CERTIFICATE = "no-certificate"
    TWO_CERTIFICATES = "two-certificates"  # two that fit the signer
    UNTRUSTED = "untrusted"  # no path to our anchors
    OTHER_POLICY = "other-policy"  # issued under none of the policies asked for
    EXPIRED = "expired"
    REVOKED = "revoked"
    REVOCATION_UNKNOWN = "revocation-unknown"  # where a doubt is not enough
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
    SIGNED_LONG_AGO = "signed-long-ago"  # an old message may be sent again by anybody
    DATE_DIFFERS = "date-differs"  # the Date field says another day than the signature
    SENDER_DIFFERS = "sender-differs"  # Sender is somebody else than From
    REPLY_ELSEWHERE = "reply-elsewhere"  # answers go to somebody else than From
    NAME_MISLEADS = "name-misleads"  # the name shown holds another address
    NAME_DIFFERS = "name-differs"  # the name shown has no word of the certificate's
    NOT_IN_DIRECTORY = "not-in-directory"  # no active mailbox of this address


class Directory(StrEnum):
    """What the directory says of signer and From."""

    NOT_ASKED = "not-asked"
    ABSENT = "absent"
    AGREES = "agrees"
    DIFFERS = "differs"


class Difference(StrEnum):
    """In what certificate and directory differ."""

    RPPS = "rpps"
    FINESS = "finess"
    SIRET = "siret"
    KIND = "kind"  # a person's certificate for an organisation's mailbox, or the other way round


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
    siret: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`covers`: "whole", "part" or "nothing" of the body; `headers`: the fields of the header that are signed too (RFC
    9788), lower case. `signing_time` is the signer's word, `proven_time` a time stamp's, by which certificate and
    revocation are judged."""

    status: Status
    reason: SubReason
    signer: Signer | None = None
    covers: str = "nothing"
    signing_time: datetime | None = None
    doubts: tuple[Doubt, ...] = ()
    headers: tuple[str, ...] = ()
    proven_time: datetime | None = None
    directory: Directory = Directory.NOT_ASKED
    differences: tuple[Difference, ...] = ()

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
                "siret": signer.siret,
            },
            "covers": self.covers,
            "signing_time": None if self.signing_time is None else self.signing_time.isoformat(),
            "doubts": [doubt.value for doubt in self.doubts],
            "headers": list(self.headers),
            "proven_time": None if self.proven_time is None else self.proven_time.isoformat(),
            "directory": self.directory.value,
            "differences": [difference.value for difference in self.differences],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Verdict:
        """What `to_json` gave, now or before there were headers and a directory in it. Raises `CryptoError` for
        anything else."""
        try:
            signer, time, proven = stored["signer"], stored["signing_time"], stored.get("proven_time")
            return cls(
                Status(stored["status"]),
                SubReason(stored["reason"]),
                None if signer is None else Signer(**{**signer, "addresses": tuple(signer["addresses"])}),
                str(stored["covers"]),
                None if time is None else datetime.fromisoformat(time),
                tuple(Doubt(doubt) for doubt in stored["doubts"]),
                tuple(map(str, stored.get("headers", ()))),
                None if proven is None else datetime.fromisoformat(proven),
                Directory(stored.get("directory", Directory.NOT_ASKED)),
                tuple(Difference(one) for one in stored.get("differences", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CryptoError("not a stored verdict") from None


UNSIGNED = Verdict(Status.NONE, SubReason.NOT_SIGNED)
