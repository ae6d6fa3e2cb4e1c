"""The tokens of the provider: made for a grant, and what they are worth when they are shown again."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from server.provider.claims import identity, other_ids, subject, userinfo
from server.provider.keys import SigningKeys
from server.provider.model import (
    ACCESS_LIFE,
    ID_TOKEN_LIFE,
    SESSION_LIFE,
    Client,
    Grant,
    Person,
    ProtocolError,
    Refresh,
    Session,
    Shelf,
)

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"


class Tokens:
    """Of one issuer. `stands` says whether a grant still counts: its session is there, nothing took it back."""

    def __init__(
        self,
        issuer: str,
        people: Callable[[], Mapping[str, Person]],
        keys: SigningKeys,
        stands: Callable[[Grant, datetime], bool],
    ) -> None:
        self._issuer = issuer
        self._people = people
        self._keys = keys
        self._stands = stands
        self._access: Shelf[Grant] = Shelf(ACCESS_LIFE)
        self._refresh: Shelf[Refresh] = Shelf(SESSION_LIFE)

    def issue(self, grant: Grant, now: datetime) -> dict[str, Any]:
        """The token endpoint's answer (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3)."""
        access, refresh = self._access_token(grant, now), secret()
        self._refresh.put(refresh, Refresh(grant), now)
        digest = hashlib.sha256(access.encode()).digest()
        claims = self._common(grant, now) | {
            "typ": "ID",
            "aud": grant.client.client_id,
            "exp": seconds(now + ID_TOKEN_LIFE),
            "at_hash": base64url(digest[:16]),  # OpenID Connect Core §3.1.3.6
            "preferred_username": grant.session.national_id,
        }
        return {
            "access_token": access,
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "refresh_token": refresh,
            "refresh_expires_in": int(SESSION_LIFE.total_seconds()),
            "token_type": "Bearer",
            "id_token": self._keys.sign(claims, now),
            "session_state": grant.session.sid,
            "scope": grant.scope,
        }

    def _access_token(self, grant: Grant, now: datetime) -> str:
        name = secret()
        self._access.put(name, grant, now)
        claims = self._common(grant, now) | {
            "typ": "Bearer",
            "aud": "account",
            "jti": name,
            "exp": seconds(now + ACCESS_LIFE),
            "scope": grant.scope,
            "preferred_username": grant.session.national_id,
            "SubjectNameID": grant.session.national_id,
        }
        return self._keys.sign(claims, now)

    def _common(self, grant: Grant, now: datetime) -> dict[str, Any]:
        session = grant.session
        claims = {
            "iss": self._issuer,
            "sub": subject(session.national_id),
            "azp": grant.client.client_id,
            "iat": seconds(now),
            "auth_time": seconds(session.auth_time),
            "jti": secret(),
            "acr": session.acr,
            "sid": session.sid,
            "session_state": session.sid,
        }
        return claims | ({"nonce": grant.nonce} if grant.nonce else {})

    def _holder(self, token: str, now: datetime) -> tuple[Grant, dict[str, Any]] | None:
        """What an access token of ours stands for, while it counts."""
        claims = self._keys.verify(token)
        grant = self._access.get(str(claims.get("jti")), now) if claims else None
        if claims is None or grant is None or claims.get("typ") != "Bearer" or not self._stands(grant, now):
            return None
        return grant, claims

    def introspect(self, token: str, now: datetime) -> dict[str, Any]:
        """RFC 7662 §2.2. Who it is stands only in the answer for an access token, as at Pro Santé Connect."""
        if refresh := self._refresh.get(token, now):
            if refresh.used or not self._stands(refresh.grant, now):
                return {"active": False}
            return self._common(refresh.grant, now) | {"active": True, "typ": "Refresh", "aud": self._issuer}
        held = self._holder(token, now)
        if held is None:
            return {"active": False}
        grant, claims = held
        person = self._people()[grant.session.national_id]
        more = {"client_id": grant.client.client_id, "username": person.national_id, "token_type": "Bearer"}
        return claims | identity(person) | more | {"active": True, "otherIds": other_ids(person)}

    def userinfo(self, token: str, now: datetime) -> dict[str, Any]:
        """OpenID Connect Core §5.3. Raises ProtocolError(invalid_token)."""
        held = self._holder(token, now)
        if held is None:
            raise ProtocolError("invalid_token", "The token does not count.", 401)
        return userinfo(self._people()[held[0].session.national_id])

    def refreshed(self, client: Client, token: str, now: datetime) -> Grant:
        """What a refresh token is of, which is used up. Raises ProtocolError(invalid_grant)."""
        refresh = self._refresh.get(token, now)
        if refresh is None or refresh.grant.client is not client:
            raise ProtocolError("invalid_grant", "There is no such refresh token.")
        if refresh.used:
            refresh.grant.revoked = True
        refresh.used = True
        return refresh.grant

    def logout(self, client: Client, session: Session, now: datetime) -> str:
        """A logout token (OpenID Connect Back-Channel Logout §2.4)."""
        claims = {
            "iss": self._issuer,
            "sub": subject(session.national_id),
            "aud": client.client_id,
            "iat": seconds(now),
            "exp": seconds(now + ID_TOKEN_LIFE),
            "jti": secret(),
            "sid": session.sid,
            "events": {LOGOUT_EVENT: {}},
        }
        return self._keys.sign(claims, now, "logout+jwt")


def secret() -> str:
    """256 random bits, as text."""
    return secrets.token_urlsafe(32)


def base64url(octets: bytes) -> str:
    """RFC 7515 §2: without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def seconds(moment: datetime) -> int:
    """RFC 7519 §2, NumericDate."""
    return int(moment.timestamp())
