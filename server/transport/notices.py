"""What holders are told of their own accounts, by a message into the mailbox: French first, then English.

- It says what, when and from where, and how to act; no link and no secret, so that nobody can be led astray by
  a message that looks like it.
- At most one an hour: what happens meanwhile is told in the next.
- The message and the mark that it was told are one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import structlog
from babel.dates import format_datetime

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.keyring import Keyring
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Refused
from server.base.ids import trace_id
from server.base.limits import ALERT_SECONDS, ALERTS_TOLD, LOCK_TIMEOUT_MS
from server.base.settings import Settings
from server.identity.local import alerts
from server.identity.local.alerts import Happened
from server.identity.local.model import Alert
from server.mail.addresses import Mailbox
from server.mail.compose import Outgoing, compose
from server.mailbox import queries as mailbox_queries
from server.mailbox.feed import Announcer
from server.mailbox.keys import Keys
from server.mailbox.model import INBOX_ID
from server.mailbox.routes import routes
from server.mailbox.trouble import connection
from server.transport import queries
from server.transport.commit import place
from server.transport.envelope import Envelope, Recipient, Source, SourceKind
from server.transport.sealer import Sealer

PIECE = 50  # mailboxes told in one call

_SUBJECT = "Sécurité de votre messagerie / Security of your mailbox"
_OPENING = (
    "Voici ce qui vient de se passer sur votre compte :",
    "This has just happened to your account:",
)
_EVENTS = {
    Alert.BROWSER: ("connexion depuis un nouveau navigateur", "sign-in from a new browser"),
    Alert.PROGRAM: ("premier usage d’un mot de passe d’application", "first use of an app password"),
    Alert.PROOF: (
        "nouveau mot de passe, nouvelle clé d’accès ou compte lié",
        "new password, new passkey or linked account",
    ),
    Alert.GUESSES: (
        "beaucoup de mots de passe faux ; un nouveau navigateur devra donner un code de secours ou une clé d’accès",
        "many wrong passwords; a new browser will need a recovery code or a passkey",
    ),
    Alert.COPY: (
        "une clé d’accès a été bloquée, car il en existe peut-être une copie",
        "a passkey was blocked, for there may be a copy of it",
    ),
}
_CLOSING = (
    "Si c’était vous, vous n’avez rien à faire. Sinon, ouvrez la page « Mon compte » de votre messagerie comme\n"
    "d’habitude : fermez les connexions, retirez ce que vous ne connaissez pas et changez votre mot de passe.\n"
    "Ce message ne contient aucun lien : ne suivez jamais celui d’un message qui lui ressemble.",
    "If it was you, there is nothing to do. If not, open the page “My account” of your mailbox as you usually do:\n"
    "end the sessions, remove what you do not know and change your password.\n"
    "This message has no link: never follow that of a message that looks like it.",
)
_LOCALES = ("fr_FR", "en_GB")

log = structlog.get_logger()


class Notices:
    """Tells holders. For the jobs role: several workers tell each event once."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, keyring: Keyring, settings: Settings) -> None:
        self._pool = pool
        self._edge = edge
        self._domain = settings.domain
        self._keys = Keys(keyring)
        self._audit = Audit(edge)
        self._sealer = Sealer(edge, self._audit, None, settings)
        self._announcer = Announcer(pool)

    async def tell(self) -> int:
        """One piece; returns how many mailboxes were told."""
        now = clock.now()
        quiet = now - timedelta(seconds=ALERT_SECONDS)
        async with connection(self._pool) as acquired:
            await self._audit.ready(acquired)
            await self._keys.look(acquired)
            await acquired.execute(queries.FORGET_TOLD, quiet)
            await acquired.execute(queries.PREPARE_CONNECTION, f"{LOCK_TIMEOUT_MS}ms", "auto")
            due = [row["owner_id"] for row in await acquired.fetch(queries.TO_BE_TOLD, quiet, PIECE)]
            for owner_id in due:
                async with acquired.transaction():
                    await self._tell(acquired, owner_id, now)
        self._announcer.changed([(owner_id, INBOX_ID) for owner_id in due])
        return len(due)

    async def _tell(self, acquired: asyncpg.Connection, owner_id: int, now: datetime) -> None:
        rows = await acquired.fetch(queries.TELL, owner_id, now)
        read = [alerts.read(self._edge, owner_id, row["sealed"], row["at"]) for row in rows]
        happened = sorted((one for one in read if one is not None), key=lambda one: one.at)
        if not happened:
            return
        try:
            key = await self._keys.of(acquired, owner_id)
            wrapped, sealed_key = await acquired.fetchrow(mailbox_queries.IDENTITY, owner_id) or (b"", None)
            address = key.open_identity(wrapped, sealed_key).address
        except (Refused, CryptoError) as error:  # closed meanwhile: nobody is there to be told
            log.warning("holder_not_told", owner=owner_id, error=error)
            return
        route = (await routes(acquired, self._edge, [address])).get(address)
        if route is None:
            log.warning("holder_not_told", owner=owner_id)
            return
        source = Source(SourceKind.LOCAL, "notification", protocol="LOCAL")
        envelope = Envelope("", (Recipient(address, route),), source, now, trace_id(), utf8=not address.isascii())
        data = message(self._domain, address, happened, now)
        await place(acquired, [self._sealer.item(envelope, data, [os.urandom(32)])[0]])


def message(domain: str, address: str, happened: Sequence[Happened], now: datetime) -> bytes:
    """The bytes of the message; `happened` in the order of time, the last ALERTS_TOLD are told."""
    told = happened[-ALERTS_TOLD:]
    languages = [
        "\n\n".join((_OPENING[language], "\n".join(_line(one, language) for one in told), _CLOSING[language]))
        for language in (0, 1)
    ]
    outgoing = Outgoing(
        sender=Mailbox("Sécurité du compte / Account security", "postmaster", domain),
        to=(Mailbox.of("", address),),
        subject=_SUBJECT,
        text="\n\n* * *\n\n".join(languages) + "\n",
        date=now,
        message_id=f"<{trace_id()}@{domain}>",
        # RFC 3834 §5: nobody answers this by machine.
        extra=(("Auto-Submitted", "auto-generated"),),
    )
    return compose(outgoing)


def _line(one: Happened, language: int) -> str:
    moment = format_datetime(one.at.astimezone().replace(tzinfo=None), "d MMMM y, HH:mm", locale=_LOCALES[language])
    colon = (" :", ":")[language]
    origin = ", ".join(part for part in (one.name, one.network) if part)
    return f"- {moment}{colon} {_EVENTS[one.alert][language]}" + (f" ({origin})" if origin else "")
