"""A signer whose key is in a card or another PKCS#11 token, and never leaves it: a CPS card, a hardware module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pkcs11.exceptions import PKCS11Error
from pyhanko.config.pkcs11 import TokenCriteria
from pyhanko.sign.pkcs11 import PKCS11Signer, open_pkcs11_session

from crypto.errors import CryptoError
from crypto.pades.sign import Signer


@contextlib.contextmanager
def token_signer(module: Path, token: str, pin: str, label: str) -> Iterator[Signer]:
    """A signer whose key is in the PKCS#11 token of that name, with its certificate under the same label.

    `module` is the token's library. Raises CryptoError: no such token, key or certificate, or a wrong PIN.
    """
    try:
        with open_pkcs11_session(str(module), token_criteria=TokenCriteria(label=token), user_pin=pin) as session:
            yield PKCS11Signer(session, cert_label=label, key_label=label)
    except PKCS11Error as error:  # its name says what happened (PinIncorrect, NoSuchKey), its text nothing
        raise CryptoError(f"the token {token!r}: {type(error).__name__}") from None
