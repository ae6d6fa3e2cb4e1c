"""Whom a patient who was written to may answer: Reply-To where it names one, else From (référentiel, ENS v1.3 §9)."""

from __future__ import annotations

from server.mail import addresses, headers
from server.mail.structure import Message


def correspondent(message: Message, data: bytes, patient_domain: str) -> str | None:
    """The normalised address that becomes the patient's contact; None where there is none, or it is a patient's.

    Patients do not write to each other, so a Reply-To that names one opens nothing.
    """
    found: dict[str, str] = {}
    for field in message.headers:
        if field.name in ("reply-to", "from") and field.name not in found:
            mailboxes = addresses.parse(headers.raw(data, field))
            if mailboxes:
                found[field.name] = addresses.normalise(mailboxes[0].address)
    for name in ("reply-to", "from"):
        address = found.get(name)
        if address is not None and address.rpartition("@")[2] != patient_domain:
            return address
    return None
