"""What stands in a signed PDF, found without trusting anything in it: what `examine` tells `judge`.

The one reads hostile bytes in a process of its own and knows no anchor; the other has anchors and never sees the PDF.
Between them goes JSON.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from crypto.errors import CryptoError


class Changes(StrEnum):
    """What was appended to the document after a signature."""

    NONE = "none"
    PROOFS = "proofs"  # time stamps and revocation data (PAdES B-LT), which change nothing that is shown
    FORM = "form"  # fields filled in or signatures added, as the signature allows
    OTHER = "other"  # something else, or more than the signature allows


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time stamp on a signature (RFC 3161). `holds`: it is about this signature and made by `certificate`'s key."""

    time: datetime
    holds: bool
    certificate: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature. `fault` is a value of `verdict.Reason` where reading it ended there, else "".

    `intact`: the octets covered have the digest that was signed; `made`: with the key of `certificate` (DER).
    `whole`: all but the signature itself was covered when it was made. `claimed_time` is the signer's word.
    """

    fault: str = ""
    intact: bool = False
    made: bool = False
    whole: bool = False
    changes: Changes = Changes.OTHER
    certificate: bytes = field(default=b"", repr=False)
    claimed_time: datetime | None = None
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """`certificates` are all that came along, `crls` and `ocsps` embedded proofs of their standing (DER)."""

    signatures: tuple[Signature, ...] = ()
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    crls: tuple[bytes, ...] = field(default=(), repr=False)
    ocsps: tuple[bytes, ...] = field(default=(), repr=False)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), default=_plain).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Examined:
        """Raises CryptoError: not what `to_bytes` gave."""
        try:
            read = json.loads(data)
            return cls(tuple(_signature(one) for one in read["signatures"]), *(_octets(read[name]) for name in _LISTS))
        except (KeyError, TypeError, ValueError):
            raise CryptoError("not what the examination of a document gives") from None


_LISTS = ("certificates", "crls", "ocsps")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    assert isinstance(value, bytes)  # noqa: S101 -- there is nothing else in the classes above
    return b64encode(value).decode()


def _octets(values: list[str]) -> tuple[bytes, ...]:
    return tuple(b64decode(value) for value in values)


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _signature(read: dict[str, Any]) -> Signature:
    stamp = read["stamp"]
    return Signature(
        fault=str(read["fault"]),
        intact=bool(read["intact"]),
        made=bool(read["made"]),
        whole=bool(read["whole"]),
        changes=Changes(read["changes"]),
        certificate=b64decode(read["certificate"]),
        claimed_time=_time(read["claimed_time"]),
        stamp=None
        if stamp is None
        else Stamp(datetime.fromisoformat(stamp["time"]), bool(stamp["holds"]), b64decode(stamp["certificate"])),
    )
