"""Everyday words for professions, specialties and towns: what people type where the national files say it otherwise.

They are added to the index, not to the query, so that a search stays one look-up a word.
"""

from __future__ import annotations

import re
from functools import lru_cache

from directory.folding import words

# TRE_G15-ProfessionSante → words people use, folded; feminine forms too, since the labels are masculine.
_PROFESSIONS: dict[str, str] = {
    "10": "medecin docteur",
    "21": "pharmacien pharmacienne pharmacie",
    "26": "audioprothesiste audio",
    "28": "opticien opticienne",
    "40": "dentiste chirurgienne",
    "50": "sage femme maieuticien maieuticienne sagefemme",
    "60": "infirmier infirmiere ide idel",
    "69": "infirmier infirmiere",
    "70": "kine kinesitherapeute masseur masseuse",
    "80": "podologue pedicure",
    "91": "orthophoniste",
    "92": "orthoptiste",
    "93": "psychologue psy",
    "94": "ergotherapeute ergo",
    "95": "dieteticien dieteticienne nutritionniste",
    "96": "psychomotricien psychomotricienne psychomot",
    "98": "manipulateur manipulatrice radio",
}
# A word of a specialty's label → what its practitioner is called, where the ending rules below do not say it.
_SPECIALTIES: dict[str, str] = {
    "anesthesie": "anesthesiste",
    "chirurgie": "chirurgien chirurgienne",
    "dermatologie": "dermato",
    "endocrinologie": "endocrino",
    "gastro": "gastroenterologue",
    "geriatrie": "gerontologue",
    "gynecologie": "gyneco",
    "gynecologique": "gynecologue gyneco",
    "laryngologie": "orl",
    "obstetrique": "obstetricien obstetricienne",
    "ophtalmologie": "ophtalmo oculiste",
    "orthopedique": "orthopediste",
    "orthopedie": "orthopediste",
    "pediatrie": "pediatre",
    "psychiatrie": "psy",
    "radio": "radiologue",
    "radiodiagnostic": "radiologue",
    "reanimation": "reanimateur",
    "rhumatologie": "rhumato",
    "urgence": "urgentiste",
    "urgences": "urgentiste",
    "vasculaire": "angiologue phlebologue",
}
# Words that say nothing of who is looked for: they may match, and must not.
_CIVILITIES = "dr docteur docteure pr professeur m mr mme mlle monsieur madame mademoiselle maitre"
_PARTICLES = "a au aux chez d de des du en et l la le les pour sur sous arrondissement cedex"
OPTIONAL = frozenset(f"{_CIVILITIES} {_PARTICLES}".split())
_ENDINGS = ((re.compile(r"logie$"), ("logue", "logiste")), (re.compile(r"iatrie$"), ("iatre",)))
_SHORT = {"st": "saint", "ste": "sainte", "sts": "saints", "ctre": "centre"}
# Communes whose postcodes end in the number of the arrondissement.
_DISTRICTS = {"paris": "75", "lyon": "69", "marseille": "13"}
_ARRONDISSEMENT = re.compile(r"(\d{1,2})(?:e|er|eme|ieme|nd)?")


@lru_cache(maxsize=4_096)
def of_profession(code: str) -> tuple[str, ...]:
    """Everyday words of a profession code."""
    return tuple(_PROFESSIONS.get(code, "").split())


@lru_cache(maxsize=4_096)
def of_specialty(label: str) -> tuple[str, ...]:
    """Everyday words of a specialty's label: "Dermatologie et vénéréologie" → dermatologue, dermato, …"""
    parts = words(label)
    found: list[str] = []
    for part in parts:
        found += _SPECIALTIES.get(part, "").split()
        for ending, others in _ENDINGS:
            if ending.search(part):
                found += [ending.sub(other, part) for other in others]
    if "medecine" in parts and "generale" in parts:
        found += ["generaliste", "mg"]
    return tuple(found)


def written_out(word: str) -> str:
    """A usual short form as the files write it, or the word itself: st → saint."""
    return _SHORT.get(word, word)


def district(postcode: str, town: str) -> str:
    """ "lyon3" for a practice in the third arrondissement of Lyon, else an empty text."""
    name = next(iter(words(town)), "")
    if len(postcode) == 5 and postcode.isdigit() and postcode[:2] == _DISTRICTS.get(name):
        number = int(postcode[3:])
        return f"{name}{number}" if 1 <= number <= 20 else ""
    return ""


def department(postcode: str) -> str:
    """The number of the department that a postcode begins with: "69", overseas "974"; an empty text for none."""
    if len(postcode) != 5 or not postcode.isdecimal():
        return ""
    return postcode[:3] if postcode.startswith(("97", "98")) else postcode[:2]


def district_asked(town: str, number: str) -> str:
    """ "lyon3" for the words "lyon" and "3", "3e" or "3eme", else an empty text."""
    match = _ARRONDISSEMENT.fullmatch(number)
    if town not in _DISTRICTS or match is None or not 1 <= int(match[1]) <= 20:
        return ""
    return f"{town}{int(match[1])}"
