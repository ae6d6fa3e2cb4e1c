"""The standing of a certificate: what a list or an answer says of it, when, and who said it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

T = TypeVar("T")

# Clocks of two machines differ by minutes: what was made "just now" elsewhere may lie ahead of ours.
CLOCK_LEEWAY = timedelta(minutes=5)
# SHA-1 and MD5 let two texts share a signature; RFC 9155 and the RGS retired them.
DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
# What `cryptography` raises for a list or an answer that it cannot read, when loading or when a field is asked for.
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.ExtensionNotFound,
)


class Status(StrEnum):
    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """`source`: URL or file; `as_of`: the moment of which it speaks (thisUpdate); `reason`: why it was revoked, or why
    that is not known."""

    status: Status
    source: str = ""
    as_of: datetime | None = None
    revoked_at: datetime | None = None
    reason: str = ""


class Unusable(Exception):
    """A list or an answer that says nothing to us; the text says why, and quotes nothing of it."""


def readable(read: Callable[[], T], what: str) -> T:
    """What `read` gives. Raises Unusable where the library cannot read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a stranger's odd encoding is no news for our logs
        try:
            return read()
        except UNREADABLE:
            raise Unusable(f"it is no {what} that can be read") from None
