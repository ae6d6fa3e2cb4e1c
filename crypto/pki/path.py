"""Whether a certificate has a path to an anchor at a moment.

Path building and checking is `cryptography`'s verifier (RFC 5280 §6: signatures, validity, basic constraints, name
constraints, unknown critical extensions; weak keys and SHA-1 refused), with no demand on what kind of leaf it is: usage
is judged where it matters. Revocation is not looked at here; who asks must say so.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

MAX_DEPTH = 4  # intermediates; IGC-Santé has one, real hierarchies seldom three
MAX_INTERMEDIATES = 16  # of what a stranger sends along, so that path building stays cheap
NOT_FOUND_FOR = timedelta(hours=1)
# What `cryptography` raises for a certificate that it cannot read, when loading it or when a field is asked for (it has
# no common ancestor for these; found by fuzzing).
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def _may_issue(policy: Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    # RFC 5280 §6.1.4 (k): cA is asserted.
    if not constraints.ca:
        raise ValueError("not an authority")


def _may_sign(policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    # RFC 5280 §6.1.4 (n): if keyUsage is there, keyCertSign is set.
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("not a key that signs certificates")


# RFC 5280 and no more: the rules of the public web (webpki) would refuse sound private roots without keyUsage.
_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _may_issue)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
)


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and how long it holds: a good one while all its certificates are valid, a bad one for an hour.

    `path`: from the leaf to the anchor, empty where there is none.
    """

    path: tuple[x509.Certificate, ...]
    since: datetime
    until: datetime


def find(anchors: Store, leaf: x509.Certificate, others: Sequence[bytes], now: datetime) -> Found:
    """Look for a path from `leaf` to `anchors` at `now` (aware), with `others` (DER) as possible intermediates."""
    intermediates = [read for der in others[:MAX_INTERMEDIATES] if (read := _read(der)) is not None]
    verifier = (
        PolicyBuilder()
        .store(anchors)
        .time(now)
        .max_chain_depth(MAX_DEPTH)
        .extension_policies(ca_policy=_AUTHORITY, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        chain = verifier.verify(leaf, intermediates).chain
    except (VerificationError, *UNREADABLE):
        return Found((), now, now + NOT_FOUND_FOR)
    return Found(
        tuple(chain),
        max(certificate.not_valid_before_utc for certificate in chain),
        min(certificate.not_valid_after_utc for certificate in chain),
    )


def _read(der: bytes) -> x509.Certificate | None:
    """None for what is no certificate: it helps no path, and hinders none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `smime.certificate`: no news for our logs
        try:
            return x509.load_der_x509_certificate(der)
        except UNREADABLE:
            return None
