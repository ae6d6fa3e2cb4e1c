"""The secrets of the edges: what a process that faces the network holds in place of the keyring.

With them an edge finds a recipient (`address`), checks an app password (`credential`), recognises a repeated
message (`fingerprint`), names a patient in a log (`pseudonym`) and gives stored content its origin (`salts`).
None of them opens a message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from crypto.errors import CryptoError, KeyMissing
from crypto.keyfile import KEY_BYTES, create_private, from_text, read_json, to_text, write_private

FORMAT = 1
SALT_VERSIONS = 65_535  # the version takes two bytes of each stored blob
_KEYS = ("address", "credential", "fingerprint", "pseudonym")


@dataclass(frozen=True)
class Salts:
    """Versioned 32-byte secrets that go into the key of each stored blob; `current` is the one to write with."""

    current: int
    by_version: Mapping[int, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.current not in self.by_version:
            raise CryptoError("the current salt is not among the salts")
        if any(not 1 <= version <= SALT_VERSIONS for version in self.by_version):
            raise CryptoError(f"a salt version is between 1 and {SALT_VERSIONS}")
        if any(len(salt) != KEY_BYTES for salt in self.by_version.values()):
            raise CryptoError("a salt has 32 bytes")

    @classmethod
    def new(cls) -> Salts:
        """A first salt, version 1."""
        return cls(1, {1: os.urandom(KEY_BYTES)})

    def rotated(self) -> Salts:
        """These and a new current one; what was written with the old ones still opens."""
        version = max(self.by_version) + 1
        return Salts(version, {**self.by_version, version: os.urandom(KEY_BYTES)})

    def of(self, version: int) -> bytes:
        """The salt of that version. Raises `KeyMissing`."""
        try:
            return self.by_version[version]
        except KeyError:
            raise KeyMissing(f"salt version {version} is not here") from None


@dataclass(frozen=True)
class EdgeKeys:
    """32 secret bytes each, and the salts."""

    address: bytes = field(repr=False)
    credential: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)
    pseudonym: bytes = field(repr=False)
    salts: Salts = field(repr=False)

    @classmethod
    def new(cls) -> EdgeKeys:
        """New secrets from the system's randomness."""
        return cls(**{name: os.urandom(KEY_BYTES) for name in _KEYS}, salts=Salts.new())

    @classmethod
    def load(cls, path: Path) -> EdgeKeys:
        """Read `edge.json`. Raises `KeyMissing` when there is none, `CryptoError` when it is not one."""
        stored = read_json(path)
        if stored.get("format") != FORMAT:
            raise CryptoError(f"{path}: a file of edge secrets of format {FORMAT} was expected")
        try:
            salts = Salts(
                int(stored["salts"]["current"]),
                {int(version): from_text(salt) for version, salt in stored["salts"]["versions"].items()},
            )
            return cls(**{name: from_text(stored[name]) for name in _KEYS}, salts=salts)
        except (CryptoError, KeyError, ValueError, TypeError, AttributeError):
            raise CryptoError(f"{path}: not a file of edge secrets") from None

    def to_sign_in(self) -> EdgeKeys:
        """What a process needs that knows who signs in and stores nothing: the rest is made up."""
        return replace(EdgeKeys.new(), address=self.address, credential=self.credential, pseudonym=self.pseudonym)

    def save(self, path: Path, *, replace: bool = False) -> None:
        """Write `edge.json`, mode 0600. Raises FileExistsError unless `replace`: the old secrets name every mailbox."""
        text = json.dumps(
            {
                "format": FORMAT,
                **{name: to_text(getattr(self, name)) for name in _KEYS},
                "salts": {
                    "current": self.salts.current,
                    "versions": {str(version): to_text(salt) for version, salt in self.salts.by_version.items()},
                },
            },
            indent=1,
        )
        (write_private if replace else create_private)(path, text.encode())
