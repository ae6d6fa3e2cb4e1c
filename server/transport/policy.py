"""May this sender write here? One answer for each recipient, one for the sender, one for the authors in the header.

Who speaks is a Principal (a mailbox that signed in) or a Peer (another operator, by its certificate):
- A principal writes as its own mailbox: reverse-path, From and Sender are addresses of that mailbox (RFC 6409 §6.1;
  peers that did not compare them let anybody write as anybody). The null reverse-path is for receipts (RFC 8098 §3).
- A peer writes for the domains that the trust space lists under its certificate's subject, in reverse-path, From and
  Sender.
- A patient writes only to those who wrote to the patient (conversation).
- Recipients are mailboxes of this instance; relay to other operators is not built yet, so their domains have no route.

Addresses are looked up by keyed token: none of this needs a private key.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from crypto.edge import EdgeKeys
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused
from server.base.settings import Settings
from server.identity.model import Principal
from server.mail.addresses import normalise, valid
from server.mailbox.model import OwnerKind, OwnerState, Route
from server.mailbox.routes import routes
from server.transport.conversation.contacts import open_among
from server.trust.members import Peer
from server.trust.space import TrustSpace

Speaker = Principal | Peer


class Policy:
    """The rules of one instance."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, settings: Settings) -> None:
        """Raises DistinguishedNameError: `trust.members` names somebody in a way that cannot be read."""
        self._pool = pool
        self._edge = edge
        self._local = settings.local_domains
        self._trust = TrustSpace(settings.trust.members)

    async def sender(self, who: Speaker, reverse_path: str) -> None:
        """May `who` use this reverse-path ("" is the null one)?

        Raises Refused SENDER_NOT_YOURS or PEER_NOT_TRUSTED, ProtocolViolation BAD_ADDRESS.
        """
        if not reverse_path:
            return
        if not valid(reverse_path):
            raise ProtocolViolation(Reason.BAD_ADDRESS, "The reverse-path is no address.")
        await self._speaks_as(who, [reverse_path])

    async def author(self, who: Speaker, addresses: Sequence[str]) -> None:
        """May `who` write as all of these (From and Sender of one message)? At least one is needed.

        Raises like `sender`, and Refused MALFORMED when there is no author at all.
        """
        if not addresses:
            raise Refused(Reason.MALFORMED, "The message has no From with an address.")
        await self._speaks_as(who, addresses)

    async def recipients(self, who: Speaker, addresses: Sequence[str]) -> list[Route | CaduceeError]:
        """For each address, in order, where it leads or why not: UNKNOWN_RECIPIENT, RECIPIENT_CLOSED, NO_ROUTE,
        NO_CONVERSATION, BAD_ADDRESS. Two questions to the database at most, however many addresses.
        """
        asked = [self._normalised(address) for address in addresses]
        known = [address for address in asked if isinstance(address, str)]
        here = [address for address in known if self._domain(address) in self._local]
        found = await routes(self._pool, self._edge, here) if here else {}
        contacts: frozenset[str] | None = None
        if isinstance(who, Principal) and who.kind == OwnerKind.PATIENT:
            contacts = await open_among(self._pool, self._edge, who.owner_id, known)
        return [self._answer(address, found, contacts) for address in asked]

    async def recipient(self, who: Speaker, address: str) -> Route:
        """Where one address leads. Raises what `recipients` answers."""
        (answer,) = await self.recipients(who, [address])
        if isinstance(answer, CaduceeError):
            raise answer
        return answer

    def _answer(
        self, address: str | CaduceeError, found: dict[str, Route], contacts: frozenset[str] | None
    ) -> Route | CaduceeError:
        if isinstance(address, CaduceeError):
            return address
        # The same answer for every stranger: a patient must not learn who has a mailbox here.
        if contacts is not None and address not in contacts:
            return Refused(Reason.NO_CONVERSATION, "A patient may write only to those who wrote first.")
        if self._domain(address) not in self._local:
            return Refused(Reason.NO_ROUTE, "Relay to other operators is not configured.")
        route = found.get(address)
        if route is None:
            return Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        if route.state is OwnerState.CLOSED:
            return Refused(Reason.RECIPIENT_CLOSED, "This mailbox is closed.")
        return route

    async def _speaks_as(self, who: Speaker, addresses: Sequence[str]) -> None:
        names = {normalise(address) for address in addresses}
        if isinstance(who, Peer):
            if not all(self._trust.may_speak_for(who.subject, self._domain(name)) for name in names):
                raise Refused(Reason.PEER_NOT_TRUSTED, "The peer is not listed for the sender's domain.")
            return
        others = names - {who.address}
        if not others:
            return
        # A mailbox may have more addresses than the one that signed in.
        found = await routes(self._pool, self._edge, list(others))
        if any(name not in found or found[name].owner_id != who.owner_id for name in others):
            raise Refused(Reason.SENDER_NOT_YOURS, "The sender is not the mailbox that signed in.")

    @staticmethod
    def _normalised(address: str) -> str | CaduceeError:
        if not valid(address):
            return ProtocolViolation(Reason.BAD_ADDRESS, "This is no address.")
        return normalise(address)

    @staticmethod
    def _domain(address: str) -> str:
        return address.rpartition("@")[2]
