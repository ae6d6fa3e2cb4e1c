"""Certificate profiles: what a kind of certificate may be, read from `certs/*.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from crypto.errors import CryptoError

# The profiles stand beside the packages: this project is run from its tree, never from a wheel.
PROFILES = Path(__file__).resolve().parents[2] / "certs"


class KeyKind(StrEnum):
    """Kinds of key pairs that are issued."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    P256 = "p256"
    P384 = "p384"
    ED25519 = "ed25519"


class ProfileName(StrEnum):
    """The profiles in `certs/`."""

    ROOT = "root"
    SERVER = "server"
    ORGANISATION = "organisation"
    SMIME = "smime"
    MAILBOX = "mailbox"
    RESPONDER = "responder"
    TIMESTAMP = "timestamp"


SUBJECT_FIELDS = frozenset(
    {"country", "state", "locality", "organisation", "organisation_unit", "common_name", "serial_number", "surname"}
    | {"given_name", "email"}
)
KEY_USAGES = frozenset(
    {"digital_signature", "content_commitment", "key_encipherment", "key_agreement", "key_cert_sign", "crl_sign"}
)
EXTENDED_USAGES = frozenset({"server_auth", "client_auth", "email_protection", "time_stamping", "ocsp_signing"})
_FIELDS = {"authority", "default_key", "keys", "days", "key_usage", "extended_key_usage", "subject"}


@dataclass(frozen=True)
class Profile:
    """One kind of certificate. `subject` is the part that all of the kind share."""

    name: str
    authority: bool
    default_key: KeyKind
    keys: frozenset[KeyKind]
    days: int
    key_usage: frozenset[str]
    extended_key_usage: tuple[str, ...]
    subject: Mapping[str, str]

    @classmethod
    def load(cls, name: ProfileName, folder: Path = PROFILES) -> Profile:
        """Read `folder/name.toml`. Raises `CryptoError` that names the file and what is wrong in it."""
        path = folder / f"{name}.toml"
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CryptoError(f"{path}: {error}") from None
        if set(table) != _FIELDS:
            raise CryptoError(f"{path}: wrong or missing: {', '.join(sorted(set(table) ^ _FIELDS))}")
        try:
            profile = cls(
                name=str(name),
                authority=bool(table["authority"]),
                default_key=KeyKind(table["default_key"]),
                keys=frozenset(KeyKind(kind) for kind in table["keys"]),
                days=int(table["days"]),
                key_usage=frozenset(table["key_usage"]),
                extended_key_usage=tuple(table["extended_key_usage"]),
                subject={str(field): str(value) for field, value in table["subject"].items()},
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise CryptoError(f"{path}: {error}") from None
        profile._check(path)
        return profile

    def _check(self, path: Path) -> None:
        unknown = (
            (self.key_usage - KEY_USAGES)
            | (set(self.extended_key_usage) - EXTENDED_USAGES)
            | (set(self.subject) - SUBJECT_FIELDS)
        )
        if unknown:
            raise CryptoError(f"{path}: not known here: {', '.join(sorted(unknown))}")
        if self.default_key not in self.keys:
            raise CryptoError(f"{path}: default_key is not among keys")
        if not 1 <= self.days <= 10_000:
            raise CryptoError(f"{path}: days must be between 1 and 10000")
