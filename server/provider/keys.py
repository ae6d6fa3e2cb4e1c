"""The keys that sign: one that signs now, and the one before it, published until the next change.

Made at the start and never written: a relying party that meets an unknown `kid` asks for the keys again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

KEY_LIFE: Final = timedelta(hours=24)
ALGORITHM: Final = "RS256"


class SigningKeys:
    """Two RSA keys; `sign` and `verify` know no other algorithm than RS256."""

    def __init__(self, now: datetime) -> None:
        self._former, self._current = _new_key(), _new_key()
        self._made_at = now

    def rotate(self, now: datetime) -> None:
        """Sign with a new key from now on."""
        self._former, self._current, self._made_at = self._current, _new_key(), now

    def sign(self, claims: dict[str, Any], now: datetime, kind: str = "JWT") -> str:
        """A compact JWS of `claims`; `kind` is its `typ`."""
        if now - self._made_at >= KEY_LIFE:
            self.rotate(now)
        header = {"alg": ALGORITHM, "typ": kind, "kid": self._current.kid}
        return jwt.encode(header, claims, self._current, [ALGORITHM])

    def verify(self, token: str) -> dict[str, Any] | None:
        """The claims of what one of these keys signed, whenever; None for all else."""
        try:
            return dict(jwt.decode(token, KeySet([self._current, self._former]), [ALGORITHM]).claims)
        except (JoseError, ValueError):  # a ValueError: no key of that name, no JSON
            return None

    def public(self) -> dict[str, Any]:
        """The JWK set of `certs`, the one that signs first."""
        return {"keys": [key.as_dict(private=False) | {"use": "sig", "alg": ALGORITHM} for key in self._keys]}

    @property
    def _keys(self) -> tuple[RSAKey, RSAKey]:
        return self._current, self._former


def _new_key() -> RSAKey:
    return RSAKey.generate_key(2048, auto_kid=True)
