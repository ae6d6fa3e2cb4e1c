"""Why a proof of an identity provider was not taken. The word is for logs, metrics and the choice of a page."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Closed: the web has a sentence for each (a test proves it)."""

    DENIED = "denied"  # the person, or the provider, said no
    NOT_OURS = "not-ours"  # no sign-in of this browser: state, cookie, its age, or it was used before
    NOT_THEIRS = "not-theirs"  # another provider answered than was asked (RFC 9207)
    MALFORMED = "malformed"
    SIGNATURE = "signature"  # algorithm, key or signature
    ISSUER = "issuer"
    AUDIENCE = "audience"  # aud or azp: issued to somebody else
    TIME = "time"  # ended, not yet, or signed in too long ago
    NONCE = "nonce"
    BINDING = "binding"  # at_hash, or the subject of another answer
    TOO_WEAK = "too-weak"  # acr
    INACTIVE = "inactive"  # the provider knows the token no more
    NO_IDENTITY = "no-identity"  # no national identifier
    NOT_PROFESSIONAL = "not-professional"  # no SubjectRefPro
    NO_MAILBOX = "no-mailbox"
    LEFT = "left"  # no longer in the directory


class NotProven(Exception):
    """A proof was not taken; it holds nothing of it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault
