"""What a provider says of itself (OpenID Connect Discovery 1.0 §3, RFC 8414): where its endpoints are.

Rules: it names the issuer that the settings name, letter by letter (mix-up); each endpoint is https and on the issuer's
port, the only one that the role may connect to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from server.base.sections import IdentityProvider
from server.identity.oidc.faults import Fault, NotProven


@dataclass(frozen=True, slots=True)
class Metadata:
    """Addresses; "" where the provider has none. `names_itself`: its answers carry `iss` (RFC 9207 §3)."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    userinfo: str
    introspection: str
    end_session: str
    names_itself: bool

    @classmethod
    def read(cls, found: Mapping[str, Any], provider: IdentityProvider) -> Metadata:
        """Raises NotProven: ISSUER, MALFORMED."""
        if found.get("issuer") != provider.issuer:
            raise NotProven(Fault.ISSUER)

        def address(name: str, *, needed: bool = False) -> str:
            value = found.get(name)
            if value is None and not needed:
                return ""
            if not isinstance(value, str) or not _fits(value, provider.port):
                raise NotProven(Fault.MALFORMED)
            return value

        return cls(
            provider.issuer,
            address("authorization_endpoint", needed=True),
            address("token_endpoint", needed=True),
            address("jwks_uri", needed=True),
            address("userinfo_endpoint", needed=True),
            address("introspection_endpoint"),
            address("end_session_endpoint"),
            found.get("authorization_response_iss_parameter_supported") is True,
        )


def _fits(value: str, port: int) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme == "https" and bool(parts.hostname) and not parts.username and (parts.port or 443) == port
    except ValueError:
        return False
