"""A message opened for who holds a key of it: signed, encrypted, signed again (triple wrapping, RFC 2634 §1.1).

Invariants:
- Opened is only what is the whole body, or what the signature around the whole body covers: never a part among others,
  with which its text could be joined (EFAIL, direct exfiltration; "Re: What's Up Johnny?", 2019, covert contents).
- What has no integrity of its own comes out only when a signature on all of it passes (EFAIL, CBC gadgets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crypto.errors import CryptoError
from crypto.pki.issue import Issued
from crypto.smime.anchors import TrustAnchors
from crypto.smime.envelope import decrypt, is_encrypted
from crypto.smime.signed_data import enclosed_content
from crypto.smime.verdict import Status, Verdict
from server.mail import content, headers
from server.mail.protected import protected
from server.mail.scan import scan
from server.mail.signed import Signed, signed_data
from server.mail.structure import Message, Part
from server.mailbox.understand import understand

MAX_LAYERS = 4  # triple wrapping has three
_CMS = frozenset({"pkcs7-mime", "x-pkcs7-mime"})
_STRUCTURE = ("content-", "mime-version")
# RFC 9788 §4.4: who is said to have written stays the one whom the outer message names and the signature is held to.
_STAYS = "from"


@dataclass(frozen=True, slots=True)
class Layers:
    """`verdicts`: of each signature, outermost first. `message`: what is inside, as a message to be shown (RFC 5322,
    CRLF): its own header where it protected one. `encrypted`: whether any of it was."""

    message: bytes = field(repr=False)
    verdicts: tuple[Verdict, ...]
    encrypted: bool


def open_layers(data: bytes, holders: Sequence[Issued], anchors: TrustAnchors, now: datetime) -> Layers:
    """Open a message for `holders`. Raises `KeyMissing`: it is encrypted to others; `IntegrityError`: it does not open;
    `CryptoError`: it is too large, or has more layers than anybody writes."""
    verdicts: list[Verdict] = []
    encrypted = False

    def proves(entity: bytes) -> bool:
        verdict = understand(_under(data, entity), anchors, now).verdict
        return verdict.status is Status.PASSED and verdict.covers == "whole"

    for _ in range(MAX_LAYERS):
        understood = understand(data, anchors, now)
        if understood.verdict.status is not Status.NONE:
            verdicts.append(understood.verdict)
        message = scan(data)
        signed = signed_data(message, data)
        payload = _payload(message, data, signed)
        sealed = _sealed(payload)
        if sealed is not None:
            encrypted = True
            data = _under(data, decrypt(sealed, holders, proves))
        elif signed is not None and payload is not data and _is_layer(payload):
            data = _under(data, payload)
        else:
            return Layers(data if payload is data else _shown(data, payload), tuple(verdicts), encrypted)
    raise CryptoError("this message has too many layers")


def _payload(message: Message, data: bytes, signed: Signed | None) -> bytes:
    """The entity that the signature over the whole body covers; the message itself where there is none."""
    if signed is None or not signed.at_top or signed.outside:
        return data
    if isinstance(signed.content, bytes):
        return signed.content
    try:
        return enclosed_content(signed.cms)
    except CryptoError:
        return data


def _sealed(entity: bytes) -> bytes | None:
    """The CMS object of an entity that is encrypted as a whole."""
    root = scan(entity).root
    if root.type != "application" or root.subtype not in _CMS:
        return None
    cms = _octets(entity, root)
    return cms if is_encrypted(cms) else None


def _is_layer(entity: bytes) -> bool:
    """Whether there is another signature over all of an entity."""
    signed = signed_data(scan(entity), entity)
    return signed is not None and signed.at_top and not signed.outside


def _octets(entity: bytes, part: Part) -> bytes:
    return content.octets(entity[part.body_start : part.body_end], part.encoding)


def _under(data: bytes, entity: bytes) -> bytes:
    """`entity` under the header of the message `data`."""
    return _header(data, frozenset()) + entity


def _shown(data: bytes, payload: bytes) -> bytes:
    """The payload under its own header, as far as it protected one."""
    inside = protected(payload)
    block, _, body = payload.partition(b"\r\n\r\n")
    kept = b"".join(
        block[one.start : one.end].removesuffix(b"\r\n") + b"\r\n"
        for one in headers.read(block).fields
        if one.name.startswith("content-") or (one.name in inside.fields and one.name != _STAYS)
    )
    return _header(data, frozenset(inside.fields) - {_STAYS}) + kept + b"\r\n" + body


def _header(data: bytes, without: frozenset[str]) -> bytes:
    """The top header of `data` but for those fields, and for what says how its body is made."""
    block = data.partition(b"\r\n\r\n")[0]
    kept = b"".join(
        block[one.start : one.end].removesuffix(b"\r\n") + b"\r\n"
        for one in headers.read(block).fields
        if one.name not in without and not one.name.startswith(_STRUCTURE)
    )
    return kept + b"MIME-Version: 1.0\r\n"
