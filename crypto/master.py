"""Where the master key is kept: in its file, or in a key service that never gives its own key away.

A service is a small protocol, so that another (a KMS) is one more class: it closes 32 bytes and opens them again. What
it closed stands in `master.json`, which says which service it was. It is asked when a keyring is opened and when the
master key is changed, never for each mailbox.

    file      as it is; the file's mode protects it
    pkcs11    AES-256-GCM by a key of a PKCS#11 token (a hardware module), which cannot be read out of it
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pkcs11
from pkcs11.exceptions import PKCS11Error

from crypto.errors import CryptoError, IntegrityError
from crypto.keyfile import read_private
from crypto.sealing import KEY_BYTES

_NONCE_BYTES: Final = 12
_CONTEXT: Final = b"caducee master key 1"


class MasterService(Protocol):
    """What closes versions of the master key."""

    def close(self, master: bytes) -> bytes:
        """32 bytes, as they stand in the file. Raises CryptoError."""

    def open(self, closed: bytes) -> bytes:
        """What `close` was given. Raises CryptoError: not of this service, or it cannot be reached."""

    def place(self) -> dict[str, str]:
        """What `service` finds it again by: no secret."""


@dataclass(frozen=True)
class InFile:
    """The file itself."""

    def close(self, master: bytes) -> bytes:
        return master

    def open(self, closed: bytes) -> bytes:
        if len(closed) != KEY_BYTES:
            raise CryptoError("a master key has 32 bytes")
        return closed

    def place(self) -> dict[str, str]:
        return {"kind": "file"}


@dataclass(frozen=True)
class InToken:
    """A PKCS#11 token, by its library and label, and the key of that label in it. The PIN is in a file of its own, that
    the system may hand over as a credential."""

    module: Path
    token: str
    pin_file: Path
    label: str = "caducee master"

    def close(self, master: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        with self._key() as key:
            return nonce + bytes(key.encrypt(master, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=_gcm(nonce)))

    def open(self, closed: bytes) -> bytes:
        nonce, sealed = closed[:_NONCE_BYTES], closed[_NONCE_BYTES:]
        with self._key() as key:
            master = bytes(key.decrypt(sealed, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=_gcm(nonce)))
        if len(master) != KEY_BYTES:
            raise IntegrityError("what the token opened is no master key")
        return master

    def place(self) -> dict[str, str]:
        where = {"module": str(self.module), "token": self.token, "pin_file": str(self.pin_file), "label": self.label}
        return {"kind": "pkcs11", **where}

    def make_key(self) -> None:
        """A key in the token, if it has none of this label: AES-256, sensitive, never extractable."""
        with self._session() as session:
            if not list(session.get_objects(self._named())):
                session.generate_key(
                    pkcs11.KeyType.AES,
                    256,
                    label=self.label,
                    store=True,
                    template={
                        pkcs11.Attribute.SENSITIVE: True,
                        pkcs11.Attribute.EXTRACTABLE: False,
                        pkcs11.Attribute.ENCRYPT: True,
                        pkcs11.Attribute.DECRYPT: True,
                    },
                )

    def _named(self) -> dict[Any, Any]:
        return {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, pkcs11.Attribute.LABEL: self.label}

    @contextmanager
    def _key(self) -> Iterator[Any]:
        with self._session() as session:
            yield session.get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, label=self.label)

    @contextmanager
    def _session(self) -> Iterator[Any]:
        pin = read_private(self.pin_file).decode().strip()
        try:
            token = pkcs11.lib(str(self.module)).get_token(token_label=self.token)
            with token.open(rw=True, user_pin=pin) as session:
                yield session
        except (PKCS11Error, RuntimeError, OSError) as error:
            # its name says what happened (PinIncorrect, NoSuchKey), its text nothing
            raise CryptoError(f"the token {self.token!r}: {type(error).__name__}") from None


def service(place: dict[str, str]) -> MasterService:
    """The service that a `master.json` names. Raises CryptoError for one that is not known here."""
    try:
        if place["kind"] == "file":
            return InFile()
        if place["kind"] == "pkcs11":
            return InToken(Path(place["module"]), place["token"], Path(place["pin_file"]), place["label"])
    except (KeyError, TypeError):
        pass
    raise CryptoError("the master key is in a service that is not known here")


def _gcm(nonce: bytes) -> pkcs11.GCMParams:
    return pkcs11.GCMParams(nonce, aad=_CONTEXT, tag_bits=128)
