"""Any bytes as an encrypted message.

Invariant: `decrypt` gives the content that the seeds' sender encrypted, or says no in one of its three ways; without
integrity nothing comes out, whatever the caller's key opens.
The seeds are encrypted to `READER`, whose key is a number that everybody knows.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

from crypto.errors import CryptoError
from crypto.smime.envelope import decrypt
from tests.signers import certificate

ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nAmoxicilline 1 g.\r\n"
KNOWN = ec.derive_private_key(20261123, ec.SECP256R1())
# Its own issuer, since the seeds name the recipient by issuer and serial number.
READER = certificate("READER", key=KNOWN, serial=7, self_signed=True)


def fuzz(data: bytes) -> None:
    asked: list[bytes] = []

    def proves(content: bytes) -> bool:
        asked.append(content)
        return content == ENTITY

    try:
        content = decrypt(data, [READER], proves)
    except CryptoError:
        pass
    else:
        assert content == ENTITY
    try:
        content = decrypt(data, [READER])
    except CryptoError:
        pass
    else:
        assert content == ENTITY
        assert not asked  # it has integrity of its own: nobody else was asked
