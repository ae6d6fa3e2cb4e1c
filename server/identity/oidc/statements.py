"""What claims are worth: ID token, logout token, answer of the introspection. Time is an argument; nothing is fetched.

Each function raises NotProven with the one thing that was wrong first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from server.identity.oidc import claims
from server.identity.oidc.faults import Fault, NotProven

SKEW: Final = timedelta(seconds=60)  # clocks of two well kept servers are closer; a virtual machine wakes up further
_FRESH: Final = timedelta(minutes=10)  # an ID or logout token is made for this answer
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_ACR = re.compile(r"eidas([1-3])")
_LATEST: Final = 2**33  # beyond it datetime cannot follow


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token must be: by whom, for whom, how sure. `max_age` None: no bound on how long ago."""

    issuer: str
    client_id: str
    acr: str
    nonce: str = field(default="", repr=False)
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """A sign-in at the provider: whose, how sure, when, in which session there ("" where it does not say)."""

    subject: str = field(repr=False)
    acr: str
    at: datetime
    sid: str = field(repr=False)


def id_token(found: Mapping[str, Any], expected: Expected, now: datetime, access_token: str) -> Proven:
    """OpenID Connect Core §3.1.3.7 and §3.1.3.8; the signature was verified."""
    _issuer_and_audience(found, expected)
    if not hmac.compare_digest(_text(found, "nonce").encode(), expected.nonce.encode()) or not expected.nonce:
        raise NotProven(Fault.NONCE)
    issued = _in_time(found, now)
    if now - issued > _FRESH + SKEW:
        raise NotProven(Fault.TIME)
    # §3.2.2.9: the left half of SHA-256, for each of our algorithms
    if "at_hash" in found:
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        right = base64.urlsafe_b64encode(half).rstrip(b"=")
        if not hmac.compare_digest(_text(found, "at_hash").encode(), right):
            raise NotProven(Fault.BINDING)
    at = issued if found.get("auth_time") is None else _moment(found, "auth_time")
    # §3.1.2.1: where max_age was asked for, auth_time must be there
    if expected.max_age is not None and (
        found.get("auth_time") is None or now - at > expected.max_age + SKEW or at > now + SKEW
    ):
        raise NotProven(Fault.TIME)
    acr = at_least(found, expected.acr)
    return Proven(claims.subject_of(found), acr, min(at, now), _text(found, "sid"))


def logout_token(found: Mapping[str, Any], expected: Expected, now: datetime) -> tuple[str, str, str, datetime]:
    """OpenID Connect Back-Channel Logout 1.0 §2.6: (sid, sub, jti, when it may be forgotten)."""
    _issuer_and_audience(found, expected)
    issued = _in_time(found, now)
    if now - issued > _FRESH + SKEW:
        raise NotProven(Fault.TIME)
    events = found.get("events")
    # §2.4: a logout token has no nonce, so that nobody passes it for an ID token, nor the reverse.
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict) or "nonce" in found:
        raise NotProven(Fault.MALFORMED)
    sid, jti = _text(found, "sid"), _text(found, "jti")
    subject = claims.subject_of(found) if "sub" in found else ""
    if not jti or not (sid or subject):
        raise NotProven(Fault.MALFORMED)
    return sid, subject, jti, now + 2 * (_FRESH + SKEW)


def introspected(found: Mapping[str, Any], expected: Expected, software: Sequence[str], now: datetime) -> None:
    """RFC 7662 §2.2: an access token that lives, of this provider, issued to one of these clients, and sure enough.

    Access tokens that open mailboxes by mail were issued to the practice software's client (azp), not to us.
    """
    if found.get("active") is not True:
        raise NotProven(Fault.INACTIVE)
    access_token(found, expected, software, now)
    at_least(found, expected.acr)


def access_token(found: Mapping[str, Any], expected: Expected, software: Sequence[str], now: datetime) -> None:
    """The same of what stands in the token, where that is a signed statement itself (RFC 9068 §4)."""
    if found.get("iss") != expected.issuer:
        raise NotProven(Fault.ISSUER)
    party = found.get("azp", found.get("client_id"))
    if not isinstance(party, str) or party not in software:
        raise NotProven(Fault.AUDIENCE)
    # An ID token is signed by the same keys and is shown to more eyes: it opens nothing.
    if found.get("typ", "Bearer") != "Bearer":
        raise NotProven(Fault.MALFORMED)
    _in_time(found, now)


def at_least(found: Mapping[str, Any], needed: str) -> str:
    """`acr`, which may be higher than what was asked for."""
    acr = found.get("acr")
    match, wanted = _ACR.fullmatch(acr) if isinstance(acr, str) else None, _ACR.fullmatch(needed)
    if match is None or wanted is None or match[1] < wanted[1]:
        raise NotProven(Fault.TOO_WEAK)
    return match[0]


def _issuer_and_audience(found: Mapping[str, Any], expected: Expected) -> None:
    if found.get("iss") != expected.issuer:
        raise NotProven(Fault.ISSUER)
    audience = found.get("aud")
    several = audience if isinstance(audience, list) else [audience]
    party = found.get("azp")
    # §3.1.3.7 rules 3 to 5
    if expected.client_id not in several or party not in (None, expected.client_id) or (len(several) > 1 and not party):
        raise NotProven(Fault.AUDIENCE)


def _in_time(found: Mapping[str, Any], now: datetime) -> datetime:
    """When it was issued."""
    issued = _moment(found, "iat")
    begins = issued if found.get("nbf") is None else _moment(found, "nbf")
    if _moment(found, "exp") + SKEW <= now or max(issued, begins) > now + SKEW:
        raise NotProven(Fault.TIME)
    return issued


def _moment(found: Mapping[str, Any], name: str) -> datetime:
    """A NumericDate (RFC 7519 §2)."""
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST:
        raise NotProven(Fault.TIME)
    return datetime.fromtimestamp(value, UTC)


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name, "")
    if not isinstance(value, str) or len(value) > 512:
        raise NotProven(Fault.MALFORMED)
    return value
