"""A signed statement of a provider (JWS, compact): its claims, once signature, algorithm and key are as they must be.

Only algorithms of the list, and only with a key of the kind that goes with them, out of the provider's own set: never
"none", never a shared secret (a public key as HMAC secret is the classic forgery), never a key, certificate or address
that the token itself brings (RFC 8725 §2.1, §3.1, §3.5, §3.10).
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from server.identity.oidc.faults import Fault, NotProven

# OpenID Connect Core §15.1 asks for RS256; the others are what providers move to.
ALGORITHMS: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
TOKEN_CHARACTERS: Final = 16 * 1024  # Pro Santé Connect's have some 2,000; a professional with many places more
_KEYS: Final = 20  # of a set that are looked at
_RSA_BITS: Final = 2048
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
Key = RSAKey | ECKey


@dataclass(frozen=True, slots=True)
class Keys:
    """A provider's public keys for signatures, by name."""

    by_name: Mapping[str, Key]

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Keys:
        """Of a key set (RFC 7517 §5); what is not for us is passed over."""
        listed = found.get("keys")
        by_name: dict[str, Key] = {}
        for one in listed[:_KEYS] if isinstance(listed, list) else ():
            key = _key(one)
            if key is not None:
                by_name[one["kid"]] = key
        return cls(by_name)


def header(token: str) -> Mapping[str, Any]:
    """What a token says of itself, before anything is known of it. Raises NotProven MALFORMED."""
    if len(token) > TOKEN_CHARACTERS or not _COMPACT.fullmatch(token):
        raise NotProven(Fault.MALFORMED)
    return _part(token.partition(".")[0])


def unproven(token: str) -> Mapping[str, Any]:
    """What a token claims, of which nothing is proven: to know whom to ask. Raises NotProven MALFORMED."""
    header(token)
    return _part(token.split(".")[1])


def key_name(token: str) -> str:
    """The name of the key that a token was signed with. Raises NotProven: MALFORMED, SIGNATURE (another algorithm)."""
    found = header(token)
    # RFC 7515 §4.1.11: what a header says must be understood; we understand no extension.
    if found.get("alg") not in ALGORITHMS or "crit" in found or not isinstance(found.get("kid"), str):
        raise NotProven(Fault.SIGNATURE)
    return str(found["kid"])


def claims(token: str, keys: Keys) -> Mapping[str, Any]:
    """What the provider signed. Raises NotProven: MALFORMED, SIGNATURE."""
    key = keys.by_name.get(key_name(token))
    algorithm = str(header(token)["alg"])
    if key is None or key.key_type != ALGORITHMS[algorithm]:
        raise NotProven(Fault.SIGNATURE)
    try:
        return json_object(jws.deserialize_compact(token, key, algorithms=[algorithm]).payload)
    except (JoseError, ValueError, binascii.Error):
        raise NotProven(Fault.SIGNATURE) from None


def json_object(data: bytes | str) -> dict[str, Any]:
    """An object of JSON, each member once (RFC 8725 §2.4 and RFC 8259 §4). Raises NotProven MALFORMED."""
    try:
        found = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NotProven(Fault.MALFORMED) from None
    if not isinstance(found, dict):
        raise NotProven(Fault.MALFORMED)
    return found


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _part(encoded: str) -> dict[str, Any]:
    try:
        return json_object(binascii.a2b_base64(encoded.translate(_STANDARD) + "=" * (-len(encoded) % 4)))
    except (binascii.Error, UnicodeDecodeError):
        raise NotProven(Fault.MALFORMED) from None


def _key(found: Any) -> Key | None:
    if not isinstance(found, dict) or not isinstance(found.get("kid"), str) or found.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in found.items() if name in ("kty", "n", "e", "crv", "x", "y")}
    try:
        if public.get("kty") == "RSA":
            return RSAKey.import_key(public) if len(public["n"]) * 6 >= _RSA_BITS else None
        if public.get("kty") == "EC" and public.get("crv") == "P-256":
            return ECKey.import_key(public)
    except (JoseError, KeyError, ValueError, TypeError):
        return None
    return None


_STANDARD = str.maketrans("-_", "+/")
