"""What a message to a patient changes of the patient's right to answer (référentiel #2 §3.4.2.3, ENS v1.3 §7, §9).

- It opens the conversation: the patient may from then on write to its Reply-To where that is an address of the trust
  space, else to its From. Patients do not write to each other, so an address of one opens nothing.
- A message whose whole subject is "[FIN]" ends what came before from its sender; a later one opens again.
- With "X-MSS-MES: FIN" this one message takes no answer, and the rest stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from server.mail.addresses import normalise
from server.transport.conversation import queries
from server.transport.heading import Heading

_MESSAGE = "message "  # no address begins so: a message's token never meets a correspondent's


@dataclass(frozen=True, slots=True)
class Turn:
    """By keyed token: who wrote; the correspondent that is opened, or the one message that is `muted`; None ends."""

    sender: bytes
    contact: bytes | None
    muted: bool = False


def turn(edge: EdgeKeys, heading: Heading, answerable: Callable[[str], bool]) -> Turn | None:
    """The turn that a message takes; None when it changes nothing. `answerable` judges a normalised address."""
    writer = normalise(heading.writer)
    sender = token(edge.address, writer)
    if heading.takes_no_answer:
        return Turn(sender, message_token(edge, heading.message_id), muted=True) if heading.message_id else None
    if heading.ends_conversation:
        return Turn(sender, None)
    named = (normalise(address) for address in (heading.reply_to, heading.writer) if address)
    correspondent = next((address for address in named if answerable(address)), None)
    return None if correspondent is None else Turn(sender, token(edge.address, correspondent))


async def is_muted(pool: asyncpg.Pool, edge: EdgeKeys, patient_id: int, message_id: str) -> bool:
    """Whether a message that the patient has received takes no answer."""
    return bool(await pool.fetchval(queries.IS_MUTED, patient_id, message_token(edge, message_id)))


def message_token(edge: EdgeKeys, message_id: str) -> bytes:
    """The token of one message, by its Message-ID."""
    return token(edge.address, _MESSAGE + message_id)
