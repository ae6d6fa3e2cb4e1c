"""One-time codes of an authenticator application (RFC 6238), sans-IO: the moment is an argument.

SHA-1, six digits, thirty seconds: what every application takes. A step that was taken is never taken again (§5.2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote

SECRET_BYTES = 20  # RFC 4226 §4 R6: 160 bits
DIGITS = 6
STEP_SECONDS = 30
_DRIFT = 1  # steps before and after: RFC 6238 §5.2 recommends one for the network's delay, clocks drift both ways


def new_secret() -> bytes:
    """A secret to share with an application (SECRET_BYTES)."""
    return secrets.token_bytes(SECRET_BYTES)


def code(secret: bytes, step: int) -> str:
    """The digits of one step (RFC 4226 §5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), hashlib.sha1)
    start = digest[-1] & 0xF
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def step_of(secret: bytes, typed: str, moment: datetime, last: int) -> int | None:
    """The step whose digits were typed, later than `last`, the one taken last; None for wrong or used digits.

    All steps are compared, whichever is right, each in constant time.
    """
    now = int(moment.timestamp()) // STEP_SECONDS
    given = typed.replace(" ", "").encode("utf-8", "surrogatepass")
    found = None
    for step in range(now - _DRIFT, now + _DRIFT + 1):
        if hmac.compare_digest(code(secret, step).encode(), given) and step > last:
            found = step
    return found


def uri(secret: bytes, issuer: str, account: str) -> str:
    """What an application reads from a QR code. `account` names the account in the application's list: no INS."""
    letters = base64.b32encode(secret).decode()
    return f"otpauth://totp/{quote(issuer)}:{quote(account)}?secret={letters}&issuer={quote(issuer)}"
