"""The verdict on a signed document from what was found in it, our anchors, and what is known of revocation.

Invariants:
- It asks no network and its work is bounded by what `examine` lets through.
- PASSED means: the signature is of the certificate's key; it covers the whole document as it was then, and what came
  afterwards changes nothing; the certificate may sign, led to an anchor and was not known as revoked at the moment
  that counts.
- The moment that counts is that of a time stamp whose authority leads to an anchor; without one it is now (EN 319
  102-1 §5.5: best signature time). So a certificate that expired or was revoked later spoils no stamped signature.
- What proves deceit comes before what is only unknown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from crypto.pades.facts import Changes, Examined, Signature, Stamp
from crypto.pades.verdict import Doubt, Level, PdfVerdict, Reason
from crypto.pki.crl import Crl
from crypto.pki.ocsp import OcspAnswer
from crypto.pki.revocation import Revocations
from crypto.pki.standing import CLOCK_LEEWAY, UNREADABLE, Answer, Unusable
from crypto.pki.standing import Status as Standing
from crypto.smime.algorithms import MINIMUM_RSA_BITS
from crypto.smime.anchors import TrustAnchors
from crypto.smime.certificate import Certificate, certificate
from crypto.smime.tlv import Malformed
from crypto.smime.verdict import Status

Extension = TypeVar("Extension", bound=x509.ExtensionType)

MINIMUM_CURVE_BITS: Final = 256
_OPEN: Final = frozenset({Reason.UNREADABLE, Reason.UNKNOWN_ALGORITHM})


class _Settled(Exception):
    """The verdict is settled, and it is not PASSED."""

    def __init__(self, status: Status, reason: Reason) -> None:
        super().__init__(reason.value)
        self.status = status
        self.reason = reason


def judge(examined: Examined, anchors: TrustAnchors, stampers: TrustAnchors, now: datetime) -> list[PdfVerdict]:
    """One verdict a signature, in the order they were made; none for a document that is not signed.

    `stampers`: the anchors of time-stamp authorities; `now` is aware. Never raises, whatever was found.
    """
    proofs = _proofs(examined)
    return [_judge(one, examined.certificates, proofs, anchors, stampers, now) for one in examined.signatures]


def _judge(
    one: Signature,
    others: Sequence[bytes],
    proofs: Revocations,
    anchors: TrustAnchors,
    stampers: TrustAnchors,
    now: datetime,
) -> PdfVerdict:
    draft = PdfVerdict(Status.FAILED, Reason.MALFORMED, time=one.claimed_time)
    try:
        _check_readable(one)
        holder = certificate(one.certificate)
        draft = replace(draft, signer=holder.signer, level=Level.B)
        _check_signature(one, holder)
        sources = (anchors.revocations, proofs)
        stamped = one.stamp is not None and _trusted(one.stamp, others, sources, stampers, now)
        moment = one.stamp.time if one.stamp is not None and stamped else now
        if stamped:
            draft = replace(draft, level=Level.T, time=moment)
        path = _check_trust(holder, others, anchors, moment)
        good = _check_revocation(path, sources, moment, now)
    except Malformed:
        return draft
    except _Settled as settled:
        return replace(draft, status=settled.status, reason=settled.reason)
    if stamped and proofs.judge(path, moment).status is Standing.GOOD:
        draft = replace(draft, level=Level.LT)
    doubts = [Doubt.FORM_CHANGED] if one.changes is Changes.FORM else []
    if not stamped:
        doubts.append(Doubt.TIME_NOT_PROVEN)
    if not good:
        doubts.append(Doubt.REVOCATION_NOT_CHECKED)
    return replace(draft, status=Status.PASSED, reason=Reason.VALID, doubts=tuple(doubts))


def _check_readable(one: Signature) -> None:
    if not one.fault:
        return
    try:
        reason = Reason(one.fault)
    except ValueError:
        reason = Reason.MALFORMED
    raise _Settled(Status.INDETERMINATE if reason in _OPEN else Status.FAILED, reason)


def _check_signature(one: Signature, holder: Certificate) -> None:
    failed = (
        (Reason.TAMPERED, not one.intact),
        (Reason.BAD_SIGNATURE, not one.made),
        (Reason.WEAK_ALGORITHM, _is_weak(holder.x509)),
        (Reason.PARTLY_COVERED, not one.whole),
        (Reason.MODIFIED, one.changes is Changes.OTHER),
        (Reason.NOT_FOR_SIGNING, not _may_sign(holder.x509)),
    )
    for reason, holds in failed:
        if holds:
            raise _Settled(Status.FAILED, reason)


def _is_weak(holder: x509.Certificate) -> bool:
    try:
        key = holder.public_key()
    except UNREADABLE:
        return False  # of a kind that is not known here: then `examine` found nothing to hold either
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size < MINIMUM_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < MINIMUM_CURVE_BITS


def _may_sign(holder: x509.Certificate) -> bool:
    """EN 319 412-2 §4.3.2: digitalSignature or nonRepudiation; and never the certificate of an authority."""
    usage, constraints = _extension(holder, x509.KeyUsage), _extension(holder, x509.BasicConstraints)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        return False
    return constraints is None or not constraints.ca


def _trusted(
    stamp: Stamp, others: Sequence[bytes], sources: Sequence[Revocations], stampers: TrustAnchors, now: datetime
) -> bool:
    """Whether a time stamp proves its time to us: it holds, and its authority may stamp, is known, and not revoked."""
    if not stamp.holds or stamp.time > now + CLOCK_LEEWAY:
        return False
    try:
        authority = certificate(stamp.certificate)
    except Malformed:
        return False
    usage = _extension(authority.x509, x509.ExtendedKeyUsage)
    # RFC 3161 §2.3: the certificate is for time stamping and nothing else.
    if usage is None or set(usage) != {ExtendedKeyUsageOID.TIME_STAMPING}:
        return False
    path = stampers.path(authority.x509, authority.der, _without(others, authority.der), stamp.time)
    return bool(path) and all(known.judge(path, now).status is not Standing.REVOKED for known in sources)


def _check_trust(
    holder: Certificate, others: Sequence[bytes], anchors: TrustAnchors, moment: datetime
) -> tuple[x509.Certificate, ...]:
    """The path to an anchor at the moment that counts; out of its time a certificate is told from a stranger's."""
    nearest = min(max(moment, holder.not_before), holder.not_after)
    path = anchors.path(holder.x509, holder.der, _without(others, holder.der), nearest)
    if not path:
        raise _Settled(Status.INDETERMINATE, Reason.UNTRUSTED)
    if moment > holder.not_after:
        raise _Settled(Status.INDETERMINATE, Reason.EXPIRED)
    if moment < holder.not_before:
        raise _Settled(Status.INDETERMINATE, Reason.NOT_YET_VALID)
    return path


