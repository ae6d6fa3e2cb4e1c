"""Every reply of ours, by name: code (RFC 5321 §4.2), enhanced status (RFC 3463, RFC 5248), text.

No reply number stands anywhere else. A text says what is wrong and what to do, in ASCII, and holds nothing of the
request: no address, no name, no cause inside the server. A refusal that reaches a person (a mail program shows it, a
bounce quotes it) says so in French without accents, then in English, each on a line of its own.
"""

from __future__ import annotations

from typing import NamedTuple


class Reply(NamedTuple):
    """One reply; `status` is empty where RFC 2034 §4 wants none (greeting, EHLO, 334, 354)."""

    code: int
    status: str
    text: str

    def encode(self) -> bytes:
        """The reply as it goes on the wire; a text of several lines becomes a continued reply."""
        lines = self.text.split("\n")
        head = f"{self.status} " if self.status else ""
        parts = [f"{self.code}-{head}{line}\r\n" for line in lines[:-1]]
        return "".join([*parts, f"{self.code} {head}{lines[-1]}\r\n"]).encode()

    def saying(self, text: str) -> Reply:
        """The same reply with another text (one of our own, never a peer's)."""
        return self._replace(text=text)

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def positive(self) -> bool:
        return self.code < 400


# RFC 5321 §4.2.2, §4.2.3
GREETING = Reply(220, "", "ESMTP")
EHLO = Reply(250, "", "")
READY_FOR_TLS = Reply(220, "2.0.0", "ready to start TLS")
BYE = Reply(221, "2.0.0", "bye")
OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "recipient OK")
ACCEPTED = Reply(250, "2.6.0", "message accepted as")
CANNOT_VERIFY = Reply(252, "2.5.2", "addresses are not verified; send the message")
HELP = Reply(214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA BDAT BURL RSET NOOP QUIT")
CHUNK_TAKEN = Reply(250, "2.0.0", "octets received")  # RFC 3030 §2
URL_TAKEN = Reply(250, "2.5.0", "waiting for more of the message")  # RFC 4468 §3.5
URL_UNRESOLVED = Reply(554, "5.6.6", "this URL gives no message; make it anew")
START_CONTENT = Reply(354, "", "end with <CR><LF>.<CR><LF>")

# RFC 4954 §4, §6
SIGNED_IN = Reply(235, "2.7.0", "signed in")
CHALLENGE = Reply(334, "", "")
AUTH_TEMPORARY = Reply(454, "4.7.0", "temporary trouble with sign-in, try again later")
AUTH_CANCELLED = Reply(501, "5.7.0", "sign-in cancelled")
AUTH_MALFORMED = Reply(501, "5.5.2", "sign-in data is not what the mechanism says")
AUTH_UNKNOWN_MECHANISM = Reply(504, "5.5.4", "this mechanism is not offered; EHLO says which are")
AUTH_ALREADY = Reply(503, "5.5.1", "already signed in")
AUTHENTICATION_REQUIRED = Reply(530, "5.7.0", "authentication required")
CERTIFICATE_REQUIRED = Reply(530, "5.7.0", "a client certificate of a trusted operator is required")
BAD_CREDENTIALS = Reply(535, "5.7.8", "address or password not accepted")
THROTTLED = Reply(454, "4.7.0", "too many failed sign-ins from here, try again later")
SIGN_IN_OVER = Reply(421, "4.7.0", "this sign-in has ended; connect and sign in again")

# RFC 3207 §4
TLS_REQUIRED = Reply(530, "5.7.0", "must issue a STARTTLS command first")
TLS_ALREADY = Reply(503, "5.5.1", "TLS is already active")
TLS_PIPELINED = Reply(421, "4.7.0", "bytes after STARTTLS in clear; closing")

# Syntax and sequence: RFC 5321 §4.2.2, §4.2.4; RFC 3463 §3.6
UNKNOWN_COMMAND = Reply(500, "5.5.1", "command not known")
MALFORMED_COMMAND = Reply(500, "5.5.2", "command malformed")
SYNTAX = Reply(501, "5.5.4", "syntax error in the argument")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "command not implemented")
BAD_SEQUENCE = Reply(503, "5.5.1", "bad sequence of commands")
NO_VALID_RECIPIENT = Reply(554, "5.5.1", "no valid recipients")
BINARY_NEEDS_CHUNKS = Reply(503, "5.5.1", "BODY=BINARYMIME is sent by BDAT")  # RFC 3030 §3
HELD_TOO_LONG = Reply(501, "5.5.4", "messages are not held for so long; see FUTURERELEASE in the reply to EHLO")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "parameter not recognised")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "too many errors; closing")

