"""What a facility asks for: the form of a token request (RFC 6749 §4.4.2), octets in, `Asked` out. No socket.

    grant_type=client_credentials   RFC 6749 §4.4: the certificate is the credential (RFC 8705 §2)
    mailbox                         the address to open
    actor, actor_name               who acts at the facility: an identifier, national or its own, and a name

The last three are ours (RFC 6749 §8.2); what else is sent, a scope for one, is not looked at (§3.2, §3.3).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from server.identity.facility.tokens import Actor
from server.mail.addresses import normalise, valid

FORM: Final = "application/x-www-form-urlencoded"
GRANT: Final = "client_credentials"
NAME_CHARACTERS: Final = 100
_FIELDS: Final = 20
# The trail tells it from the name that follows by the space.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}")


class NotGiven(Exception):
    """No token is given. `error` is a word of RFC 6749 §5.2, or of §4.1.2.1 for what is to be tried again."""

    def __init__(self, error: str, description: str, status: int = 400, wait: int = 0) -> None:
        """`description` is of printable ASCII without quotes (§5.2); `wait`: seconds until it is worth trying again."""
        super().__init__(error)
        self.error, self.description, self.status, self.wait = error, description, status, wait


@dataclass(frozen=True, slots=True)
class Asked:
    """A token for a mailbox (normalised address) and who acts."""

    mailbox: str
    actor: Actor = field(repr=False)


def read(content_type: str, body: bytes) -> Asked:
    """Raises NotGiven: invalid_request, unsupported_grant_type."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise _invalid(f"A form is asked for: {FORM}.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_FIELDS
        )
    except ValueError:
        raise _invalid("The form cannot be read.") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise _invalid("A parameter is there twice.")  # RFC 6749 §3.2
    if not given.get("grant_type"):
        raise _invalid("grant_type is missing.")
    if given["grant_type"] != GRANT:
        raise NotGiven("unsupported_grant_type", f"The grant_type is {GRANT}.")
    mailbox, identifier, name = (given.get(one, "") for one in ("mailbox", "actor", "actor_name"))
    if not valid(mailbox):
        raise _invalid("mailbox is the address to open.")
    if not _IDENTIFIER.fullmatch(identifier):
        raise _invalid("actor is an identifier of 1 to 64 letters, digits and . _ @ / -")
    name = unicodedata.normalize("NFC", name)
    # Neither a control nor what turns the direction of a text: the trail shows it.
    if not 0 < len(name) <= NAME_CHARACTERS or not name.isprintable() or name != name.strip():
        raise _invalid(f"actor_name is a name of 1 to {NAME_CHARACTERS} printable characters.")
    return Asked(normalise(mailbox), Actor(identifier, name))


def _invalid(description: str) -> NotGiven:
    return NotGiven("invalid_request", description)
