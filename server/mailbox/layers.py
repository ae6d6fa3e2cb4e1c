"""A message opened for who holds a key of it: signed, encrypted, signed again (triple wrapping, RFC 2634 §1.1).

Invariants:
- Opened is only what is the whole body, or what the signature around the whole body covers: never a part among others,
  with which its text could be joined (EFAIL, direct exfiltration; "Re: What's Up Johnny?", 2019, covert contents).
- What has no integrity of its own comes out only when a signature on all of it passes (EFAIL, CBC gadgets).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
# And what servers say of a message, nobody says from inside of it.
_STAYS = frozenset({"from", "authentication-results", "received", "return-path"})


@dataclass(frozen=True, slots=True)
class Layers:
    """`verdicts`: of each signature, outermost first. `message`: what is inside, as a message to be shown (RFC 5322,
    CRLF): its own header where it protected one. `decrypted`: the same with the signatures that were inside of what was
    encrypted, as a mail program without a key can judge them. `encrypted`: whether any of it was."""

    message: bytes = field(repr=False)
    decrypted: bytes = field(repr=False)
    verdicts: tuple[Verdict, ...]
    encrypted: bool


def open_layers(data: bytes, holders: Sequence[Issued], anchors: TrustAnchors, now: datetime) -> Layers:
    """Open a message for `holders`. Raises `KeyMissing`: it is encrypted to others; `IntegrityError`: it does not open;
    `CryptoError`: it is too large, or has more layers than anybody writes."""
    verdicts: list[Verdict] = []
    top = data  # as it came
    inside: bytes | None = None  # what was encrypted in it

    def proves(entity: bytes) -> bool:
        verdict = understand(_under(top, entity), anchors, now).verdict
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
            inside = decrypt(sealed, holders, proves)
            data = _under(top, inside)
        elif signed is not None and payload is not data and _is_layer(payload):
            data = _under(top, payload)
        else:
            own = inside if payload is data else payload
            shown = top if own is None else _under(top, own, own)
            decrypted = top if own is None or inside is None else _under(top, inside, own)
            return Layers(shown, decrypted, tuple(verdicts), inside is not None)
    raise CryptoError("this message has too many layers")


def may_be_encrypted(message: Message) -> bool:
    """Whether a message may be encrypted as a whole, or what a signature on all of it covers: by its structure alone,
    so that "yes" may be said of one that is only signed."""
    root = message.root
    return _is_cms(root.children[0] if root.subtype == "signed" and root.children else root)


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
    if not _is_cms(root):
        return None
    cms = _octets(entity, root)
    return cms if is_encrypted(cms) else None


def _is_cms(part: Part) -> bool:
    return part.type == "application" and part.subtype in _CMS


def _is_layer(entity: bytes) -> bool:
    """Whether there is another signature over all of an entity."""
    signed = signed_data(scan(entity), entity)
    return signed is not None and signed.at_top and not signed.outside


def _octets(entity: bytes, part: Part) -> bytes:
    return content.octets(entity[part.body_start : part.body_end], part.encoding)


def _under(top: bytes, entity: bytes, payload: bytes = b"") -> bytes:
    """An entity under the header of the message `top`: nothing from inside stands there but what says how the body is
    made, and the fields that `payload` protected, which is the entity or what is signed in it."""
    own = frozenset(protected(payload).fields) - _STAYS
    start = scan(entity).root.body_start
    if start == len(entity):  # all of it is header, or text that never had one: nothing is lost
        start = 0
    return (
        _fields(top, lambda name: name not in own and not name.startswith(_STRUCTURE))
        + b"MIME-Version: 1.0\r\n"
        + _fields(payload, own.__contains__)
        + _fields(entity, lambda name: name.startswith("content-"))
        + b"\r\n"
        + entity[start:]
    )


def _fields(entity: bytes, wanted: Callable[[str], bool]) -> bytes:
    """The header fields whose names (lower case) are wanted, as they stand."""
    block = entity[: scan(entity).root.body_start]
    return b"".join(
        block[one.start : one.end].rstrip(b"\r\n") + b"\r\n" for one in headers.read(block).fields if wanted(one.name)
    )
