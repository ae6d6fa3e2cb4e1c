"""Between the proof that somebody may set a password or passkey and the setting of it: a ticket in their browser.

It is sealed under an edge secret and bound to the browser's own secret, so that nothing is kept here meanwhile and it
serves nobody who copied it. It carries the secret that the authenticator application is shown.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from crypto.edge import EdgeKeys
from server.base.limits import ENROLMENT_SECONDS
from server.identity.local import totp
from server.identity.local.model import Holder
from server.identity.local.seal import opened, seal

_LABEL = "enrolment"


@dataclass(frozen=True, slots=True)
class Ticket:
    """For whom; `mark` of the code that it uses up, b"" where a session stands behind it; until when."""

    holder: Holder
    mark: bytes = field(repr=False)
    secret: bytes = field(repr=False)
    until: datetime


def ticket(holder: Holder, mark: bytes, now: datetime) -> Ticket:
    """A new one."""
    return Ticket(holder, mark, totp.new_secret(), now + timedelta(seconds=ENROLMENT_SECONDS))


def sealed(edge: EdgeKeys, browser: str, given: Ticket) -> str:
    """A ticket as the cookie of a browser."""
    document = {
        "owner": given.holder.owner_id,
        "address": given.holder.address,
        "kind": given.holder.kind,
        "mark": given.mark.hex(),
        "secret": given.secret.hex(),
        "until": given.until.timestamp(),
    }
    return base64.urlsafe_b64encode(seal(edge, _LABEL, 0, document, browser.encode())).decode()


def read(edge: EdgeKeys, browser: str, cookie: str, now: datetime) -> Ticket | None:
    """The ticket in a cookie; None when it is none, of another browser, or too old."""
    try:
        document = opened(edge, _LABEL, 0, base64.urlsafe_b64decode(cookie), browser.encode())
    except (binascii.Error, ValueError):
        return None
    if document is None or now.timestamp() >= document["until"]:
        return None
    holder = Holder(document["owner"], document["address"], document["kind"])
    until = datetime.fromtimestamp(document["until"], UTC)
    return Ticket(holder, bytes.fromhex(document["mark"]), bytes.fromhex(document["secret"]), until)
