"""The verdict on a signed document: what is shown beside the message's own and stored.

As `crypto.smime.verdict`, whose statuses it shares, after ETSI EN 319 102-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from crypto.errors import CryptoError
from crypto.smime.verdict import Signer, Status


class Level(StrEnum):
    """How much of its proof a signature brings along (EN 319 142-1 §6)."""

    NONE = ""
    B = "B-B"  # the signature
    T = "B-T"  # and when it was there at the latest, by a time stamp
    LT = "B-LT"  # and that its certificate was good then


class Reason(StrEnum):
    """Why. Stored and shown by name: rows are added, never renamed."""

    VALID = "valid"
    # FAILED
    MALFORMED = "malformed"  # not a signature that can be read
    TAMPERED = "tampered"  # what it covers is not what was signed
    MODIFIED = "modified"  # something was appended afterwards that changes the document
    PARTLY_COVERED = "partly-covered"  # some of the document was never covered
    BAD_SIGNATURE = "bad-signature"  # not made with this certificate's key
    WEAK_ALGORITHM = "weak-algorithm"
    NOT_FOR_SIGNING = "not-for-signing"  # key usage forbids it
    # INDETERMINATE
    UNREADABLE = "unreadable"  # a PDF that we cannot read, or not within our bounds
    UNKNOWN_ALGORITHM = "unknown-algorithm"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"  # and no time stamp proves that it was made before
    NOT_YET_VALID = "not-yet-valid"
    REVOKED = "revoked"  # and no time stamp proves that it was made before


class Doubt(StrEnum):
    """What a PASSED leaves open, said with it."""

    REVOCATION_NOT_CHECKED = "revocation-not-checked"
    TIME_NOT_PROVEN = "time-not-proven"  # no time stamp, or none that we trust: the time is the signer's word
    FORM_CHANGED = "form-changed"  # fields were filled in afterwards, as the signature allows


@dataclass(frozen=True, slots=True)
class PdfVerdict:
    """On one signature. `time`: proven by a stamp unless `Doubt.TIME_NOT_PROVEN`; None where nobody says."""

    status: Status
    reason: Reason
    signer: Signer | None = None
    level: Level = Level.NONE
    time: datetime | None = None
    doubts: tuple[Doubt, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A plain dict for storage."""
        return {
            "status": self.status.value,
            "reason": self.reason.value,
            "signer": None if self.signer is None else asdict(self.signer),
            "level": self.level.value,
            "time": None if self.time is None else self.time.isoformat(),
            "doubts": [doubt.value for doubt in self.doubts],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PdfVerdict:
        """What `to_json` gave. Raises `CryptoError` for anything else."""
        try:
            signer, time = stored["signer"], stored["time"]
            return cls(
                Status(stored["status"]),
                Reason(stored["reason"]),
                None if signer is None else Signer(**{**signer, "addresses": tuple(signer["addresses"])}),
                Level(stored["level"]),
                None if time is None else datetime.fromisoformat(time),
                tuple(Doubt(doubt) for doubt in stored["doubts"]),
            )
        except (KeyError, TypeError, ValueError):
            raise CryptoError("not a stored verdict on a document") from None


UNREADABLE = PdfVerdict(Status.INDETERMINATE, Reason.UNREADABLE)
