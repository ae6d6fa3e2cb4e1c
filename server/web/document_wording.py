"""A verdict on the signature of a document, in words that a patient understands; never more than was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crypto.errors import CryptoError
from crypto.pades.verdict import UNREADABLE, Doubt, Level, PdfVerdict, Reason
from crypto.smime.verdict import Status
from server.web.language import Words
from server.web.wording import SaidSigner, say_signer

TITLES = {
    Status.PASSED: "Document signé",
    Status.INDETERMINATE: "Signature du document à confirmer",
    Status.FAILED: "Signature du document non valable",
}
_UNREAD = "Ce document porte une signature, mais elle ne peut pas être vérifiée ici."
SENTENCES = {
    Reason.VALID: "Le document est exactement celui que cette personne a signé, et son certificat est reconnu.",
    Reason.MALFORMED: "La signature du document est mal faite : elle ne prouve rien.",
    Reason.TAMPERED: "Le document a été modifié après la signature. Ne vous y fiez pas.",
    Reason.MODIFIED: "Quelque chose a été ajouté au document après la signature. Ne vous y fiez pas.",
    Reason.PARTLY_COVERED: "La signature ne couvre pas tout le document. Ne vous y fiez pas.",
    Reason.BAD_SIGNATURE: "La signature du document n’a pas été faite avec ce certificat. Ne vous y fiez pas.",
    Reason.WEAK_ALGORITHM: "La signature du document utilise une méthode dépassée, que l’on sait imiter.",
    Reason.NOT_FOR_SIGNING: "Ce certificat n’est pas fait pour signer.",
    Reason.UNREADABLE: _UNREAD,
    Reason.UNKNOWN_ALGORITHM: _UNREAD,
    Reason.UNTRUSTED: "Le certificat du signataire n’est pas d’une autorité reconnue ici.",
    Reason.EXPIRED: "Le certificat du signataire avait expiré, et rien ne prouve que la signature est plus ancienne.",
    Reason.NOT_YET_VALID: "Le certificat du signataire n’était pas encore valable.",
    Reason.REVOKED: "Le certificat du signataire a été révoqué : vérifiez auprès de lui avant de vous y fier.",
}
DOUBTS = {
    Doubt.REVOCATION_NOT_CHECKED: "Nous n’avons pas pu vérifier que le certificat n’a pas été révoqué.",
    Doubt.TIME_NOT_PROVEN: "Rien ne prouve la date : c’est celle que le signataire déclare.",
    Doubt.FORM_CHANGED: "Des champs ont été remplis après la signature, comme elle le permet.",
}


@dataclass(frozen=True, slots=True)
class SaidDocument:
    """The verdict on a document's signature in words. `proven`: `time` is a time stamp's."""

    status: str
    title: str
    sentence: str
    signer: SaidSigner | None
    time: datetime | None
    proven: bool
    doubts: tuple[str, ...]


def say_document(stored: Mapping[str, Any], words: Words) -> SaidDocument:
    """A stored verdict on a document in words; one that a newer program wrote is shown as not verifiable."""
    try:
        verdict = PdfVerdict.from_json(stored)
    except CryptoError:
        verdict = UNREADABLE
    return SaidDocument(
        verdict.status.value,
        words.say(TITLES[verdict.status]),
        words.say(SENTENCES[verdict.reason]),
        say_signer(verdict.signer),
        verdict.time,
        verdict.level in (Level.T, Level.LT),
        tuple(words.say(DOUBTS[doubt]) for doubt in verdict.doubts),
    )
