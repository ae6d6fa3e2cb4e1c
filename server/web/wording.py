"""A verdict on a signature, and a kind of file, in words that a patient understands; never more than was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crypto.errors import CryptoError
from crypto.smime.verdict import UNSIGNED, Difference, Doubt, Signer, Status, SubReason, Verdict
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
    SubReason.OTHER_HOLDER: "L’annuaire attribue cette messagerie à un autre que le signataire.",
    SubReason.HEADER_CHANGED: "L’en-tête affiché (objet, date, adresses) n’est pas celui qui a été signé.",
    SubReason.TOO_LARGE: _CANNOT_TELL,
    SubReason.SEVERAL_SIGNERS: _CANNOT_TELL,
    SubReason.AMBIGUOUS: "Deux logiciels pourraient montrer de ce message un contenu différent.",
    SubReason.UNKNOWN_ALGORITHM: _CANNOT_TELL,
    SubReason.NO_CERTIFICATE: _CANNOT_TELL,
    SubReason.TWO_CERTIFICATES: _CANNOT_TELL,
    SubReason.UNTRUSTED: "Le certificat du signataire n’est pas d’une autorité reconnue ici.",
    SubReason.OTHER_POLICY: "Le certificat du signataire n’est pas d’une catégorie acceptée ici.",
    SubReason.EXPIRED: "Le certificat du signataire avait expiré.",
    SubReason.REVOKED: "Le certificat du signataire a été révoqué : vérifiez auprès de lui avant de vous y fier.",
    SubReason.REVOCATION_UNKNOWN: "Nous n’avons pas pu vérifier que le certificat n’a pas été révoqué.",
    SubReason.NOT_YET_VALID: "Le certificat du signataire n’était pas encore valable.",
    SubReason.NO_ADDRESS: "Le certificat ne dit pas à quelle adresse il appartient.",
}
DOUBTS = {
    Doubt.REVOCATION_NOT_CHECKED: "Nous n’avons pas pu vérifier que le certificat n’a pas été révoqué.",
    Doubt.PART_ONLY: "La signature ne couvre qu’une partie du message : le reste peut être de n’importe qui.",
    Doubt.MICALG_DIFFERS: "Le message annonce une autre méthode de calcul que celle de la signature.",
    Doubt.SIGNING_TIME_IN_FUTURE: "La date de signature déclarée est dans le futur.",
    Doubt.SIGNING_TIME_OUTSIDE_CERTIFICATE: "La date de signature déclarée est hors de la validité du certificat.",
    Doubt.SIGNED_LONG_AGO: "Le message a été signé il y a longtemps : il peut s’agir d’un ancien message renvoyé.",
    Doubt.DATE_DIFFERS: "La date affichée n’est pas celle de la signature.",
    Doubt.SENDER_DIFFERS: "Un autre que l’expéditeur affiché a envoyé ce message.",
    Doubt.REPLY_ELSEWHERE: "Votre réponse partirait vers une autre adresse que celle du signataire.",
    Doubt.NAME_MISLEADS: "Le nom affiché contient une autre adresse que celle du signataire.",
    Doubt.NAME_DIFFERS: "Le nom affiché n’est pas celui du certificat.",
    Doubt.NOT_IN_DIRECTORY: "Cette adresse n’est pas une messagerie active de l’annuaire.",
}
COVERAGE = {  # by whether the header is signed
    True: "La signature couvre aussi l’en-tête du message.",
    False: "La signature ne couvre pas l’en-tête : objet, date et destinataires ont pu être changés.",
}
DIFFERENCES = {
    Difference.RPPS: "Le numéro RPPS du certificat n’est pas celui de l’annuaire.",
    Difference.FINESS: "Le numéro FINESS du certificat n’est pas celui de l’annuaire.",
    Difference.SIRET: "Le numéro SIRET du certificat n’est pas celui de l’annuaire.",
    Difference.KIND: "Le certificat d’une personne signe pour une structure, ou l’inverse.",
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
    """Who the certificate names. `identifier` is an RPPS, FINESS or SIRET number with its kind, or ""."""

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
    coverage: str  # whether the header is signed, "" where nothing is
    doubts: tuple[str, ...]


def say_verdict(stored: Mapping[str, Any], words: Words) -> Said:
    """A stored verdict in words; one that a newer program wrote is shown as not verifiable."""
    try:
        verdict = Verdict.from_json(stored) if stored else UNSIGNED
    except CryptoError:
        verdict = Verdict(Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM)
    return Said(
        verdict.status.value,
        words.say(TITLES[verdict.status]),
        words.say(SENTENCES[verdict.reason]),
        say_signer(verdict.signer),
        verdict.signing_time,
        words.say(COVERAGE[bool(verdict.headers)]) if verdict.status is Status.PASSED else "",
        tuple(words.say(DIFFERENCES[one]) for one in verdict.differences)
        + tuple(words.say(DOUBTS[doubt]) for doubt in verdict.doubts),
    )


def say_signer(given: Signer | None) -> SaidSigner | None:
    """Who a certificate names, fit for a page."""
    if given is None:
        return None
    numbers = (("RPPS", given.rpps), ("FINESS", given.finess), ("SIRET", given.siret))
    identifier = next((f"{kind} {number}" for kind, number in numbers if number), "")
    return SaidSigner(clean_line(given.name), clean_line(given.organisation), clean_line(identifier), given.addresses)


def say_kind(media_type: str, words: Words) -> str:
    """A kind of file for people; what has no name of ours is shown as it calls itself."""
    known = KINDS.get(media_type)
    return words.say(known) if known else clean_line(media_type)
