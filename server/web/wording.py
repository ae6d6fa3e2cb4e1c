"""A verdict on a signature, and a kind of file, in words that a patient understands; never more than was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crypto.errors import CryptoError
from crypto.smime.verdict import UNSIGNED, Doubt, Status, SubReason, Verdict
from server.web.language import Words
from server.web.plain_text import clean_line

TITLES = {
    Status.PASSED: "Signature valide",
    Status.INDETERMINATE: "Signature à confirmer",
    Status.FAILED: "Signature non valable",
    Status.NONE: "Non signé",
}
_MADE_WRONGLY = "La signature est mal faite : elle ne prouve rien."
_CANNOT_TELL = "Ce message porte une signature, mais elle ne peut pas être vérifiée ici."
SENTENCES = {
    SubReason.VALID: "Le contenu est exactement celui que cette personne a signé, et son certificat est reconnu.",
    SubReason.NOT_SIGNED: "Ce message ne porte pas de signature électronique : rien ne prouve ici qui l’a écrit.",
    SubReason.MALFORMED: _MADE_WRONGLY,
    SubReason.NO_SIGNER: _MADE_WRONGLY,
    SubReason.NO_CONTENT: _MADE_WRONGLY,
    SubReason.ENCLOSED_CONTENT: _MADE_WRONGLY,
    SubReason.BAD_ATTRIBUTES: _MADE_WRONGLY,
    SubReason.TAMPERED: "Le contenu a été modifié après la signature. Ne vous y fiez pas.",
    SubReason.BAD_SIGNATURE: "La signature n’a pas été faite avec ce certificat. Ne vous fiez pas à ce message.",
    SubReason.WEAK_DIGEST: "La signature utilise une méthode dépassée, que l’on sait imiter.",
    SubReason.WEAK_KEY: "La signature utilise une clé trop faible, que l’on sait imiter.",
    SubReason.OTHER_CERTIFICATE: "Le certificat joint n’est pas celui du signataire.",
    SubReason.NOT_FOR_MAIL: "Ce certificat n’est pas fait pour signer des messages.",
    SubReason.OTHER_SENDER: "Le signataire n’est pas l’expéditeur affiché. Ne vous fiez pas à ce message.",
    SubReason.TOO_LARGE: _CANNOT_TELL,
    SubReason.SEVERAL_SIGNERS: _CANNOT_TELL,
    SubReason.AMBIGUOUS: "Deux logiciels pourraient montrer de ce message un contenu différent.",
    SubReason.UNKNOWN_ALGORITHM: _CANNOT_TELL,
    SubReason.NO_CERTIFICATE: _CANNOT_TELL,
    SubReason.TWO_CERTIFICATES: _CANNOT_TELL,
    SubReason.UNTRUSTED: "Le certificat du signataire n’est pas d’une autorité reconnue ici.",
    SubReason.EXPIRED: "Le certificat du signataire avait expiré.",
    SubReason.REVOKED: "Le certificat du signataire a été révoqué : vérifiez auprès de lui avant de vous y fier.",
    SubReason.NOT_YET_VALID: "Le certificat du signataire n’était pas encore valable.",
    SubReason.NO_ADDRESS: "Le certificat ne dit pas à quelle adresse il appartient.",
}
DOUBTS = {
    Doubt.REVOCATION_NOT_CHECKED: "Nous n’avons pas pu vérifier que le certificat n’a pas été révoqué.",
    Doubt.PART_ONLY: "La signature ne couvre qu’une partie du message : le reste peut être de n’importe qui.",
    Doubt.MICALG_DIFFERS: "Le message annonce une autre méthode de calcul que celle de la signature.",
    Doubt.SIGNING_TIME_IN_FUTURE: "La date de signature déclarée est dans le futur.",
    Doubt.SIGNING_TIME_OUTSIDE_CERTIFICATE: "La date de signature déclarée est hors de la validité du certificat.",
}

KINDS = {
    "application/pdf": "PDF",
    "application/zip": "Archive ZIP",
    "text/plain": "Texte",
    "text/html": "Page HTML",
    "text/xml": "XML",
    "application/xml": "XML",
    "image/jpeg": "Image JPEG",
    "image/png": "Image PNG",
    "message/rfc822": "Message",
}


@dataclass(frozen=True, slots=True)
class SaidSigner:
    """Who the certificate names. `identifier` is an RPPS or FINESS number with its kind, or ""."""

    name: str
    organisation: str
    identifier: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict in words. `status` is for the style sheet."""

    status: str
    title: str
    sentence: str
    signer: SaidSigner | None
    signing_time: datetime | None
    doubts: tuple[str, ...]


def say_verdict(stored: Mapping[str, Any], words: Words) -> Said:
    """A stored verdict in words; one that a newer program wrote is shown as not verifiable."""
    try:
        verdict = Verdict.from_json(stored) if stored else UNSIGNED
    except CryptoError:
        verdict = Verdict(Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM)
    signer = None
    if verdict.signer is not None:
        given = verdict.signer
        identifier = f"RPPS {given.rpps}" if given.rpps else f"FINESS {given.finess}" if given.finess else ""
        signer = SaidSigner(
            clean_line(given.name), clean_line(given.organisation), clean_line(identifier), given.addresses
        )
    return Said(
        verdict.status.value,
        words.say(TITLES[verdict.status]),
        words.say(SENTENCES[verdict.reason]),
        signer,
        verdict.signing_time,
        tuple(words.say(DOUBTS[doubt]) for doubt in verdict.doubts),
    )


def say_kind(media_type: str, words: Words) -> str:
    """A kind of file for people; what has no name of ours is shown as it calls itself."""
    known = KINDS.get(media_type)
    return words.say(known) if known else clean_line(media_type)
