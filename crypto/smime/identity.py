"""Whether the certificate's holder is the one to whom the directory gives the mailbox."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crypto.smime.verdict import Difference, Directory, Doubt, Signer, Status, SubReason, Verdict

PERSONAL = "PER"
# A practice's mailbox (CAB) is signed for by its professional or in its own name.
_OF_STRUCTURES = frozenset({"ORG", "APP"})


@dataclass(frozen=True, slots=True)
class Registration:
    """What the directory says of an address. `active` is False when it holds no mailbox of that address. `kind` as in
    TRE_R257-TypeBAL; identifiers without the digit of their type, "" or empty where it names none."""

    active: bool
    kind: str = ""
    rpps: str = ""
    finess: frozenset[str] = frozenset()
    siret: str = ""


def identified(verdict: Verdict, registration: Registration | None) -> Verdict:
    """A passing verdict beside the directory; None: it was not asked. Two trusted words that differ settle nothing."""
    if registration is None or verdict.signer is None:
        return verdict
    if not registration.active:
        return replace(verdict, directory=Directory.ABSENT, doubts=(*verdict.doubts, Doubt.NOT_IN_DIRECTORY))
    differences = _differences(verdict.signer, registration)
    if not differences:
        return replace(verdict, directory=Directory.AGREES)
    return replace(
        verdict,
        status=Status.INDETERMINATE,
        reason=SubReason.OTHER_HOLDER,
        directory=Directory.DIFFERS,
        differences=differences,
    )


def _differences(signer: Signer, registration: Registration) -> tuple[Difference, ...]:
    found = []
    of_structure = bool(signer.finess or signer.siret)
    if registration.kind == PERSONAL:
        if not signer.rpps and of_structure:
            found.append(Difference.KIND)
        if signer.rpps and registration.rpps and signer.rpps != registration.rpps:
            found.append(Difference.RPPS)
        return tuple(found)
    if registration.kind in _OF_STRUCTURES and signer.rpps and not of_structure:
        found.append(Difference.KIND)
    if signer.finess and registration.finess and signer.finess not in registration.finess:
        found.append(Difference.FINESS)
    if signer.siret and registration.siret and signer.siret != registration.siret:
        found.append(Difference.SIRET)
    return tuple(found)
