"""A passkey as an authenticator makes and shows it (WebAuthn Level 3), with every part open to be falsified."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import encode_cbor

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40  # §6.1


def to_text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def to_octets(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One credential in one authenticator. `changes` of `create` and `get`: page, rp_id, flags, type, challenge."""

    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes = b""
    counter: int = 0
    counts: bool = True
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: str, origin: str, **changes: Any) -> str:
        """The answer to creation options."""
        asked = json.loads(options)
        self.handle = to_octets(asked["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + encode_cbor(cose)
        data = self._data(asked["rp"]["id"], ATTESTED, changes) + attested
        attestation = encode_cbor({"fmt": "none", "attStmt": {}, "authData": data})
        client = _client_data("webauthn.create", asked, origin, changes)
        return self._answer({"clientDataJSON": to_text(client), "attestationObject": to_text(attestation)})

    def get(self, options: str, origin: str, **changes: Any) -> str:
        """The answer to request options."""
        asked = json.loads(options)
        if self.counts:
            self.counter += 1
        data = self._data(asked["rpId"], 0, changes)
        client = _client_data("webauthn.get", asked, origin, changes)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {
                "clientDataJSON": to_text(client),
                "authenticatorData": to_text(data),
                "signature": to_text(signature),
                "userHandle": to_text(changes.get("handle", self.handle)),
            }
        )

    def _data(self, rp_id: str, more: int, changes: dict[str, Any]) -> bytes:
        flags = changes.get("flags", PRESENT | VERIFIED) | more
        named = changes.get("rp_id", rp_id).encode()
        return hashlib.sha256(named).digest() + bytes([flags]) + self.counter.to_bytes(4, "big")

    def _answer(self, response: dict[str, str]) -> str:
        name = to_text(self.credential_id)
        document = {"id": name, "rawId": name, "type": "public-key", "response": response}
        return json.dumps(document | {"clientExtensionResults": {}})


def _client_data(kind: str, asked: dict[str, Any], origin: str, changes: dict[str, Any]) -> bytes:
    document = {
        "type": changes.get("type", kind),
        "challenge": changes.get("challenge", asked["challenge"]),
        "origin": changes.get("page", origin),
        "crossOrigin": changes.get("framed", False),
    }
    return json.dumps(document).encode()
