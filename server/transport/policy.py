"""May this sender write here? One answer for the sender, one for each recipient, one for the content.

Who speaks is a Principal (a mailbox that signed in) or a Peer (another operator, by its certificate):
- A principal writes as its own mailbox or one shared with it for sending: reverse-path, and every author in the header
  (RFC 6409 §6.1; peers that did not compare them let anybody write as anybody). It sends so much an hour and no more.
- A peer writes for the domains that the trust space lists under its certificate's subject, in reverse-path and authors.
  It delivers to mailboxes here and relays nothing through us.
- The null reverse-path is for receipts and reports (RFC 5321 §4.5.5, RFC 8098 §3).
- Towards patients, and from them, the rules of the conversation hold (server.transport.conversation).

Addresses are looked up by keyed token: none of this needs a private key. MAIL asks the database nothing where the
sender is the address that its holder signed in with; all recipients that come together are one question; DATA asks only
when a patient answers, a delegate writes, or somebody who is not remembered has signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from crypto.smime.identity import Registration
from directory.identifiers import has_ins_form, is_ins
from directory.own.nearest import nearest
from directory.registration import Registrations
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import CaduceeError, NoSuchMailbox, ProtocolViolation, Reason, Refused, TryLater
from server.base.limits import NEAREST_ADDRESSES
from server.base.log import Pseudonyms
from server.base.settings import Settings
from server.identity.model import Principal
from server.mail import headers
from server.mail.addresses import normalise, valid
from server.mailbox.model import OwnerKind, OwnerState, Route
from server.transport import heading
from server.transport import pointer as pointers
from server.transport.authors import speaks_as
from server.transport.conversation.turn import Turn, is_muted, turn
from server.transport.envelope import Recipient, Remote
from server.transport.heading import Heading
from server.transport.refusals import Refusal, Refusals
from server.transport.sending import Sending
from server.transport.standing import NOBODY, Standing, standings
from server.transport.unknown import UnknownRecipients, hour_of
from server.trust.members import Peer
from server.trust.space import TrustSpace

Speaker = Principal | Peer
Answer = Route | Remote | CaduceeError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Content:
    """What policy found in a message it allows: its turn in a conversation with patients, the domains of From and
    Sender that the forwarding peer is not listed for (relay.forwarders = "mark"), and what the directory says of the
    author of one that is signed."""

    turn: Turn | None = None
    unproven: tuple[str, ...] = ()
    registration: Registration | None = None


class Policy:
    """The rules of one instance."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, settings: Settings, trust: TrustSpace) -> None:
        self._pool = pool
        self._edge = edge
        self._settings = settings
        self._local = settings.local_domains
        self._patients = settings.patient_domains
        self._trust = trust
        self._refusals = Refusals(pool, Audit(edge))
        self._registrations = Registrations(pool)
        pseudonyms = Pseudonyms(edge.pseudonym)
        self._unknown = UnknownRecipients(pool, pseudonyms, settings.relay.unknown_per_hour)
        self._sending = Sending(pool, pseudonyms, settings.submission)

    async def close(self) -> None:
        """Tell the trail and the counts what is left to tell."""
        await self._refusals.close()
        await self._sending.close()

    def peer(self, path: Sequence[bytes]) -> Peer:
        """The operator who showed this certificate and its path (DER), verified by TLS. Raises ValueError: none."""
        peer = self._trust.peer(path)
        self._trust.met(peer, clock.now())
        return peer

    def may_fetch(self, peer: Peer, domain: str) -> bool:
        """Whether a peer may fetch what is held for recipients of this domain."""
        return self._trust.may_speak_for(peer.subject, domain) and self._trust.objection(peer.path, clock.now()) is None

    def leads_to(self, who: Speaker, reverse_path: str, data: bytes) -> Remote | None:
        """Where a message is to be fetched from, None where it is whole itself; `data` is the message.

        Raises Refused: TOO_LARGE, PEER_NOT_TRUSTED for a pointer to another than its sender's operator;
        ProtocolViolation MALFORMED.
        """
        if not isinstance(who, Peer) or not pointers.is_pointer(data):
            return None
        pointer = pointers.read(data)
        if pointer.size > self._settings.transport.max_message_bytes:
            raise Refused(Reason.TOO_LARGE, "The message is too large.")
        if pointer.domain not in self._trust.domains_of(who.subject) or not reverse_path:
            raise Refused(Reason.PEER_NOT_TRUSTED, "The message is held by another than who sends its pointer.")
        return Remote(pointers.HELD_BY + pointer.domain)

    async def sender(self, who: Speaker, reverse_path: str) -> None:
        """May `who` use this reverse-path ("" is the null one), and send one more message now?

        Raises Refused SENDER_NOT_YOURS, PEER_NOT_TRUSTED or CERTIFICATE_REVOKED, TryLater REVOCATION_UNKNOWN or
        SENT_TOO_MUCH, ProtocolViolation BAD_ADDRESS.
        """
        if isinstance(who, Principal):
            self._sending.check(who)
        try:
            await self._sender(who, reverse_path)
        except Refused as refusal:
            self._note(who, reverse_path, "", refusal)
            raise

    async def _sender(self, who: Speaker, reverse_path: str) -> None:
        if isinstance(who, Peer) and (objection := self._trust.objection(who.path, clock.now())) is not None:
            raise objection
        if not reverse_path:
            if isinstance(who, Peer) and not self._trust.domains_of(who.subject):
                raise Refused(Reason.PEER_NOT_TRUSTED, "The peer is not in the trust space.")
            return
        if not valid(reverse_path):
            raise ProtocolViolation(Reason.BAD_ADDRESS, "The reverse-path is no address.")
        if isinstance(who, Principal):
            await speaks_as(self._pool, self._edge, who, {normalise(reverse_path)})
        elif not self._trust.may_speak_for(who.subject, _domain(normalise(reverse_path))):
            raise Refused(Reason.PEER_NOT_TRUSTED, "The peer is not listed for the sender's domain.")

    # Recipients

    async def recipients(
        self, who: Speaker, addresses: Sequence[str], *, reverse_path: str = "", size: int = 0, asking: bool = False
    ) -> list[Answer]:
        """For each address, in order, where it leads or why not: UNKNOWN_RECIPIENT, RECIPIENT_CLOSED, NO_ROUTE,
        NO_RELAY, NO_CONVERSATION, BAD_ADDRESS, BAD_PATIENT_ADDRESS, MAIL_OPPOSED, MAILBOX_FULL, TOO_LARGE_FOR_PATIENT,
        TOO_MANY_UNKNOWN. `size` is what MAIL said, 0 for nothing; `asking`: nothing is being sent, so that nothing
        is counted or told. One question to the database for all of them.
        """
        asked = [self._checked(address) for address in addresses]
        patient = _patient(who)
        looked_up = [
            address
            for address in asked
            if isinstance(address, str) and (patient is not None or _domain(address) in self._local)
        ]
        counted = self._unknown.counted(who, reverse_path)
        found: Mapping[str, Standing] = {}
        before: Sequence[int] = ()
        if looked_up:
            hour = hour_of(clock.now())
            found, before = await standings(
                self._pool, self._edge, looked_up, patient=patient, counted=counted, hour=hour
            )
        of_patient = patient is not None or _domain(normalise(reverse_path)) in self._patients
        asks = _Asks(who, patient is not None, of_patient, size)
        left, unknown = self._unknown.left(counted, before), 0
        answers: list[Answer] = []
        for address in asked:
            answer = address if isinstance(address, CaduceeError) else self._answer(asks, address, found)
            here = isinstance(address, str) and address in found
            if here and unknown >= left and patient is None:
                answer = TryLater(Reason.TOO_MANY_UNKNOWN, "Too many unknown recipients were asked for.")
            elif isinstance(answer, NoSuchMailbox):
                unknown += 1
                if not asking and isinstance(address, str) and self._may_hear(who, address):
                    answer = NoSuchMailbox(await nearest(self._pool, address, NEAREST_ADDRESSES))
            answers.append(answer)
        if asking:
            return answers
        if unknown:
            await self._unknown.count(counted, unknown)
            if unknown >= left:
                log.warning("unknown_recipients_limited", by=[one.name for one in counted])
        for address, answer in zip(addresses, answers, strict=True):
            if isinstance(answer, Refused):
                self._note(who, reverse_path, address, answer)
        return answers

    async def recipient(self, who: Speaker, address: str, *, asking: bool = False) -> Route | Remote:
        """Where one address leads. Raises what `recipients` answers."""
        (answer,) = await self.recipients(who, [address], asking=asking)
        if isinstance(answer, CaduceeError):
            raise answer
        return answer

    def _answer(self, asks: _Asks, address: str, found: Mapping[str, Standing]) -> Answer:
        domain, standing = _domain(address), found.get(address, NOBODY)
        if asks.is_patient and not self._may_answer(domain, standing):
            # The same answer for every stranger: a patient must not learn who has a mailbox here.
            return Refused(Reason.NO_CONVERSATION, "A patient may write only to those who wrote first.")
        if domain not in self._local:
            return self._elsewhere(asks, domain)
        route = standing.route
        if route is None:
            return NoSuchMailbox()
        if route.state is OwnerState.CLOSED:
            return Refused(Reason.RECIPIENT_CLOSED, "This mailbox is closed.")
        if route.kind is OwnerKind.PATIENT and asks.of_patient:
            return Refused(Reason.NO_CONVERSATION, "Patients do not write to each other.")
        if standing.refuses_mail:
            return Refused(Reason.MAIL_OPPOSED, "The holder of this mailbox does not take messages.")
        quota = self._settings.transport.quota_bytes if standing.quota is None else standing.quota
        if quota and standing.used + asks.size > quota:
            return Refused(Reason.MAILBOX_FULL, "This mailbox is full.")
        if route.kind is OwnerKind.PATIENT and asks.size > self._settings.transport.max_patient_bytes:
            return _too_large_for_a_patient()
        return route

    def _may_hear(self, who: Speaker, address: str) -> bool:
        """May `who` be told which addresses are near an unknown one? Only who signed in, where the operator allows it;
        a patient never, and nobody of patients. What is told are published addresses, as often as one may be wrong."""
        told = self._settings.submission.nearest_addresses and isinstance(who, Principal)
        return told and _patient(who) is None and _domain(address) not in self._patients

    def _may_answer(self, domain: str, standing: Standing) -> bool:
        if domain in self._patients:
            return False
        # A pharmacy's patients may begin (référentiel: the exception for officines).
        return standing.answerable or (standing.open_to_patients and standing.route is not None)

    def _elsewhere(self, asks: _Asks, domain: str) -> Answer:
        if isinstance(asks.who, Peer):
            return Refused(Reason.NO_RELAY, "This recipient is not ours, and another operator's mail is not relayed.")
        if not self._trust.lists(domain):
            return Refused(Reason.NO_ROUTE, "This domain is not in the trust space.")
        if domain in self._patients and asks.size > self._settings.transport.max_patient_bytes:
            return _too_large_for_a_patient()
        return Remote(domain)

    def _checked(self, address: str) -> str | CaduceeError:
        """The normalised address, or what is wrong with it whoever may have it: said before anything is looked up."""
        if not valid(address):
            return ProtocolViolation(Reason.BAD_ADDRESS, "This is no address.")
        name, _, domain = normalise(address).rpartition("@")
        if domain in self._patients and not self._names_a_patient(name.upper()):
            return Refused(Reason.BAD_PATIENT_ADDRESS, "A patient's address begins with the INS and its key.")
        return f"{name}@{domain}"

    def _names_a_patient(self, name: str) -> bool:
        # RFC 5321 §4.5.1: postmaster is an address of every domain.
        control = self._settings.transport.ins_control
        return control == "none" or name == "POSTMASTER" or (is_ins(name) if control == "key" else has_ins_form(name))

    # Content

    async def content(self, who: Speaker, reverse_path: str, recipients: Sequence[Recipient], data: bytes) -> Content:
        """May `who` send this message to these recipients, all of whom `recipients` allowed? `data` is the message, or
        its beginning with the header where it is large.

        Raises Refused: MALFORMED (no author, or one that cannot be read), SENDER_NOT_YOURS, PEER_NOT_TRUSTED,
        REPORTS_ONLY, TOO_LARGE_FOR_PATIENT, NO_CONVERSATION, NOT_ANSWERABLE.
        """
        try:
            return await self._content(who, reverse_path, recipients, data)
        except Refused as refusal:
            self._note(who, reverse_path, "", refusal, headers.bare_id(headers.first(data, "message-id") or ""))
            raise

    async def _content(self, who: Speaker, reverse_path: str, recipients: Sequence[Recipient], data: bytes) -> Content:
        head = heading.read(data)
        if not head.authors:
            raise Refused(Reason.MALFORMED, "The message has no From with an address.")
        authors = {normalise(address) for address in head.authors}
        if isinstance(who, Principal):
            await speaks_as(self._pool, self._edge, who, authors)
            unproven: tuple[str, ...] = ()
        else:
            unproven = self._unproven(who, reverse_path, authors)
        if not reverse_path and not head.is_report:
            raise Refused(Reason.REPORTS_ONLY, "The null reverse-path is for receipts and reports.")
        patient = _patient(who)
        if patient is not None and head.answers and await is_muted(self._pool, self._edge, patient, head.answers):
            raise Refused(Reason.NOT_ANSWERABLE, "This message takes no answer.")
        if isinstance(who, Principal):
            self._sending.count(who, len(recipients))
        registration = await self._registered(head)
        to_patients = [one for one in recipients if self._is_patient(one)]
        if not to_patients:
            return Content(None, unproven, registration)
        self._check_size(to_patients, len(data))
        if any(_domain(author) in self._patients for author in authors):
            raise Refused(Reason.NO_CONVERSATION, "Patients do not write to each other.")
        if unproven or not reverse_path:  # who is not proven to have written opens and ends nothing, nor does a report
            return Content(None, unproven, registration)
        return Content(turn(self._edge, head, self._is_answerable), registration=registration)

    async def _registered(self, head: Heading) -> Registration | None:
        """What the directory says of who wrote; of patients it knows nothing."""
        writer = normalise(head.writer)
        if not head.is_signed or not writer or _domain(writer) in self._patients:
            return None
        return await self._registrations.of(writer, clock.monotonic())

    def _note(self, who: Speaker, reverse_path: str, recipient: str, refusal: Refused, message_id: str = "") -> None:
        owner_id, actor = (who.owner_id, who.address) if isinstance(who, Principal) else (None, who.text)
        self._refusals.note(Refusal(owner_id, actor, reverse_path, recipient, refusal.reason, message_id=message_id))

    def size(self, who: Speaker, reverse_path: str, recipients: Sequence[Recipient], octets: int) -> None:
        """May a message that `content` let in by its beginning have so many octets?

        Raises Refused(TOO_LARGE_FOR_PATIENT).
        """
        try:
            self._check_size(recipients, octets)
        except Refused as refusal:
            self._note(who, reverse_path, "", refusal)
            raise

    def _check_size(self, recipients: Sequence[Recipient], octets: int) -> None:
        if octets > self._settings.transport.max_patient_bytes and any(map(self._is_patient, recipients)):
            raise _too_large_for_a_patient()

    def _unproven(self, peer: Peer, reverse_path: str, authors: set[str]) -> tuple[str, ...]:
        """Domains of the authors that the peer does not speak for. Raises Refused(PEER_NOT_TRUSTED) unless it may."""
        domains = {_domain(author) for author in authors}
        unproven = sorted(one for one in domains if not self._trust.may_speak_for(peer.subject, one))
        marks = self._settings.relay.forwarders == "mark" and bool(reverse_path)
        # A forwarder passes on what members wrote; nobody else has an author here.
        if unproven and not (marks and all(self._is_member(domain) for domain in unproven)):
            raise Refused(Reason.PEER_NOT_TRUSTED, "The peer is not listed for the authors' domains.")
        return tuple(unproven)

    def _is_answerable(self, address: str) -> bool:
        """Whether a patient may be given this correspondent: a member of the trust space, and no patient."""
        domain = _domain(address)
        return self._is_member(domain) and domain not in self._patients

    def answered(self, who: Principal, named: Sequence[str]) -> str | None:
        """Whom an answer goes to, normalised: of Reply-To and From, in this order, the first that may be answered."""
        may = (
            self._is_answerable if who.kind == OwnerKind.PATIENT else lambda address: self._is_member(_domain(address))
        )
        return next((address for address in map(normalise, named) if may(address)), None)

    def _is_member(self, domain: str) -> bool:
        return domain in self._local or self._trust.lists(domain)

    def _is_patient(self, recipient: Recipient) -> bool:
        if isinstance(recipient.route, Remote):
            return recipient.route.domain in self._patients
        return recipient.route.kind is OwnerKind.PATIENT


@dataclass(frozen=True, slots=True)
class _Asks:
    """Who asks for recipients. `is_patient`: a patient of ours; `of_patient`: of ours or of another operator."""

    who: Speaker
    is_patient: bool
    of_patient: bool
    size: int


def _patient(who: Speaker) -> int | None:
    """The owner number of a patient who speaks."""
    return who.owner_id if isinstance(who, Principal) and who.kind == OwnerKind.PATIENT else None


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _too_large_for_a_patient() -> Refused:
    return Refused(Reason.TOO_LARGE_FOR_PATIENT, "The message is too large for a patient's mailbox.")
