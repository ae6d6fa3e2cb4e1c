"""Algorithms that signatures may have (RFC 8551 §2.1 and §2.2), and whether one holds."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from asn1crypto.algos import RSASSAPSSParams
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from crypto.smime.certificate import PublicKey
from crypto.smime.digested import Digested
from crypto.smime.signed_data import SignerInfo, oid

MINIMUM_RSA_BITS = 2048  # RFC 8551 §4.2; IGC-Santé issues no less
MAXIMUM_RSA_BITS = 8192  # a longer key is a way to burn a processor
PSS_PARAMETERS_BYTES = 256
PSS_PARAMETERS_KEPT = 64  # there are few; reading them takes 0.15 ms

DIGESTS: Final[dict[bytes, hashes.HashAlgorithm]] = {
    oid("2.16.840.1.101.3.4.2.1"): hashes.SHA256(),
    oid("2.16.840.1.101.3.4.2.2"): hashes.SHA384(),
    oid("2.16.840.1.101.3.4.2.3"): hashes.SHA512(),
}
WEAK_DIGESTS: Final = frozenset(
    oid(dotted)
    for dotted in (
        "1.2.840.113549.2.2",  # MD2
        "1.2.840.113549.2.4",  # MD4
        "1.2.840.113549.2.5",  # MD5
        "1.3.14.3.2.26",  # SHA-1
    )
)
_RSA: Final = {  # the digest that the algorithm itself names, None when it names none
    oid("1.2.840.113549.1.1.1"): None,
    oid("1.2.840.113549.1.1.11"): "sha256",
    oid("1.2.840.113549.1.1.12"): "sha384",
    oid("1.2.840.113549.1.1.13"): "sha512",
}
_RSA_PSS: Final = oid("1.2.840.113549.1.1.10")
_ECDSA: Final = {
    oid("1.2.840.10045.2.1"): None,  # id-ecPublicKey, which some signers write here
    oid("1.2.840.10045.4.3.2"): "sha256",
    oid("1.2.840.10045.4.3.3"): "sha384",
    oid("1.2.840.10045.4.3.4"): "sha512",
}
_ED25519: Final = oid("1.3.101.112")  # RFC 8419
_WEAK: Final = frozenset(
    oid(dotted)
    for dotted in (
        "1.2.840.113549.1.1.2",  # md2WithRSA
        "1.2.840.113549.1.1.4",  # md5WithRSA
        "1.2.840.113549.1.1.5",  # sha1WithRSA
        "1.2.840.10045.4.1",  # ecdsa-with-SHA1
    )
)
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


class Unknown(Exception):
    """An algorithm or key that is not known here."""


class Weak(Exception):
    """An algorithm or key that proves nothing."""

    def __init__(self, *, key: bool) -> None:
        super().__init__()
        self.key = key


def signature_holds(
    signer: SignerInfo,
    key: PublicKey | None,
    digest: hashes.HashAlgorithm,
    signed: bytes | Digested,
) -> bool:
    """Whether the signature over `signed` was made with `key`. Raises `Unknown`, `Weak`.

    The digest of the signature must be the one of the content (RFC 5652 §5.3: the SignerInfo's digestAlgorithm).
    """
    if signer.algorithm in _WEAK:
        raise Weak(key=False)
    octets = signed if isinstance(signed, bytes) else signed.digest(digest.name)
    algorithm = digest if isinstance(signed, bytes) else Prehashed(digest)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if key.key_size < MINIMUM_RSA_BITS:
                raise Weak(key=True)
            if key.key_size > MAXIMUM_RSA_BITS:
                raise Unknown
            key.verify(signer.signature, octets, _rsa_padding(signer, digest), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if key.curve.name not in _CURVES:
                raise Unknown
            _agree(_ECDSA, signer.algorithm, digest)
            key.verify(signer.signature, octets, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            # RFC 8419 §3: over the content itself, which has passed, no digest helps.
            if signer.algorithm != _ED25519 or isinstance(signed, Digested):
                raise Unknown
            key.verify(signer.signature, octets)
        else:
            raise Unknown
    except InvalidSignature:
        return False
    return True


def _rsa_padding(signer: SignerInfo, digest: hashes.HashAlgorithm) -> padding.PKCS1v15 | padding.PSS:
    if signer.algorithm != _RSA_PSS:
        _agree(_RSA, signer.algorithm, digest)
        return padding.PKCS1v15()
    if len(signer.parameters) > PSS_PARAMETERS_BYTES:
        raise Unknown
    return padding.PSS(padding.MGF1(digest), _pss_salt(signer.parameters, digest.name))


def _agree(known: dict[bytes, str | None], algorithm: bytes, digest: hashes.HashAlgorithm) -> None:
    if algorithm not in known or known[algorithm] not in (None, digest.name):
        raise Unknown


@lru_cache(maxsize=PSS_PARAMETERS_KEPT)
def _pss_salt(parameters: bytes, digest: str) -> int:
    """The salt length of RFC 4055 §3.1, with one digest throughout (RFC 4056 §3); left out parameters mean SHA-1."""
    try:
        read = RSASSAPSSParams.load(parameters, strict=True)
        names = {
            read["hash_algorithm"]["algorithm"].native,
            read["mask_gen_algorithm"]["parameters"]["algorithm"].native,
        }
        sound = read["mask_gen_algorithm"]["algorithm"].native == "mgf1" and int(read["trailer_field"]) == 1
        salt = int(read["salt_length"].native)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Unknown from None
    if names & {"sha1", "md5"}:
        raise Weak(key=False)
    if names != {digest} or not sound or not 0 <= salt <= MAXIMUM_RSA_BITS // 8:
        raise Unknown
    return salt