def _check_revocation(
    path: tuple[x509.Certificate, ...], sources: Sequence[Revocations], moment: datetime, now: datetime
) -> bool:
    """Whether somebody says that nothing of the path is revoked. What was revoked after the proven moment still stood
    then (EN 319 102-1 §5.5.4), unless it is not said when."""
    answers = [source.judge(path, at) for source in sources for at in {moment, now}]
    if any(_revoked_before(answer, moment) for answer in answers):
        raise _Settled(Status.INDETERMINATE, Reason.REVOKED)
    return any(answer.status is not Standing.UNKNOWN for answer in answers)


def _revoked_before(answer: Answer, moment: datetime) -> bool:
    return answer.status is Standing.REVOKED and (answer.revoked_at is None or answer.revoked_at <= moment)


def _proofs(examined: Examined) -> Revocations:
    """What the document brings along of lists and answers; each proves nothing but by its issuer's signature."""
    known = Revocations()
    for number, der in enumerate(examined.crls):
        with contextlib.suppress(Unusable):
            known.learn(Crl.parse(der, f"crl {number}"))
    for number, der in enumerate(examined.ocsps):
        with contextlib.suppress(Unusable):
            known.learn(OcspAnswer.parse(der, f"ocsp {number}"))
    return known


def _without(others: Sequence[bytes], one: bytes) -> list[bytes]:
    return [der for der in others if der != one]


def _extension(holder: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return holder.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