# Addresses: RFC 5321 §4.2.3; RFC 6531 §3.5
BAD_ADDRESS = Reply(553, "5.1.3", "l'adresse est mal formee: corrigez-la\nthe address is malformed: correct it")
BAD_SENDER = Reply(
    553, "5.1.7", "l'adresse de l'expediteur est mal formee: corrigez-la\nthe sender's address is malformed: correct it"
)
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "address needs SMTPUTF8")
UNKNOWN_RECIPIENT = Reply(
    550,
    "5.1.1",
    "aucune messagerie a cette adresse: verifiez-la dans l'annuaire\n"
    "no such mailbox here: check the address in the directory",
)
DID_YOU_MEAN = "vouliez-vous dire: / did you mean:"  # published addresses follow, one a line
RECIPIENT_CLOSED = Reply(
    550,
    "5.2.1",
    "cette messagerie est fermee: cherchez-en une autre dans l'annuaire\n"
    "this mailbox is closed: look for another one in the directory",
)
NO_ROUTE = Reply(
    550,
    "5.1.2",
    "ce domaine n'est pas dans l'espace de confiance: verifiez l'adresse\n"
    "this domain is not in the trust space: check the address",
)
NO_RELAY = Reply(
    550,
    "5.7.1",
    "ce destinataire n'est pas chez nous: remettez le message a son operateur\n"
    "this recipient is not ours: deliver the message to the recipient's operator",
)
NO_CONVERSATION = Reply(
    550,
    "5.7.1",
    "un patient peut seulement repondre a qui lui a ecrit: attendez un message du professionnel\n"
    "a patient may write only to those who wrote first: wait for a message of the professional",
)
NOT_ANSWERABLE = Reply(
    550,
    "5.7.1",
    "ce message n'attend pas de reponse: repondez a un autre message de cette personne\n"
    "this message takes no answer: answer another message of this person",
)
BAD_PATIENT_ADDRESS = Reply(
    553,
    "5.1.3",
    "l'adresse d'un patient commence par les 15 caracteres de son INS, cle comprise: verifiez le numero\n"
    "a patient's address begins with the 15 characters of the INS with its key: check the number",
)
MAIL_OPPOSED = Reply(
    550,
    "5.7.1",
    "cette personne refuse les messages: joignez-la par un autre moyen\n"
    "this person does not take messages: reach them by other means",
)
TOO_MANY_UNKNOWN = Reply(
    450,
    "4.7.1",
    "trop d'adresses inconnues: corrigez vos listes et recommencez dans une heure\n"
    "too many unknown recipients: correct your lists and try again in an hour",
)
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "too many recipients; send the rest in another transaction")
MAILBOX_FULL = Reply(
    452, "4.2.2", "cette messagerie est pleine: recommencez plus tard\nthis mailbox is full: try again later"
)

# Policy and content
NOT_ALLOWED = Reply(550, "5.7.1", "not allowed")
PEER_NOT_TRUSTED = Reply(
    550,
    "5.7.1",
    "la liste blanche ne donne pas votre certificat pour le domaine de l'expediteur: faites-la corriger\n"
    "the white list does not give your certificate for the sender's domain: have it corrected",
)
CERTIFICATE_REVOKED = Reply(
    550,
    "5.7.1",
    "votre certificat est revoque: installez-en un autre\nyour certificate is revoked: install another one",
)
REVOCATION_UNKNOWN = Reply(
    451,
    "4.7.1",
    "la revocation de votre certificat ne peut etre verifiee: recommencez plus tard\n"
    "whether your certificate is revoked cannot be checked: try again later",
)
SENDER_NOT_YOURS = Reply(
    550,
    "5.7.1",
    "expediteur, From et Sender doivent etre une messagerie que vous tenez ou qui vous est deleguee: corrigez-les\n"
    "sender, From and Sender must be your mailbox or one delegated to you: correct them",
)
SENT_TOO_MUCH = Reply(
    450,
    "4.7.1",
    "cette messagerie a atteint sa limite d'envoi pour cette heure: recommencez au debut de l'heure suivante\n"
    "this mailbox has reached its sending limit for this hour: try again when the next hour begins",
)
REPORTS_ONLY = Reply(
    550,
    "5.7.1",
    "un expediteur vide n'envoie que des accuses et des rapports: donnez une adresse\n"
    "the empty sender sends receipts and reports only: give an address",
)
TOO_LARGE = Reply(
    552, "5.3.4", "message trop volumineux: allegez les pieces jointes\nmessage too large: send smaller attachments"
)
TOO_LARGE_FOR_PATIENT = Reply(
    552,
    "5.2.3",
    "message trop volumineux pour un patient: allegez les pieces jointes\n"
    "message too large for a patient's mailbox: send smaller attachments",
)
BARE_LINE_ENDING = Reply(554, "5.6.0", "bare CR or LF; lines end with CR LF")
MALFORMED_CONTENT = Reply(
    554,
    "5.6.0",
    "l'en-tete du message n'est pas lisible, ou n'a pas d'auteur: faites-le corriger par votre editeur\n"
    "the message's header cannot be read, or names no author: have your software corrected",
)
SIGNATURE_REQUIRED = Reply(
    554,
    "5.7.7",
    "une signature S/MIME valable est exigee: signez le message\n"
    "a valid S/MIME signature is required: sign the message",
)
REFUSED = Reply(554, "5.0.0", "transaction failed")

# Us: always temporary, never a loss
INTERNAL = Reply(451, "4.3.0", "temporary trouble here, try again later")
STORE_FULL = Reply(452, "4.3.1", "not enough room here for now, try again later")
BUSY = Reply(452, "4.3.1", "too much mail in flight here, try again later")
SHUTTING_DOWN = Reply(421, "4.3.2", "server is stopping, try again")
TOO_MANY_SESSIONS = Reply(421, "4.3.2", "too many connections, try again later")
IDLE = Reply(421, "4.4.2", "idle for too long; closing")
TOO_MUCH_BEFORE_SIGN_IN = Reply(421, "4.7.0", "too much sent before sign-in; closing")
